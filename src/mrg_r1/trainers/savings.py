"""What a recipe says about work that is not to be done twice, in `[sft]` and `[srl]`.

`share_prompts` (`[srl]` only): 'auto' shares what a group has in common where it pays
(`trainers.sharing`), true shares it always, false leaves TRL unmodified. `tower_cache`: features of
images that a frozen tower has seen are kept in 'memory', on 'disk', or 'off'; `tower_cache_gb` at
most, in memory for each process; on disk in `tower_cache_folder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHARE, _TOWER = "share_prompts", "tower_cache"
_GIGABYTES, _FOLDER = "tower_cache_gb", "tower_cache_folder"

_TOWER_KEYS = (_TOWER, _GIGABYTES, _FOLDER)
KEYS = {"sft": _TOWER_KEYS, "srl": (_SHARE, *_TOWER_KEYS)}
"""The keys of each table that are ours and about savings."""


@dataclass(frozen=True, slots=True)
class Savings:
    """The keys of a table, with the defaults of those it does not have."""

    share_prompts: bool | str = "auto"
    tower_cache: str = "memory"
    tower_cache_gb: float = 2.0
    tower_cache_folder: str = ""

    @property
    def folder(self) -> Path:
        """Where features are kept on disk."""
        return Path(self.tower_cache_folder).expanduser()


def savings(section: str, table: Mapping[str, Any]) -> Savings:
    """What a table says; `problems` must have found nothing."""
    return Savings(**{key: table[key] for key in KEYS[section] if key in table})


def problems(section: str, table: Mapping[str, Any]) -> list[str]:
    """What is wrong with a table's keys about savings, one line each."""
    found = [
        f"{section}.{key}: {table[key]!r} is not {expected}"
        for key, (fits, expected) in _RULES.items()
        if key in KEYS[section] and key in table and not fits(table[key])
    ]
    if table.get(_TOWER) == "disk" and not table.get(_FOLDER):
        found.append(
            f"{section}.{_FOLDER}: which? add --set {section}.{_FOLDER}=FOLDER, kept where the "
            "images may be kept"
        )
    return found


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


_RULES = {
    _SHARE: (lambda value: value == "auto" or type(value) is bool, "'auto', true or false"),
    _TOWER: (lambda value: value in ("memory", "disk", "off"), "'memory', 'disk' or 'off'"),
    _GIGABYTES: (_is_size, "a number above 0"),
    _FOLDER: (lambda value: isinstance(value, str), "the path of a folder"),
}
