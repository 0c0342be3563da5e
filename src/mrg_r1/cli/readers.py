"""The options that say who reads reports, shared by the commands that read some."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mrg_r1.cli.app import busy
from mrg_r1.errors import ConfigError

if TYPE_CHECKING:
    from mrg_r1.labelers import Labeler

Device = Literal["auto", "cpu", "cuda"]

LabelerName = Annotated[
    Literal["rules", "chexbert"], typer.Option("--labeler", help="Who reads the reports.")
]
Preset = Annotated[
    Literal["chexbert", "chexpert"],
    typer.Option(help="Whose conventions the rules follow where published labelers differ."),
]
Weights = Annotated[
    Path | None, typer.Option(help="CheXbert's checkpoint, or the int8 file made from it.")
]
Vocabulary = Annotated[
    Path | None, typer.Option(help="The vocab.txt of bert-base-uncased, which CheXbert needs.")
]
OnDevice = Annotated[Device, typer.Option("--device", help="Where CheXbert runs.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="A file that keeps labels (no text) for the next time."),
]


def reader(
    name: str,
    preset: str,
    weights: Path | None,
    vocabulary: Path | None,
    device: Device,
    cache: Path | None,
) -> Labeler:
    """The labeler that the options name.

    Raises:
        ConfigError, DataError, MissingExtra: it cannot be had.
    """
    from mrg_r1.labelers.make import make_labeler

    if name == "rules" and (weights or vocabulary):
        raise ConfigError("rules need no --weights or --vocabulary; add --labeler chexbert")
    with busy("loading the labeler"):
        return make_labeler(
            name,
            preset=preset,
            weights=weights or "",
            vocabulary=vocabulary or "",
            device=device,
            cache=cache or "",
        )
