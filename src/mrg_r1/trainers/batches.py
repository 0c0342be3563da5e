"""The effective batch of a recipe, divided among processes and accumulated parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mrg_r1.errors import ConfigError

EFFECTIVE = "effective_batch_size"
"""What one update learns from, over all processes: completions in SRL, samples in SFT."""

_EACH = "per_device_train_batch_size"
_PARTS = "gradient_accumulation_steps"


def divided(section: str, table: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """TRL's two numbers for a recipe's effective batch, so that more processes mean less for each.

    Where the recipe gives one of them the other follows; where it gives both they are checked.

    Args:
        section: the table's name, 'sft' or 'srl'.
        table: the options, returned as they are without `effective_batch_size`.
        processes: how many train together.

    Raises:
        ConfigError: the effective batch does not come out.
    """
    rest = {key: value for key, value in table.items() if key != EFFECTIVE}
    if EFFECTIVE not in table:
        return rest
    total = table[EFFECTIVE]
    each, parts = rest.get(_EACH), rest.get(_PARTS)
    if parts is None:
        parts = 1 if each is None else total // max(1, processes * each)
    if each is None:
        each = total // max(1, processes * parts)
    if processes * each * parts != total or total < 1:
        raise ConfigError(f"{section}.{EFFECTIVE}: {_uneven(section, total, rest, processes)}")
    return {**rest, _EACH: each, _PARTS: parts}


def _uneven(section: str, total: int, rest: Mapping[str, Any], processes: int) -> str:
    """Why a batch does not come out, and what to type."""
    among = f"{processes} process{'es' if processes > 1 else ''}"
    mine, left = divmod(total, processes)
    if left or mine < 1:
        more = processes * max(1, math.ceil(total / processes))
        return (
            f"{total} is not divided evenly among {among}; type: --set {section}.{EFFECTIVE}={more}"
        )
    given = {key: rest[key] for key in (_EACH, _PARTS) if rest.get(key) is not None}
    instead = {key: math.gcd(mine, value) for key, value in given.items()}
    if len(instead) > 1:
        instead[_PARTS] = mine // instead[_EACH]
    factors = "".join(f" x {value} ({key})" for key, value in given.items())
    changes = " ".join(f"--set {section}.{key}={value}" for key, value in instead.items())
    return f"{total} is not {among}{factors}; type: {changes}"
