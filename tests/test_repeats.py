"""Studies with rare findings are repeated, and how often is the published factor."""

from __future__ import annotations

from collections import Counter
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.data.repeats import repeats
from mrg_r1.findings import DISEASES, Finding, Labels, Status

NOTHING = Labels.of({})
HEART = Labels.of({Finding.CARDIOMEGALY: Status.POSITIVE})
MAYBE = Labels.of({Finding.CARDIOMEGALY: Status.UNCERTAIN})
DENIED = Labels.of({Finding.CARDIOMEGALY: Status.NEGATIVE})
BOTH = Labels.of({Finding.CARDIOMEGALY: Status.POSITIVE, Finding.EDEMA: Status.POSITIVE})


@pytest.mark.parametrize(
    ("labels", "below", "factors"),
    [
        ([HEART] + [NOTHING] * 15, 1 / 4, {0: 2}),  # sqrt(1/4 : 1/16)
        ([MAYBE] + [NOTHING] * 15, 1 / 4, {0: 2}),
        ([DENIED] + [NOTHING] * 15, 1 / 4, {}),
        ([NOTHING] * 4, 1 / 4, {}),
        ([HEART] * 4 + [NOTHING] * 12, 1 / 4, {}),
        ([HEART] * 8 + [NOTHING] * 8, 1 / 4, {}),  # never less than once
        ([BOTH] + [HEART] * 3 + [NOTHING] * 12, 1, {0: 4, 1: 2, 2: 2, 3: 2}),  # its rarest
        ([], 1 / 4, {}),
    ],
)
def test_a_study_is_taken_as_often_as_its_rarest_finding_asks(
    labels: list[Labels], below: float, factors: dict[int, int]
) -> None:
    numbers = repeats(labels, below, seed=0)
    assert Counter(numbers) == {n: factors.get(n, 1) for n in range(len(labels))}
    assert numbers == sorted(numbers)


def test_a_part_of_a_time_is_drawn() -> None:
    labels = [HEART] * 500 + [NOTHING] * 1500  # a quarter
    taken = Counter(repeats(labels, 0.5, seed=1))
    mean = sum(taken[n] for n in range(500)) / 500
    assert mean == pytest.approx(sqrt(2), abs=0.07)
    assert {taken[n] for n in range(500)} == {1, 2}
    assert repeats(labels, 0.5, seed=1) == repeats(labels, 0.5, seed=1)
    assert repeats(labels, 0.5, seed=1) != repeats(labels, 0.5, seed=2)


@given(
    st.lists(st.sampled_from([NOTHING, HEART, MAYBE, DENIED, BOTH]), max_size=30),
    st.floats(0.01, 1),
    st.integers(0, 9),
)
def test_every_study_is_there(labels: list[Labels], below: float, seed: int) -> None:
    taken = Counter(repeats(labels, below, seed))
    assert set(taken) == set(range(len(labels)))
    present = [
        any(label[d] in (Status.POSITIVE, Status.UNCERTAIN) for d in DISEASES) for label in labels
    ]
    assert all(taken[n] == 1 for n, shown in enumerate(present) if not shown)
