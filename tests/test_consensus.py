"""Which of several reports is kept, and how sure it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.consensus import Consensus, consensus, labels_of
from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.metrics.cosine import ccs, mccs, signed

EDEMA, PNEUMONIA, FRACTURE = Finding.EDEMA, Finding.PNEUMONIA, Finding.FRACTURE
POSITIVE, NEGATIVE, UNCERTAIN = Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN

SICK = Labels.of({EDEMA: POSITIVE, PNEUMONIA: POSITIVE})
SICK_AND_MORE = Labels.of({EDEMA: POSITIVE, PNEUMONIA: POSITIVE, FRACTURE: POSITIVE})
WELL = Labels.of({EDEMA: NEGATIVE, PNEUMONIA: NEGATIVE})
SILENT = Labels.of({})
NORMAL = Labels.of({Finding.NO_FINDING: POSITIVE})

CASES: dict[str, tuple[list[Labels | None], int]] = {
    "one": ([SICK], 0),
    "one that wrote nothing": ([None], 0),
    "the majority": ([WELL, SICK, SICK], 1),
    "the first of two that are alike": ([SICK, SICK, WELL], 0),
    "the middle of three": ([SICK_AND_MORE, SICK, Labels.of({EDEMA: POSITIVE})], 1),
    "a tie goes to the first": ([SICK, WELL], 0),
    "a tie of the clipped score goes to the cosine": (
        # Nobody is above the margin with anybody; the second is no opposite of the third.
        [WELL, Labels.of({EDEMA: POSITIVE, FRACTURE: NEGATIVE}), SICK_AND_MORE],
        1,
    ),
    "those who wrote nothing are no majority": ([None, None, None, SICK], 3),
    "and give no vote": ([None, SICK, None, WELL, WELL], 3),
    "the silent agree with one another": ([SICK, SILENT, SILENT], 1),
    "no finding is not compared": ([NORMAL, SILENT, SICK], 0),
    "a hedge agrees with an assertion": (
        [WELL, Labels.of({EDEMA: UNCERTAIN, PNEUMONIA: POSITIVE}), SICK],
        1,
    ),
}


@pytest.mark.parametrize(("labels", "chosen"), CASES.values(), ids=CASES)
def test_the_report_the_others_agree_with_is_chosen(
    labels: list[Labels | None], chosen: int
) -> None:
    assert consensus(labels).chosen == chosen


def test_no_reports_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no reports"):
        consensus([])


def test_expected_scores_are_mean_mccs_with_the_others() -> None:
    rows = [SICK, SICK_AND_MORE, WELL]
    vectors = signed(rows)
    expected = [
        np.mean([mccs(ccs(vectors[[i]], vectors[[j]]), 0.3)[0] for j in range(3) if j != i])
        for i in range(3)
    ]
    assert consensus(rows).expected == pytest.approx(tuple(map(float, expected)))


def test_shares_are_of_all_reports() -> None:
    found = consensus([SICK, SICK, WELL, None])
    assert found.confidence(EDEMA, POSITIVE) == 0.5
    assert found.confidence(EDEMA, NEGATIVE) == 0.25
    assert found.confidence(EDEMA, Status.BLANK) == 0.25
    assert found.confidence(FRACTURE, Status.BLANK) == 1


def test_a_completion_without_a_report_is_no_normal_report() -> None:
    normal, nothing = labels_of(["Lungs are clear.", ""], RulesLabeler())
    assert normal is not None
    assert normal[Finding.NO_FINDING] is POSITIVE
    assert nothing is None
    assert labels_of(["", ""], RulesLabeler()) == [None, None]


LABELS = st.none() | st.lists(
    st.sampled_from(list(Status)), min_size=len(FINDINGS) - 1, max_size=len(FINDINGS) - 1
).map(lambda statuses: Labels((*statuses, Status.BLANK)))


@given(st.lists(LABELS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_choice_does_not_hang_on_the_order(rows: list[Labels | None], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = consensus(rows), consensus(shuffled)
    assert one.expected[one.chosen] == pytest.approx(other.expected[other.chosen], abs=1e-8)
    assert np.allclose(one.shares, other.shares)
    _is_sound(one, rows)


def _is_sound(found: Consensus, rows: list[Labels | None]) -> None:
    assert rows[found.chosen] is not None or not any(rows)
    assert all(0 <= score <= 1 for score in found.expected)
    assert np.allclose(np.sum(found.shares, axis=1), 1)
    assert found.expected[found.chosen] == pytest.approx(max(found.expected), abs=1e-8)
