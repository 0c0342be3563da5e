"""The page of recipes names every key with its default."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.config import Recipe
from mrg_r1.data.table import Columns

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| `(.+?)` \|", PAGE, re.MULTILINE))
IN_WORDS = {"name", "policy.instruction"}


def keys(cls: type[Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a dataclass and of those in it, with its default; tables of TRL's aside."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        inner = (*typing.get_args(hints[field.name]), hints[field.name])
        table = next((t for t in inner if dataclasses.is_dataclass(t)), None)
        if table is not None and table is not Columns:
            yield from keys(typing.cast("type[Any]", table), f"{before}{field.name}.")
        elif table is None and field.name not in ("sft", "srl"):
            yield before + field.name, field.default


KEYS = dict(keys(Recipe))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_there_with_its_default(key: str) -> None:
    if key in IN_WORDS:
        assert f"| `{key}` | the " in PAGE
    else:
        default = KEYS[key]
        assert json.loads(ROWS[key]) == (list(default) if isinstance(default, tuple) else default)


def test_no_other_key_is_there() -> None:
    assert ROWS.keys() <= KEYS.keys()


def test_every_column_is_there() -> None:
    (row,) = re.findall(r"^\| `data.columns` \|.*$", PAGE, re.MULTILINE)
    assert all(f"`{field.name}`" in row for field in dataclasses.fields(Columns))
