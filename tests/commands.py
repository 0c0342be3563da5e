"""The `mrg-r1` command as tests type it: the fixture `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Output(NamedTuple):
    """What a command leaves: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Output]
