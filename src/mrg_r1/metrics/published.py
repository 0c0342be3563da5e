"""The paper's Table I, to stand beside measured rows; its conventions are not theirs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

from mrg_r1.errors import ConfigError

DataSet: TypeAlias = Literal["iu-xray", "mimic-cxr"]

DATA_SETS: tuple[DataSet, ...] = get_args(DataSet)


@dataclass(frozen=True, slots=True)
class Published:
    """Clinical efficacy of one system as printed, as shares and not percent.

    `reproduced` tells what the paper's authors ran themselves from what they quote.
    """

    name: str
    precision: float
    recall: float
    f1: float
    reproduced: bool


def published(data_set: DataSet) -> tuple[Published, ...]:
    """The rows of Table I that have figures for this data set, in its order.

    Raises:
        ConfigError: the table knows no such data set.
    """
    if data_set not in DATA_SETS:
        raise ConfigError(f"published: '{data_set}'; use one of {', '.join(DATA_SETS)}")
    text = (files("mrg_r1.metrics") / "published.toml").read_text(encoding="utf-8")
    systems: list[dict[str, Any]] = tomllib.loads(text)["system"]
    return tuple(
        Published(
            system["name"],
            *(percent / 100 for percent in row["scores"]),
            reproduced=row["reproduced"],
        )
        for system in systems
        if (row := system.get(data_set))
    )
