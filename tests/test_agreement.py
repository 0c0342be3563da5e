import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.metrics.agreement import Agreement, agreements, confusion

CODES = {
    " ": Status.BLANK,
    "+": Status.POSITIVE,
    "-": Status.NEGATIVE,
    "?": Status.UNCERTAIN,
}


def labels(codes: str, finding: Finding = Finding.EDEMA) -> list[Labels]:
    """One report a character; every other finding is blank."""
    return [Labels.of({finding: CODES[code]}) for code in codes]


def of(ours: Sequence[Labels], theirs: Sequence[Labels], over: str = "Edema") -> Agreement:
    (found,) = [a for a in agreements(confusion(ours, theirs)) if a.over == over]
    return found


# Statuses of two labelers, one report a character, and by hand: share of equal statuses, Cohen's
# kappa, F1 of positive, of negative, of uncertain, and of positive or uncertain. None is 0/0: it
# is not known, and must not be taken for disagreement.
TABLE = {
    # Equal 8 of 10. Marginals 4 3 1 2 and 5 3 1 1 make chance (20 + 9 + 1 + 2) / 100 = .32, so
    # kappa is (.8 - .32) / (1 - .32) = 12/17. Positive 2 * 2 / (3 + 3); negative 1; uncertain
    # 2 * 1 / (2 + 1); positive or uncertain 2 * 4 / (5 + 4).
    "by hand": ("    +++-??", "    ++ -+?", (0.8, 12 / 17, 2 / 3, 1.0, 2 / 3, 8 / 9)),
    # The example of Cohen's kappa in many textbooks: 20 yes-yes, 15 no-no, 5 and 10 apart.
    "textbook": (
        "+" * 25 + "-" * 25,
        "+" * 20 + "-" * 5 + "+" * 10 + "-" * 15,
        (0.7, 0.4, 40 / 55, 30 / 45, None, 40 / 55),
    ),
    "one class": ("   ", "   ", (1.0, None, None, None, None, None)),
    "one class that is claimed": ("++", "++", (1.0, None, 1.0, None, None, 1.0)),
    "a class each": ("   ", "+++", (0.0, 0.0, 0.0, None, None, 0.0)),
    "one of them always the same": ("    ", "  +-", (0.5, 0.0, 0.0, 0.0, None, 0.0)),
    "opposed": ("+-", "-+", (0.0, -1.0, 0.0, 0.0, None, 0.0)),
    "alike": ("+-? ", "+-? ", (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
    "a hedge for a claim": ("+ ", "? ", (0.5, 1 / 3, 0.0, None, 0.0, 1.0)),
    "one report": ("+", "-", (0.0, 0.0, 0.0, 0.0, None, 0.0)),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), TABLE.values(), ids=TABLE)
def test_figures_of_a_finding(ours: str, theirs: str, expected: tuple[float | None, ...]) -> None:
    found = of(labels(ours), labels(theirs))
    figures = (found.agreement, found.kappa, *found.f1.values())
    assert figures == tuple(None if e is None else pytest.approx(e) for e in expected)
    assert list(found.f1) == ["positive", "negative", "uncertain", "positive or uncertain"]
    assert found.cells == len(ours)
    assert found.differ == sum(a != b for a, b in zip(ours, theirs, strict=True))


def test_counts_tell_what_each_said() -> None:
    counts = of(labels("    +++-??"), labels("    ++ -+?")).counts
    assert counts == {
        "positive": (3, 3, 2),
        "negative": (1, 1, 1),
        "uncertain": (2, 1, 1),
        "positive or uncertain": (5, 4, 4),
    }


def test_macro_leaves_out_what_is_not_known_and_micro_pools() -> None:
    ours = labels("    +++-??") + labels("++", Finding.FRACTURE)
    theirs = labels("    ++ -+?") + labels("+ ", Finding.FRACTURE)
    edema, fracture = of(ours, theirs), of(ours, theirs, "Fracture")
    macro, micro = of(ours, theirs, "macro-14"), of(ours, theirs, "micro-14")
    assert (macro.cells, macro.differ) == (micro.cells, micro.differ) == (14 * 12, 3)
    assert macro.agreement == micro.agreement == pytest.approx(1 - 3 / (14 * 12))
    assert edema.kappa is not None
    assert fracture.kappa is not None
    # Twelve findings are blank in both: their kappa and F1 are unknown, not 0 and not 1.
    assert macro.kappa == pytest.approx((edema.kappa + fracture.kappa) / 2)
    assert macro.f1["positive"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert macro.f1["uncertain"] == pytest.approx(2 / 3)
    assert micro.f1["positive"] == pytest.approx(2 * (2 + 1) / (3 + 3 + 2 + 1))
    assert micro.counts["positive"] == (5, 4, 3)


def test_macro_lines_are_over_the_label_sets_of_the_field() -> None:
    ours, theirs = labels("+ ", Finding.NO_FINDING), labels("++", Finding.NO_FINDING)
    found = agreements(confusion(ours, theirs))
    assert [a.over for a in found] == [
        *(finding.value for finding in FINDINGS),
        "macro-14",
        "macro-13",
        "macro-5",
        "micro-14",
    ]
    assert of(ours, theirs, "macro-14").f1["positive"] == pytest.approx(2 / 3)
    assert of(ours, theirs, "macro-13").f1["positive"] is None
    assert of(ours, theirs, "macro-5").agreement == 1.0


def test_confusion_has_our_statuses_in_rows() -> None:
    cells = confusion(labels("+-"), labels("? "))
    assert cells.shape == (14, 4, 4)
    edema = cells[FINDINGS.index(Finding.EDEMA)]
    assert edema[Status.POSITIVE, Status.UNCERTAIN] == 1
    assert edema[Status.NEGATIVE, Status.BLANK] == 1
    assert edema.sum() == 2


def test_reports_must_pair() -> None:
    with pytest.raises(ValueError, match="2 labels but 1"):
        confusion(labels("++"), labels("+"))
    with pytest.raises(ValueError, match="no labels"):
        confusion([], [])


pairs = st.lists(st.tuples(st.sampled_from(" +-?"), st.sampled_from(" +-?")), min_size=1)


@given(pairs)
def test_neither_side_is_the_reference(drawn: list[tuple[str, str]]) -> None:
    ours, theirs = ("".join(side) for side in zip(*drawn, strict=True))
    there, back = of(labels(ours), labels(theirs)), of(labels(theirs), labels(ours))
    swapped = {name: (b, a, both) for name, (a, b, both) in back.counts.items()}
    assert dataclasses.replace(back, counts=swapped, confusion=there.confusion) == there
    assert np.array_equal(np.array(there.confusion), np.array(back.confusion).T)


@given(pairs)
def test_figures_stay_in_their_range(drawn: list[tuple[str, str]]) -> None:
    ours, theirs = ("".join(side) for side in zip(*drawn, strict=True))
    found = of(labels(ours), labels(theirs))
    assert found.kappa is None or -1 <= found.kappa <= 1
    assert all(value is None or 0 <= value <= 1 for value in found.f1.values())
    assert (found.agreement == 1) == (ours == theirs)
    if found.kappa is not None:
        assert (found.kappa == pytest.approx(1)) == (ours == theirs)
