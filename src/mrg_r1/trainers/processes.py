"""The processes of a run: one as a rule, several under `torchrun` or `accelerate launch`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, release_memory

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long processes wait for one: the main one alone looks at every image of the data."""


def processes() -> int:
    """How many processes train together."""
    return _state().num_processes


def is_main() -> bool:
    """Whether this process is the one that writes the run folder."""
    return _state().is_main_process


def main_first() -> AbstractContextManager[None]:
    """Lets the main process go through the block first, and the others find what it left."""
    return _state().main_process_first()


def wait_for_all() -> None:
    """Returns once every process has come here."""
    _state().wait_for_everyone()


def share_of(items: Sequence[T]) -> Sequence[T]:
    """What this process does of work that all do together."""
    state = _state()
    return items[state.process_index :: state.num_processes]


def gathered(mine: list[T]) -> list[T]:
    """The items of all processes, for each of them."""
    return gather_object(mine)


def anywhere(here: bool) -> bool:
    """Whether it is so in any process; all of them ask together."""
    return any(gathered([here]))


def free_memory() -> None:
    """Frees what a trainer that is gone still holds, on the accelerator too."""
    release_memory()


def on_cpu() -> bool:
    """Whether there is nothing better than a CPU."""
    return not torch.accelerator.is_available()


def launched() -> bool:
    """Whether a launcher has told this process its place among others."""
    return "LOCAL_RANK" in os.environ


def _state() -> PartialState:
    # Unless told that CPUs are meant, a launcher's processes would each think they are alone.
    return PartialState(cpu=on_cpu(), timeout=PATIENCE)
