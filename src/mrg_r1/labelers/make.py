"""A labeler from its settings, for whoever takes them from a person."""

from __future__ import annotations

from pathlib import Path

from mrg_r1.errors import ConfigError, MissingExtra
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.labelers.store import LabelStore


def make_labeler(
    name: str = "rules",
    *,
    preset: str = "chexbert",
    weights: str | Path = "",
    vocabulary: str | Path = "",
    device: str = "auto",
    cache: str | Path = "",
) -> Labeler:
    """The labeler of this name, ready to read reports; CheXbert reads each text once.

    Args:
        name: 'rules' or 'chexbert'.
        preset: whose conventions the rules follow.
        weights: CheXbert's checkpoint, or the int8 file (`*.onnx`) made from it.
        vocabulary: the vocab.txt of bert-base-uncased.
        device: where CheXbert runs: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.
        cache: the file that keeps labels from run to run; none unless it is named.

    Raises:
        ConfigError: there is no such labeler or device, or CheXbert lacks a file.
        DataError: a file is not there, or not CheXbert's.
        MissingExtra: CheXbert's packages are not installed.
    """
    if name not in ("rules", "chexbert"):
        raise ConfigError(f"labeler: no '{name}'; use rules or chexbert")
    rules = name == "rules"
    made = RulesLabeler(preset) if rules else _chexbert(weights, vocabulary, device)
    store = LabelStore(Path(cache).expanduser(), made.identity) if str(cache) else None
    return made if rules and store is None else CachedLabeler(made, store=store)


def _chexbert(weights: str | Path, vocabulary: str | Path, device: str) -> Labeler:
    for value, file, option in (
        (weights, "chexbert.pth", "weights"),
        (vocabulary, "vocab.txt", "vocabulary"),
    ):
        if not str(value):
            raise ConfigError(f"chexbert: where is its {file}? add --{option} FILE")
    try:
        from mrg_r1.labelers.chexbert import ChexbertLabeler, load_network
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("mrg_r1"):
            raise
        raise MissingExtra(
            f"chexbert: {error.name} is not installed; type: pip install 'mrg-r1[chexbert]'"
        ) from None
    network = load_network(Path(weights).expanduser(), device)
    return ChexbertLabeler(network, Path(vocabulary).expanduser())
