"""The sources studies are read from, by the names recipes and commands use."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from mrg_r1.data.study import Studies
from mrg_r1.errors import ConfigError

_LOADERS = {
    "iu-xray": ("mrg_r1.data.iu_xray", "load"),
    "mimic-cxr": ("mrg_r1.data.mimic_cxr", "load"),
    "table": ("mrg_r1.data.table", "load"),
    "phantom": ("mrg_r1.data.phantom", "read"),
}
SOURCES: tuple[str, ...] = tuple(_LOADERS)

OnProgress = Callable[[int, int], None]
"""Told how many are done, of how many."""


def load(
    source: str, root: Path, *, on_progress: OnProgress | None = None, **options: Any
) -> Studies:
    """Reads the studies of a source.

    Args:
        source: one of `SOURCES`.
        root: the folder of the studies; for 'table' the CSV or JSON lines file.
        on_progress: told how many studies of how many are read, where reading takes minutes.
        options: keyword arguments of the source's loader, as `split_seed` or `columns`.

    Raises:
        ConfigError: no such source.
        DataError: what the loader raises.
    """
    if source not in _LOADERS:
        near = get_close_matches(source, SOURCES, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(SOURCES)}"
        raise ConfigError(f"no source '{source}'; {hint}")
    module, function = _LOADERS[source]
    if on_progress and source == "mimic-cxr":
        options["on_progress"] = on_progress
    # Imported here: a command that reads a table should not load what draws phantoms.
    return getattr(import_module(module), function)(root.expanduser(), **options)
