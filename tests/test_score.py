import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1 import __version__
from mrg_r1.errors import ConfigError
from mrg_r1.metrics.score import Measure, Signature, estimate, mean, score


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (
            Signature(
                v="0.1.0", n=590, avg="micro", labels=13, uncertain="positive", labeler="rules@0.1"
            ),
            "labeler:rules@0.1|uncertain:positive|labels:13|avg:micro|n:590|v:0.1.0",
        ),
        (
            Signature(labels=14, avg="macro", absent=0, n=1, v="2"),
            "labels:14|avg:macro|absent:0|n:1|v:2",
        ),
        (Signature(text="r2gen", n=3), f"text:r2gen|n:3|v:{__version__}"),
        (Signature(margin=0.0, n=3, v="1"), "margin:0.0|n:3|v:1"),
    ],
)
def test_signatures_keep_the_order_and_leave_out_what_does_not_apply(
    signature: Signature, text: str
) -> None:
    assert str(signature) == text


def measure(values: list[float]) -> Measure:
    return mean("m", Signature(n=len(values)), np.array(values))


def test_a_mean_with_its_signature_and_interval() -> None:
    (found,) = score([measure([0.0, 1.0] * 50)], [str(i) for i in range(100)])
    assert (found.metric, found.value) == ("m", 0.5)
    assert found.signature == f"n:100|v:{__version__}"
    # Standard error .05, so the interval is about .5 +- .098.
    assert found.low == pytest.approx(0.402, abs=0.015)
    assert found.high == pytest.approx(0.598, abs=0.015)


def test_studies_are_resampled_whole() -> None:
    values = [0.0] * 10 + [1.0] * 10
    (by_sample,) = score([measure(values)], [str(i) for i in range(20)])
    (by_study,) = score([measure(values)], [str(i // 5) for i in range(20)])
    (one_study,) = score([measure(values)], ["s"] * 20)
    assert by_study.high - by_study.low > by_sample.high - by_sample.low
    assert (by_study.low, by_study.high) == (0.0, 1.0)
    assert one_study.low == one_study.high == one_study.value == 0.5


def test_studies_of_unequal_size_and_in_any_order() -> None:
    values, studies = [1.0, 0.0, 1.0, 0.0, 1.0], ["b", "a", "b", "c", "b"]
    order = [3, 0, 4, 1, 2]
    (found,) = score([measure(values)], studies)
    (shuffled,) = score([measure([values[i] for i in order])], [studies[i] for i in order])
    assert found == shuffled
    assert found.value == 0.6


def test_a_resample_equals_the_sum_over_drawn_studies() -> None:
    """The matrix product against a plain loop, on the maximum over resamples of a sum."""
    rng = np.random.default_rng(5)
    values = np.arange(7.0)
    drawn = rng.integers(7, size=(40, 7))
    sums = values[drawn].sum(axis=1)
    total = Measure((("sum", Signature(n=7)),), values[:, None], lambda sums: sums)
    (found,) = score([total], [str(i) for i in range(7)], resamples=40, seed=5)
    assert [found.low, found.high] == pytest.approx(np.percentile(sums, [2.5, 97.5]).tolist())
    assert found.value == 21.0


def test_seed_decides_and_systems_are_drawn_alike() -> None:
    values, studies = [0.1, 0.5, 0.9, 0.3], list("abcd")
    once, again = (score([measure(values)], studies, seed=3) for _ in range(2))
    assert once == again
    assert once != score([measure(values)], studies, seed=4)
    alone, together = once[0], score([measure([1.0] * 4), measure(values)], studies, seed=3)[1]
    assert alone == together


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 50))
def test_intervals_are_ordered_and_within_the_values(values: list[float], resamples: int) -> None:
    studies = [str(i) for i in range(len(values))]
    (found,) = score([measure(values)], studies, resamples=resamples)
    slack = 1e-12
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found.value == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_two_systems_are_compared_in_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(200)  # how hard a study is, which moves both systems alike
    ours, theirs = hard + 0.05 + 0.05 * rng.random(200), hard
    groups = [str(i) for i in range(200)]
    better, worse = (estimate([measure(list(v))], groups) for v in (ours, theirs))
    (found,) = better.minus(worse, "theirs")
    assert (found.metric, found.baseline, found.signature[:5]) == ("m", "theirs", "n:200")
    assert found.value == pytest.approx(np.mean(ours - theirs))
    assert 0.07 < found.low < found.value < found.high < 0.08
    assert found.p == pytest.approx(2 / 1001)
    # Their own intervals overlap: only pairing tells them apart.
    assert better.scores()[0].low < worse.scores()[0].high
    (back,) = worse.minus(better, "ours")
    assert (back.value, back.p) == (-found.value, found.p)


def test_a_system_does_not_differ_from_itself() -> None:
    same = estimate([measure([0.1, 0.7, 0.2])], list("abc"))
    (found,) = same.minus(same, "itself")
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_p_of_noise_is_uniform_enough() -> None:
    rng = np.random.default_rng(1)
    groups = [str(i) for i in range(60)]
    values = []
    for _ in range(100):
        one, other = (estimate([measure(list(rng.random(60)))], groups, resamples=99) for _ in "ab")
        values.append(one.minus(other, "other")[0].p)
    assert 0.3 < np.mean(values) < 0.7
    assert np.mean(np.array(values) <= 0.1) < 0.25


def test_only_scores_of_one_signature_are_compared() -> None:
    one = estimate([measure([1.0, 0.0])], list("ab"))
    other = estimate([mean("m", Signature(n=2, text="raw"), np.array([1.0, 0.0]))], list("ab"))
    assert one.minus(other, "other") == ()


@pytest.mark.parametrize("resamples", [0, -1])
def test_no_resample_is_an_error(resamples: int) -> None:
    with pytest.raises(ConfigError, match=f"{resamples} resamples"):
        score([measure([1.0])], ["a"], resamples=resamples)


def test_each_sample_has_a_study() -> None:
    with pytest.raises(ValueError, match="2 samples but 1 studies"):
        score([measure([1.0, 0.0])], ["a"])


@pytest.mark.slow
def test_a_thousand_resamples_of_five_thousand_samples_take_about_a_second() -> None:
    terms = np.random.default_rng(0).random((5000, 100))
    names = tuple((str(i), Signature(n=5000)) for i in range(100))
    start = time.perf_counter()
    score([Measure(names, terms, lambda sums: sums)], [str(i) for i in range(5000)])
    assert time.perf_counter() - start < 5
