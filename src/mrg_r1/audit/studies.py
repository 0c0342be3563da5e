"""Samples side by side: pairing the files by id, choosing which to show, and their cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrg_r1.audit.agreement import Chip, reference_chips, report_chips
from mrg_r1.audit.load import REFERENCE, SRL, START, Read, Run
from mrg_r1.audit.pictures import Picture, picture
from mrg_r1.audit.text import count, signed
from mrg_r1.completion import parse
from mrg_r1.findings import FINDINGS, Status
from mrg_r1.records import Prediction

_LONGEST = 6000
"""Characters of one text on the page; a policy that repeats itself must not fill it."""

_MOST_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """What the run knows of one sample."""

    id: str
    before: Prediction | None
    after: Prediction | None
    reference: Read | None
    read_before: Read | None
    read_after: Read | None

    @property
    def change(self) -> float | None:
        """Reward after minus reward before."""
        if self.read_before is None or self.read_after is None:
            return None
        return self.read_after.reward - self.read_before.reward


@dataclass(frozen=True, slots=True)
class Text:
    """A text as shown, and how many characters were left out at its end."""

    shown: str
    left_out: int


@dataclass(frozen=True, slots=True)
class ReportView:
    """One generated report: its texts, what is wrong with its form, its labels and rewards."""

    report: Text
    think: Text
    raw: Text | None
    violations: tuple[str, ...]
    read: Read | None
    chips: tuple[Chip, ...] | None

    @property
    def errors(self) -> str:
        """Kinds of agreement with finding numbers ('missed-3 flipped-8'), to filter by."""
        chips = self.chips or ()
        return " ".join(f"{chip.kind}-{FINDINGS.index(chip.finding)}" for chip in chips)


@dataclass(frozen=True, slots=True)
class Card:
    """One sample as shown."""

    anchor: str
    id: str
    study_id: str
    pictures: tuple[Picture, ...]
    more_pictures: int
    reference: Text
    reference_chips: tuple[Chip, ...] | None
    before: ReportView | None
    after: ReportView | None
    change: float | None


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs shown, best change first, and how they were chosen."""

    pairs: tuple[Pair, ...]
    how: str


def pairs(run: Run) -> tuple[Pair, ...]:
    """Every sample that has a prediction, by id; what only one file knows is kept."""
    ids = sorted(run.start.keys() | run.srl.keys(), key=natural)
    return tuple(_pair(run, id_) for id_ in ids)


def _pair(run: Run, id_: str) -> Pair:
    before, after = run.start.get(id_), run.srl.get(id_)
    return Pair(
        id_,
        before,
        after,
        reference=run.readings.get((id_, REFERENCE)),
        read_before=run.readings.get((id_, START)) if before else None,
        read_after=run.readings.get((id_, SRL)) if after else None,
    )


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which 'cxr-9' stands before 'cxr-10'."""
    parts = re.findall(r"([0-9]{1,18})|([^0-9]+|[0-9]+)", text)
    return [(0, int(digits), "") if digits else (1, 0, other) for digits, other in parts]


def choose(candidates: Sequence[Pair], most: int) -> Selection:
    """A deterministic choice spread over the change in reward.

    A third has the largest change, a third the smallest, a third is spaced evenly between, so
    that the page shows where the run helped, where it harmed, and what is usual.
    """
    total = len(candidates)
    changes = {pair.id: pair.change for pair in candidates if pair.change is not None}
    ranked = sorted(candidates, key=lambda pair: -changes.get(pair.id, float("-inf")))
    order = "Largest change in reward first." if changes else "In the order of their ids."
    if total <= most:
        return Selection(tuple(ranked), f"{count(total, 'sample')}, all of the run. {order}")
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


def evenly(ranked: Sequence[Pair], most: int) -> list[Pair]:
    """`most` of the pairs, evenly spaced, each from the middle of its stretch."""
    step = len(ranked) / most if most else 0
    return [ranked[int((index + 0.5) * step)] for index in range(most)]


def _range(ranked: Sequence[Pair]) -> str:
    high, low = ranked[0].change or 0.0, ranked[-1].change or 0.0
    return f"{signed(high)} to {signed(low)}"


@dataclass(frozen=True, slots=True)
class Example:
    """A finding of a shown sample whose denial came or went; `anchor` is its card's."""

    anchor: str
    id: str
    finding: str
    mended: bool


def examples(shown: Sequence[Pair], most: int = 3) -> tuple[Example, ...]:
    """Findings the reference affirms that were denied before and affirmed after, or the reverse.

    At most `most` of each, each of another finding, in the order of the page.
    """
    found: dict[tuple[bool, str], Example] = {}
    for index, pair in enumerate(shown, start=1):
        for finding, mended in _turned(pair):
            key = (mended, finding)
            if key not in found and sum(other[0] is mended for other in found) < most:
                found[key] = Example(anchor(index), pair.id, finding, mended)
    return tuple(found.values())


def _turned(pair: Pair) -> list[tuple[str, bool]]:
    """Findings that the reference affirms and that went from denied to affirmed, or back."""
    if not (pair.reference and pair.read_before and pair.read_after):
        return []
    statuses = {
        (Status.NEGATIVE, Status.POSITIVE): True,
        (Status.POSITIVE, Status.NEGATIVE): False,
    }
    turns = [
        (finding.value, statuses.get((pair.read_before.labels[finding], after)))
        for finding, after in pair.read_after.labels.items()
        if pair.reference.labels[finding] is Status.POSITIVE
    ]
    return [(finding, mended) for finding, mended in turns if mended is not None]


def anchor(index: int) -> str:
    """The id of the card of the index-th sample shown."""
    return f"study-{index}"


def card(pair: Pair, index: int, folder: Path) -> Card:
    """The card of a pair; its images are read from paths that may be relative to `folder`."""
    prediction = pair.after or pair.before
    if prediction is None:
        raise ValueError(f"pair '{pair.id}' has no prediction")
    images = prediction.images[:_MOST_IMAGES]
    return Card(
        anchor=anchor(index),
        id=pair.id,
        study_id=prediction.study_id,
        pictures=tuple(picture(folder, path) for path in images),
        more_pictures=len(prediction.images) - len(images),
        reference=_text(prediction.reference),
        reference_chips=reference_chips(pair.reference.labels) if pair.reference else None,
        before=_view(pair.before, pair.read_before, pair.reference),
        after=_view(pair.after, pair.read_after, pair.reference),
        change=pair.change,
    )


def _view(
    prediction: Prediction | None, read: Read | None, reference: Read | None
) -> ReportView | None:
    if prediction is None:
        return None
    chips = report_chips(reference.labels, read.labels) if read and reference else None
    return ReportView(
        report=_text(prediction.report),
        think=_text(prediction.think),
        raw=None if prediction.report.strip() else _text(prediction.completion),
        violations=violations(prediction),
        read=read,
        chips=chips,
    )


def violations(prediction: Prediction) -> tuple[str, ...]:
    """What is wrong with the completion's form, in words.

    Nothing is claimed where parsing gives other parts than the prediction has: then the chat
    template had written part of the form itself.
    """
    parsed = parse(prediction.completion)
    if (parsed.think, parsed.report) != (prediction.think, prediction.report):
        return ()
    return tuple(violation.value for violation in parsed.violations)


def _text(text: str) -> Text:
    return Text(text[:_LONGEST], max(0, len(text) - _LONGEST))
