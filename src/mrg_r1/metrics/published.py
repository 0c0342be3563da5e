"""The paper's Tables I and II, to stand beside measured rows; its conventions are not theirs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

from mrg_r1.errors import ConfigError

DataSet: TypeAlias = Literal["iu-xray", "mimic-cxr"]

DATA_SETS: tuple[DataSet, ...] = get_args(DataSet)

ABLATION = ("base", "sft", "nlg", "ce-f1", "format", "ce-f1+format", "mccs", "mccs+format")
"""Our names of the rows of Table II, in its order."""


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


def published(data_set: str) -> tuple[Published, ...]:
    """The rows of Table I that have figures for this data set, in its order.

    Raises:
        ConfigError: the table knows no such data set.
    """
    return tuple(
        Published(
            system["name"],
            *(percent / 100 for percent in row["scores"]),
            reproduced=row["reproduced"],
        )
        for system in _table("system", data_set)
        if (row := system.get(data_set))
    )


def published_ablation(data_set: str) -> dict[str, Published]:
    """The rows of Table II for this data set, by our names of them, in its order.

    Raises:
        ConfigError: the table knows no such data set.
    """
    return {
        row["row"]: Published(
            row["name"], *(percent / 100 for percent in row[data_set]), reproduced=True
        )
        for row in _table("ablation", data_set)
    }


def _table(name: str, data_set: str) -> list[dict[str, Any]]:
    if data_set not in DATA_SETS:
        raise ConfigError(f"published: '{data_set}'; use one of {', '.join(DATA_SETS)}")
    text = (files("mrg_r1.metrics") / "published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)[name]
