"""How a report's status of a finding stands to its reference's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mrg_r1.findings import Finding, Labels, Status


class Agreement(Enum):
    """The kinds of agreement and error: a name for CSS, a mark beside the colour, a meaning.

    The order is that of the chips: errors first, since the reader looks for them.
    """

    FLIPPED = ("flipped", "F", "says the opposite of the reference")
    MISSED = ("missed", "M", "the reference affirms it, the report does not mention it")
    INVENTED = ("invented", "I", "the report affirms it, the reference does not mention it")
    UNCERTAIN = ("uncertain", "?", "hedged in the reference, in the report, or in both")
    AGREE_POSITIVE = ("agree-positive", "+", "affirmed in both")
    AGREE_NEGATIVE = ("agree-negative", "\u2212", "denied in both")
    UNSAID = ("unsaid", "u", "the reference denies it, the report does not mention it")
    ADDED = ("added", "a", "the report denies it, the reference does not mention it")
    SILENT = ("silent", "", "mentioned in neither")

    def __init__(self, slug: str, mark: str, meaning: str) -> None:
        self.slug = slug
        self.mark = mark
        self.meaning = meaning


ERRORS = (Agreement.FLIPPED, Agreement.MISSED, Agreement.INVENTED)

_B, _P, _N = Status.BLANK, Status.POSITIVE, Status.NEGATIVE
_CERTAIN = {
    (_P, _P): Agreement.AGREE_POSITIVE,
    (_N, _N): Agreement.AGREE_NEGATIVE,
    (_P, _N): Agreement.FLIPPED,
    (_N, _P): Agreement.FLIPPED,
    (_P, _B): Agreement.MISSED,
    (_B, _P): Agreement.INVENTED,
    (_N, _B): Agreement.UNSAID,
    (_B, _N): Agreement.ADDED,
    (_B, _B): Agreement.SILENT,
}
_SIGNS = {_B: "blank", _P: "+", _N: "\u2212", Status.UNCERTAIN: "?"}
_WORDS = {_B: "blank", _P: "positive", _N: "negative", Status.UNCERTAIN: "uncertain"}


@dataclass(frozen=True, slots=True)
class Chip:
    """One finding of one report: what it is called, how it agrees, and that in signs and words."""

    finding: Finding
    kind: str
    mark: str
    signs: str
    words: str


def agreement(reference: Status, report: Status) -> Agreement:
    """The kind of agreement between a reference's status and a report's."""
    return _CERTAIN.get((reference, report), Agreement.UNCERTAIN)


def report_chips(reference: Labels, report: Labels) -> tuple[Chip, ...]:
    """The findings that either mentions, errors first."""
    kinds = {f: agreement(reference[f], report[f]) for f in Finding}
    order = list(Agreement)
    spoken = [f for f in Finding if kinds[f] is not Agreement.SILENT]
    return tuple(
        _chip(finding, kinds[finding], reference[finding], report[finding])
        for finding in sorted(spoken, key=lambda f: order.index(kinds[f]))
    )


def _chip(finding: Finding, kind: Agreement, reference: Status, report: Status) -> Chip:
    moved = kind in (Agreement.FLIPPED, Agreement.UNCERTAIN)
    return Chip(
        finding=finding,
        kind=kind.slug,
        mark=kind.mark,
        signs=f"{_SIGNS[reference]}\u2192{_SIGNS[report]}" if moved else "",
        words=f"{kind.slug.replace('-', ' ')}: reference {_WORDS[reference]}, "
        f"report {_WORDS[report]}",
    )


def reference_chips(reference: Labels) -> tuple[Chip, ...]:
    """The findings that the reference mentions: affirmed, then hedged, then denied."""
    order = [Status.POSITIVE, Status.UNCERTAIN, Status.NEGATIVE]
    return tuple(
        Chip(finding, f"status-{_WORDS[status]}", _SIGNS[status], "", _WORDS[status])
        for status in order
        for finding in reference.having(status)
    )
