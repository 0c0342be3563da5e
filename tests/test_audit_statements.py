"""Statements on the audit page: where they are, how they stand, and what is told of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.audit.statements import Piece, reference_pieces, report_pieces
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.rules import Mention, RulesLabeler

B, P, N, U = Status.BLANK, Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN
RULES = RulesLabeler()


def judged(report: str, reference: str | Labels) -> list[Piece]:
    """The statements of a report, without the plain text and the cues around them."""
    (own,) = RULES.label([report])
    wanted = reference if isinstance(reference, Labels) else RULES.label([reference])[0]
    pieces = report_pieces(report, RULES.mentions(report), wanted, own)
    return [piece for piece in pieces if piece.kind not in ("", "cue")]


@pytest.mark.parametrize(
    ("report", "reference", "kind", "mark", "words"),
    [
        (
            "Pleural effusion.",
            "Pleural effusion.",
            "agree-positive",
            "",
            "Agrees. Pleural Effusion: affirmed; the reference affirms it.",
        ),
        (
            "No pleural effusion.",
            "No effusion.",
            "agree-negative",
            "",
            "Agrees. Pleural Effusion: denied by \u201cNo\u201d; the reference denies it.",
        ),
        (
            "Possible edema.",
            "Possible edema.",
            "agree-uncertain",
            "",
            "Agrees. Edema: hedged by \u201cPossible\u201d; the reference hedges it.",
        ),
        (
            "No pneumothorax.",
            "Large pneumothorax.",
            "polarity",
            "\u00d7",
            "Polarity error. Pneumothorax: denied by \u201cNo\u201d; the reference affirms it.",
        ),
        (
            "Pneumothorax.",
            "No pneumothorax.",
            "polarity",
            "\u00d7",
            "Polarity error. Pneumothorax: affirmed; the reference denies it.",
        ),
        (
            "Edema.",
            "The heart is enlarged.",
            "invention",
            "I",
            "Invention. Edema: affirmed; the reference does not mention it.",
        ),
        (
            "No edema.",
            "The heart is enlarged.",
            "added",
            "i",
            "Added denial. Edema: denied by \u201cNo\u201d; the reference does not mention it.",
        ),
        (
            "Possible edema.",
            "Edema.",
            "mismatch",
            "?",
            "Uncertain mismatch. Edema: hedged by \u201cPossible\u201d; the reference affirms it.",
        ),
    ],
)
def test_each_kind_of_statement(
    report: str, reference: str, kind: str, mark: str, words: str
) -> None:
    (piece,) = judged(report, reference)
    assert (piece.kind, piece.mark, piece.say) == (kind, mark, words)


def test_cue_is_shown_and_named_once_for_all_it_denies() -> None:
    report = "No pneumothorax or effusion."
    pieces = report_pieces(report, RULES.mentions(report), Labels.of({}), None)
    assert [(p.text, p.kind, p.cues) for p in pieces] == [
        ("No", "cue", ()),
        (" ", "", ()),
        ("pneumothorax", "added", (0,)),
        (" or ", "", ()),
        ("effusion", "added", (0,)),
        (".", "", ()),
    ]


def test_statement_that_is_not_the_label_of_the_whole_says_so() -> None:
    first, second = judged("No left effusion. Small right effusion.", "Pleural effusion.")
    assert first.kind == "polarity"
    assert first.say.endswith("; the label of the whole report is positive.")
    assert second.kind == "agree-positive"
    assert "label" not in second.say


def test_one_phrase_of_two_findings_is_coloured_by_the_worse() -> None:
    report = "Normal cardiac and mediastinal contours."
    findings = {m.finding for m in RULES.mentions(report)}
    assert findings == {Finding.CARDIOMEGALY, Finding.ENLARGED_CARDIOMEDIASTINUM}
    (piece,) = judged(report, Labels.of({Finding.CARDIOMEGALY: P}))
    assert piece.kind == "polarity"
    assert "Polarity error. Cardiomegaly: denied" in piece.say
    assert "Added denial. Enlarged Cardiomediastinum: denied" in piece.say


def test_abnormality_outside_the_findings_is_invented_only_where_there_is_none() -> None:
    report = "Hiatal hernia."
    (mention,) = RULES.mentions(report)
    assert mention.finding is Finding.NO_FINDING
    (normal,) = judged(report, "The lungs are clear.")
    assert (normal.kind, normal.mark) == ("invention", "I")
    assert normal.say.startswith("Invention. An abnormality outside the 13 findings;")
    (other,) = judged(report, "Edema.")
    assert other.kind == "said-negative"


def test_without_a_reference_nothing_is_judged() -> None:
    report = "Edema. No effusion. Possible pneumonia."
    pieces = report_pieces(report, RULES.mentions(report), None, None)
    kinds = [piece.kind for piece in pieces if piece.say]
    assert kinds == ["said-positive", "said-negative", "said-uncertain"]


def test_reference_tells_who_left_a_statement_out_and_who_says_otherwise() -> None:
    reference = "Large pneumothorax. No edema."
    reports = {
        "Before": Labels.of({Finding.PNEUMOTHORAX: N}),
        "After": Labels.of({Finding.EDEMA: N}),
    }
    pieces = reference_pieces(reference, RULES.mentions(reference), reports)
    first, second = (piece for piece in pieces if piece.say)
    assert first.kind == "said-positive missing"
    assert first.say == "Pneumothorax: affirmed; missing in After; denied in Before."
    assert second.kind == "said-negative missing"
    assert second.say == "Edema: denied by \u201cNo\u201d; missing in Before; denied in After."
    both = dict.fromkeys(("a", "b"), RULES.label([reference])[0])
    pieces = reference_pieces(reference, RULES.mentions(reference), both)
    assert "missing" not in " ".join(piece.kind + piece.say for piece in pieces)


def test_what_lies_beyond_the_cut_is_left_out() -> None:
    report = "No effusion. " * 3
    pieces = report_pieces(report[:15], RULES.mentions(report), Labels.of({}), None)
    assert "".join(piece.text for piece in pieces) == report[:15]
    assert [piece.text for piece in pieces if piece.say] == ["effusion"]


PHRASES = [
    "no ",
    "effusion ",
    "possible ",
    "edema, ",
    "heart is enlarged. ",
    "<b>",
    "\r\n",
    "\u202e",
    "is not seen. ",
]


@given(st.lists(st.sampled_from(PHRASES)).map("".join) | st.text())
def test_pieces_are_the_text(report: str) -> None:
    pieces = report_pieces(report, RULES.mentions(report), Labels.of({}), None)
    assert "".join(piece.text for piece in pieces) == report
    cues = sum(piece.kind == "cue" for piece in pieces)
    assert all(number < cues for piece in pieces for number in piece.cues)
    assert all(piece.text for piece in pieces)


def _mention(start: int, end: int, cue: tuple[int, int] | None) -> Mention:
    return Mention(Finding.EDEMA, N, start, end, None if cue is None else "no", cue)


@given(
    st.lists(
        st.builds(
            lambda start, length, cue: _mention(start, start + length, cue),
            st.integers(0, 30),
            st.integers(1, 8),
            st.none() | st.tuples(st.integers(0, 20), st.integers(21, 34)),
        )
    )
)
def test_spans_that_overlap_lose_no_text(mentions: list[Mention]) -> None:
    """The rules' spans do not overlap today; the page must not break if they do."""
    text = "".join(chr(97 + i % 26) for i in range(40))
    pieces = report_pieces(text, mentions, Labels.of({}), None)
    assert "".join(piece.text for piece in pieces) == text
    covered = {i for m in mentions for i in range(m.start, m.end)}
    assert sum(len(piece.text) for piece in pieces if piece.say) == len(covered)
