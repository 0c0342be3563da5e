"""Studies and samples: what every loader returns and every trainer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Position(Enum):
    """The projection of a view."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class View:
    """One image of a study."""

    path: Path
    position: Position = Position.UNKNOWN


@dataclass(frozen=True, slots=True)
class Prior:
    """The previous study of the same patient, as far as a reader of the next one knows it."""

    study_id: str = ""
    findings: str = ""
    impression: str = ""
    views: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """One exam: its views, its report by section, and its split ('train', 'val' or 'test')."""

    id: str
    views: tuple[View, ...]
    split: str
    findings: str = ""
    impression: str = ""
    indication: str = ""
    patient: str = ""
    prior: Prior | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of training or evaluation: images and the reference they are paired with.

    `context` is what the prompt says beside the instruction, by kind (see `data.context`). Images
    of the previous study stand after those of the study.
    """

    id: str
    study_id: str
    images: tuple[Path, ...]
    reference: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why some studies or images were left out, and which."""

    reason: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Studies:
    """What a loader found, and what it left out by reason: nothing vanishes silently."""

    studies: tuple[Study, ...]
    left_out: tuple[LeftOut, ...] = field(default=())

    def of_split(self, split: str) -> tuple[Study, ...]:
        """The studies of one split, in the loader's order."""
        return tuple(study for study in self.studies if study.split == split)
