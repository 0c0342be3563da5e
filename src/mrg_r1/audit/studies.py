"""Samples side by side: pairing the files by id, and choosing which to show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.load import REFERENCE, SRL, START, Read, Run
from mrg_r1.audit.text import count, signed
from mrg_r1.findings import Status
from mrg_r1.records import Prediction


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of one sample: reports, and what was read in them, by system.

    At least one system has a prediction.
    """

    id: str
    predictions: Mapping[str, Prediction]
    reference: Read | None
    reads: Mapping[str, Read]

    @property
    def change(self) -> float | None:
        """Reward after minus reward before, in a run."""
        before, after = self.reads.get(START), self.reads.get(SRL)
        return None if before is None or after is None else after.reward - before.reward

    @property
    def last(self) -> Prediction:
        """The last system's prediction, for what all predictions of a sample have alike."""
        return list(self.predictions.values())[-1]


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples shown, best change first, and how they were chosen."""

    samples: tuple[Sample, ...]
    how: str


def samples(run: Run) -> tuple[Sample, ...]:
    """Every sample that has a prediction, by id; what only one system knows is kept."""
    return tuple(_sample(run, id_) for id_ in sorted(run.ids, key=natural))


def _sample(run: Run, id_: str) -> Sample:
    found = {name: p[id_] for name, p in run.systems.items() if id_ in p}
    reads = {name: run.readings[id_, name] for name in found if (id_, name) in run.readings}
    return Sample(id_, found, run.readings.get((id_, REFERENCE)), reads)


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which 'cxr-9' stands before 'cxr-10'."""
    parts = re.findall(r"([0-9]{1,18})|([^0-9]+|[0-9]+)", text)
    return [(0, int(digits), "") if digits else (1, 0, other) for digits, other in parts]


def choose(candidates: Sequence[Sample], most: int) -> Selection:
    """A deterministic choice spread over the change in reward.

    A third has the largest change, a third the smallest, a third is spaced evenly between, so
    that the page shows where the run helped, where it harmed, and what is usual.
    """
    total = len(candidates)
    changes = {sample.id: sample.change for sample in candidates if sample.change is not None}
    ranked = sorted(candidates, key=lambda sample: -changes.get(sample.id, float("-inf")))
    order = "Largest change in reward first." if changes else "In the order of their ids."
    if total <= most:
        return Selection(tuple(ranked), f"{count(total, 'sample')}, all there are. {order}")
    third = most // 3
    if len(changes) < total or not third:
        how = f"{most:,} of {count(total, 'sample')}, evenly spaced. {order}"
        return Selection(tuple(evenly(ranked, most)), how)
    best, worst = ranked[:third], ranked[-third:]
    middle = evenly(ranked[third:-third], most - 2 * third)
    how = (
        f"{most:,} of {count(total, 'sample')}: the {third} with the largest change in reward "
        f"({_range(best)}), the {third} with the smallest ({_range(worst)}), and {len(middle)} "
        f"evenly spaced between. {order}"
    )
    return Selection((*best, *middle, *worst), how)


def evenly(ranked: Sequence[Sample], most: int) -> list[Sample]:
    """`most` of the samples, evenly spaced, each from the middle of its stretch."""
    step = len(ranked) / most if most else 0
    return [ranked[int((index + 0.5) * step)] for index in range(most)]


def _range(ranked: Sequence[Sample]) -> str:
    high, low = ranked[0].change or 0.0, ranked[-1].change or 0.0
    return f"{signed(high)} to {signed(low)}"


@dataclass(frozen=True, slots=True)
class Example:
    """A finding of a shown sample whose denial came or went; `anchor` is its card's."""

    anchor: str
    id: str
    finding: str
    mended: bool


def examples(shown: Sequence[Sample], most: int = 3) -> tuple[Example, ...]:
    """Findings the reference affirms that were denied before and affirmed after, or the reverse.

    At most `most` of each, each of another finding, in the order of the page.
    """
    found: dict[tuple[bool, str], Example] = {}
    for index, sample in enumerate(shown, start=1):
        for finding, mended in _turned(sample):
            key = (mended, finding)
            if key not in found and sum(other[0] is mended for other in found) < most:
                found[key] = Example(anchor(index), sample.id, finding, mended)
    return tuple(found.values())


def _turned(sample: Sample) -> list[tuple[str, bool]]:
    """Findings that the reference affirms and that went from denied to affirmed, or back."""
    before, after = sample.reads.get(START), sample.reads.get(SRL)
    if not (sample.reference and before and after):
        return []
    statuses = {
        (Status.NEGATIVE, Status.POSITIVE): True,
        (Status.POSITIVE, Status.NEGATIVE): False,
    }
    turns = [
        (finding.value, statuses.get((before.labels[finding], status)))
        for finding, status in after.labels.items()
        if sample.reference.labels[finding] is Status.POSITIVE
    ]
    return [(finding, mended) for finding, mended in turns if mended is not None]


def anchor(index: int) -> str:
    """The id of the card of the index-th sample shown."""
    return f"study-{index}"
