from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mrg_r1.metrics.ranks import kendall, spearman

CASES = [
    # a, b, tau-b, rho; the last by hand: 5 pairs ordered in a, 6 in b, 4 alike, 1 reversed
    ([1, 2, 3], [10, 20, 30], 1.0, 1.0),
    ([1, 2, 3], [3, 2, 1], -1.0, -1.0),
    ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6, 0.8),
    ([1, 1, 2, 3], [1, 2, 4, 3], 3 / math.sqrt(30), None),
    ([1, 1, 1], [1, 2, 3], None, None),
    ([1], [2], None, None),
    ([], [], None, None),
]


@pytest.mark.parametrize(("a", "b", "tau", "rho"), CASES)
def test_worked_cases(a: list[float], b: list[float], tau: float | None, rho: float | None) -> None:
    assert kendall(a, b) == pytest.approx(tau)
    if rho is not None or tau is None:
        assert spearman(a, b) == pytest.approx(rho)


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12).filter(
    lambda found: all(len(set(side)) > 1 for side in zip(*found, strict=True))
)


@given(pairs)
def test_ties_count_as_in_scipy(found: list[tuple[int, int]]) -> None:
    a, b = ([*map(float, side)] for side in zip(*found, strict=True))
    assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


@pytest.mark.parametrize("coefficient", [kendall, spearman])
def test_unpaired_figures(coefficient: object) -> None:
    with pytest.raises(ValueError, match="1 figures but 2"):
        coefficient([1], [1, 2])  # type: ignore[operator]
