"""What a report says of each finding, where it says so, and how that stands to its reference.

The words are found by the embedded labeler, whoever made the labels: only its rules tell what
decided. Each statement is judged by itself, against the reference's label of the finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.agreement import WORDS, Agreement, agreement
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.rules import Mention

LONGEST = 6000
"""Characters of one text on the page; a policy that repeats itself must not fill it."""

CUE = "cue"

Span = tuple[int, int]
Group = tuple[int, int, tuple[Mention, ...]]
"""A stretch of a text and what is said in it."""

_SAID = {Status.POSITIVE: "affirmed", Status.NEGATIVE: "denied", Status.UNCERTAIN: "hedged"}
_REFERENCE = {
    Status.POSITIVE: "the reference affirms it",
    Status.NEGATIVE: "the reference denies it",
    Status.UNCERTAIN: "the reference hedges it",
    Status.BLANK: "the reference does not mention it",
}
_WORST_FIRST = (
    Agreement.POLARITY,
    Agreement.INVENTION,
    Agreement.MISMATCH,
    Agreement.ADDED,
    Agreement.AGREE_POSITIVE,
    Agreement.AGREE_UNCERTAIN,
    Agreement.AGREE_NEGATIVE,
    Agreement.OMISSION,
    Agreement.UNSAID,
    Agreement.SILENT,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text.

    Attributes:
        text: its words.
        kind: '' for plain text, 'cue' for the words that decided on a statement, else how the
            statement stands to the reference ('said-positive' and the like where that is not
            known, or the text is the reference itself), as CSS classes.
        mark: a sign beside the colour.
        say: finding, cue and judgement in words.
        cues: which of the text's cues decided on it, counted from 0.
    """

    text: str
    kind: str = ""
    mark: str = ""
    say: str = ""
    cues: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """How a mention is shown: how badly it stands (0 is worst), its class, mark and words."""

    rank: int
    kind: str
    mark: str
    words: str


def report_pieces(
    text: str, mentions: Sequence[Mention], reference: Labels | None, own: Labels | None
) -> tuple[Piece, ...]:
    """A report's text in pieces, each statement judged against the reference's labels.

    Args:
        text: the report, cut where the page cuts it.
        mentions: the evidence in the report.
        reference: labels of the reference; without them nothing is judged.
        own: labels of the report, to tell where a statement is not the label of the whole.
    """
    said = {
        mention: _unjudged(mention)
        if reference is None
        else _judged(mention, reference, _label(mention, own))
        for mention in mentions
    }
    return _pieces(text, mentions, said)


def reference_pieces(
    text: str, mentions: Sequence[Mention], reports: Mapping[str, Labels]
) -> tuple[Piece, ...]:
    """A reference's text in pieces; each statement tells which reports do not say the same.

    Args:
        text: the reference, cut where the page cuts it.
        mentions: the evidence in the reference.
        reports: labels of the reports beside it, by the title of their system.
    """
    return _pieces(text, mentions, {m: _missing(m, reports) for m in mentions})


def _unjudged(mention: Mention) -> Said:
    return Said(0, f"said-{WORDS[mention.status]}", "", f"{_statement(mention)}.")


def _judged(mention: Mention, reference: Labels, label: str) -> Said:
    """A statement of an abnormality outside the 13 findings denies that there is none."""
    status = reference[mention.finding]
    if mention.finding is Finding.NO_FINDING:
        if status is Status.BLANK:
            return _unjudged(mention)
        kind = Agreement.INVENTION
        relation = "the reference has none, and no finding"
    else:
        kind = agreement(status, mention.status)
        relation = _REFERENCE[status]
    title = kind.title.capitalize()
    words = f"{title}. {_statement(mention)}; {relation}{label}."
    mark = "" if kind.agrees else kind.mark
    return Said(_WORST_FIRST.index(kind), kind.slug, mark, words)


def _missing(mention: Mention, reports: Mapping[str, Labels]) -> Said:
    """A reference's statement, with what each report makes of its finding."""
    statement = _unjudged(mention)
    if mention.finding is Finding.NO_FINDING:
        return statement
    found = {title: labels[mention.finding] for title, labels in reports.items()}
    missing = [title for title, status in found.items() if status is Status.BLANK]
    others = [
        f"{_SAID[status]} in {title}" for title, status in found.items() if title not in missing
    ]
    if missing:
        others.insert(0, f"missing in {', '.join(missing)}")
    kind = f"{statement.kind} missing" if missing else statement.kind
    told = "; ".join([_statement(mention), *others])
    return Said(0 if missing else 1, kind, "", f"{told}.")


def _statement(mention: Mention) -> str:
    cue = f" by \u201c{' '.join(mention.cue.split())}\u201d" if mention.cue else ""
    if mention.finding is Finding.NO_FINDING:
        return "An abnormality outside the 13 findings"
    return f"{mention.finding.value}: {_SAID[mention.status]}{cue}"


def _label(mention: Mention, own: Labels | None) -> str:
    if own is None or mention.finding is Finding.NO_FINDING:
        return ""
    if own[mention.finding] is mention.status:
        return ""
    return f"; the label of the whole report is {WORDS[own[mention.finding]]}"


def _pieces(
    text: str, mentions: Sequence[Mention], said: Mapping[Mention, Said]
) -> tuple[Piece, ...]:
    groups = _groups([mention for mention in mentions if mention.end <= len(text)])
    cues = _cues(mentions, groups, len(text))
    numbers = {cue: number for number, cue in enumerate(cues)}
    stretches = [*groups, *((start, end, ()) for start, end in cues)]
    pieces: list[Piece] = []
    at = 0
    for start, end, group in sorted(stretches, key=lambda stretch: stretch[:2]):
        pieces.append(Piece(text[at:start]))
        pieces.append(_piece(text[start:end], [said[m] for m in group], _own(group, numbers)))
        at = end
    pieces.append(Piece(text[at:]))
    return tuple(piece for piece in pieces if piece.text)


def _piece(text: str, said: Sequence[Said], cues: tuple[int, ...]) -> Piece:
    """One phrase: a cue if nothing is said in it, else what is said worst, in the words of all."""
    if not said:
        return Piece(text, CUE)
    worst = min(said, key=lambda s: s.rank)
    words = " ".join(dict.fromkeys(s.words for s in said))
    return Piece(text, worst.kind, worst.mark, words, cues)


def _own(group: Sequence[Mention], numbers: Mapping[Span, int]) -> tuple[int, ...]:
    spans = [mention.cue_span for mention in group if mention.cue_span]
    return tuple(sorted({numbers[span] for span in spans if span in numbers}))


def _groups(mentions: Sequence[Mention]) -> list[Group]:
    """Stretches with the mentions in them: one phrase may speak of several findings."""
    groups: list[Group] = []
    for mention in sorted(mentions, key=lambda m: (m.start, m.end)):
        if groups and mention.start < groups[-1][1]:
            start, end, group = groups.pop()
            groups.append((start, max(end, mention.end), (*group, mention)))
        else:
            groups.append((mention.start, mention.end, (mention,)))
    return groups


def _cues(mentions: Sequence[Mention], groups: Sequence[Group], length: int) -> list[Span]:
    """The cues' spans in the order of the text, without those that overlap with another's."""
    spans = sorted({m.cue_span for m in mentions if m.cue_span and m.cue_span[1] <= length})
    kept: list[Span] = []
    index = last = 0
    for start, end in spans:
        while index < len(groups) and groups[index][1] <= start:
            index += 1
        free = index == len(groups) or end <= groups[index][0]
        if free and start >= last:
            kept.append((start, end))
            last = end
    return kept
