"""How a report's status of a finding stands to its reference's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mrg_r1.findings import DISEASES, Finding, Labels, Status


class Agreement(Enum):
    """The kinds of agreement and error: a name for CSS, a mark beside the colour, name, meaning.

    The order is that of the chips: errors first, since the reader looks for them. A capital O or
    I is about something affirmed, a small one about something denied.
    """

    POLARITY = ("polarity", "\u00d7", "polarity error", "says the opposite of the reference")
    OMISSION = ("omission", "O", "omission", "affirmed in the reference, not in the report")
    INVENTION = ("invention", "I", "invention", "affirmed in the report, not in the reference")
    MISMATCH = ("mismatch", "?", "uncertain mismatch", "hedged on one side only")
    AGREE_POSITIVE = ("agree-positive", "+", "agrees", "affirmed in both")
    AGREE_NEGATIVE = ("agree-negative", "\u2212", "agrees", "denied in both")
    AGREE_UNCERTAIN = ("agree-uncertain", "\u00b1", "agrees", "hedged in both")
    UNSAID = ("unsaid", "o", "missing denial", "denied in the reference, not in the report")
    ADDED = ("added", "i", "added denial", "denied in the report, not in the reference")
    SILENT = ("silent", "", "silent", "mentioned in neither")

    def __init__(self, slug: str, mark: str, title: str, meaning: str) -> None:
        self.slug = slug
        self.mark = mark
        self.title = title
        self.meaning = meaning

    @property
    def agrees(self) -> bool:
        """Whether both sides say the same of the finding."""
        return self in _AGREES


ERRORS = (Agreement.POLARITY, Agreement.OMISSION, Agreement.INVENTION)
"""What `evaluate` counts too: as `polarity_errors`, `omissions` and `inventions`."""

_AGREES = (Agreement.AGREE_POSITIVE, Agreement.AGREE_NEGATIVE, Agreement.AGREE_UNCERTAIN)

_B, _P, _N, _U = Status
_KINDS = {
    (_P, _P): Agreement.AGREE_POSITIVE,
    (_N, _N): Agreement.AGREE_NEGATIVE,
    (_U, _U): Agreement.AGREE_UNCERTAIN,
    (_P, _N): Agreement.POLARITY,
    (_N, _P): Agreement.POLARITY,
    (_P, _B): Agreement.OMISSION,
    (_B, _P): Agreement.INVENTION,
    (_N, _B): Agreement.UNSAID,
    (_B, _N): Agreement.ADDED,
    (_B, _B): Agreement.SILENT,
}
SIGNS = {_B: "none", _P: "+", _N: "\u2212", _U: "?"}
WORDS = {_B: "blank", _P: "positive", _N: "negative", _U: "uncertain"}


@dataclass(frozen=True, slots=True)
class Chip:
    """A finding on which a report is not at one with its reference, in signs and in words."""

    finding: Finding
    kind: str
    mark: str
    signs: str
    words: str


def agreement(reference: Status, report: Status) -> Agreement:
    """The kind of agreement between a reference's status and a report's."""
    return _KINDS.get((reference, report), Agreement.MISMATCH)


def matrix() -> str:
    """The slugs of all pairs of statuses, for the page's script: index 4 x reference + report."""
    return " ".join(agreement(reference, report).slug for reference in Status for report in Status)


def disagreements(reference: Labels, report: Labels) -> tuple[Chip, ...]:
    """The findings, without No Finding, on which the two differ; errors first."""
    kinds = {f: agreement(reference[f], report[f]) for f in DISEASES}
    order = list(Agreement)
    differ = [f for f, kind in kinds.items() if kind is not Agreement.SILENT and not kind.agrees]
    return tuple(
        _chip(f, reference[f], report[f])
        for f in sorted(differ, key=lambda f: order.index(kinds[f]))
    )


def _chip(finding: Finding, reference: Status, report: Status) -> Chip:
    kind = agreement(reference, report)
    moved = kind in (Agreement.POLARITY, Agreement.MISMATCH)
    return Chip(
        finding=finding,
        kind=kind.slug,
        mark=kind.mark,
        signs=f"{SIGNS[reference]}\u2192{SIGNS[report]}" if moved else "",
        words=f"{kind.title}: reference {WORDS[reference]}, report {WORDS[report]}",
    )


def agreed(reference: Labels, report: Labels) -> tuple[str, ...]:
    """The findings, without No Finding, on which both say the same, with its sign."""
    return tuple(
        f"{finding.value}\u00a0{SIGNS[report[finding]]}"
        for finding in DISEASES
        if agreement(reference[finding], report[finding]).agrees
    )


def codes(labels: Labels) -> str:
    """The 14 statuses as digits in CheXbert's order, for the page's script."""
    return "".join(str(int(status)) for status in labels.statuses)
