"""The health of the reward while it was trained on: what was warned of, and the figures behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrg_r1.audit.text import number
from mrg_r1.records import StepMetrics
from mrg_r1.rewards.alarms import WINDOW
from mrg_r1.rewards.health import MEASURES

WATCHED = ("health/", "judge/")
"""How the names begin of figures that this section shows, and the curves need not."""

_JUDGES = {
    "judge/ce_f1": "mean F1 of the findings affirmed, 0/0 as 0",
    "judge/mccs": "mean cosine of eq. 5, 0 below 0",
}
_ABSENT = "\u2013"


@dataclass(frozen=True, slots=True)
class Episode:
    """Recorded steps in a row that a warning holds at, with its last sentence."""

    kind: str
    first: int
    last: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure's mean over the first and the last twenty steps, and its references', as printed."""

    name: str
    note: str
    before: str
    after: str
    reference: str


@dataclass(frozen=True, slots=True)
class Health:
    """What the section shows of a training; `steps` are recorded ones."""

    steps: int
    episodes: tuple[Episode, ...]
    figures: tuple[Figure, ...]


def health(metrics: Sequence[StepMetrics]) -> Health | None:
    """The health of a run's reward; None where none was recorded."""
    steps = [line for line in metrics if any(name.startswith(WATCHED) for name in line.values)]
    if not steps:
        return None
    names = dict.fromkeys(name for line in steps for name in line.values)
    shown = [name for name in names if name in _JUDGES or _note(name)]
    return Health(len(steps), _episodes(steps), tuple(_figure(name, steps) for name in shown))


def _episodes(steps: Sequence[StepMetrics]) -> tuple[Episode, ...]:
    """Warnings in order of their first step."""
    open_: dict[str, Episode] = {}
    closed: list[Episode] = []
    for line in steps:
        closed += [open_.pop(kind) for kind in [*open_] if kind not in line.warnings]
        for kind, sentence in line.warnings.items():
            first = open_[kind].first if kind in open_ else line.step
            open_[kind] = Episode(kind, first, line.step, sentence)
    return tuple(sorted((*closed, *open_.values()), key=lambda episode: episode.first))


def _figure(name: str, steps: Sequence[StepMetrics]) -> Figure:
    title = _title(name)
    return Figure(
        name=title[0].upper() + title[1:],
        note=_JUDGES.get(name) or _note(name),
        before=_mean(name, steps[:WINDOW]),
        after=_mean(name, steps[-WINDOW:]),
        reference=_mean(f"{name}_reference", steps[-WINDOW:]),
    )


def _title(name: str) -> str:
    """'no variance, mccs' of 'health/no_variance/mccs'."""
    room, measure, *component = name.split("/")
    if room == "judge":
        return f"second judge, {measure}"
    return ", ".join([measure.replace("_", " "), *component])


def _note(name: str) -> str:
    """What a figure is; '' for one that is no measure's, or a reference's."""
    room, _, rest = name.partition("/")
    measure, _, component = rest.partition("/")
    return MEASURES.get(f"{measure}/NAME" if component else measure, "") if room == "health" else ""


def _mean(name: str, steps: Sequence[StepMetrics]) -> str:
    values = [line.values[name] for line in steps if name in line.values]
    return number(sum(values) / len(values)) if values else _ABSENT
