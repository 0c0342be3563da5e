from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.rules import RulesLabeler


class Counting:
    """Labels a text by its length, and records the batches it was given."""

    identity = "counting@1"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def label(self, reports: Sequence[str]) -> list[Labels]:
        self.batches.append(list(reports))
        return [Labels.of({Finding.EDEMA: Status(len(report) % 4)}) for report in reports]


def test_each_distinct_text_is_labelled_once_and_in_one_batch() -> None:
    inner = Counting()
    cached = CachedLabeler(inner)
    first = cached.label(["a", "bb", "a"])
    assert cached.label(["bb", "ccc"]) == [first[1], Counting().label(["ccc"])[0]]
    assert inner.batches == [["a", "bb"], ["ccc"]]


def test_nothing_new_asks_nothing() -> None:
    inner = Counting()
    cached = CachedLabeler(inner)
    cached.label(["a"])
    assert cached.label([]) == []
    cached.label(["a"])
    assert inner.batches == [["a"]]


def test_forgets_the_least_recently_used() -> None:
    inner = Counting()
    cached = CachedLabeler(inner, size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        cached.label([text])
    assert inner.batches == [["a"], ["b"], ["c"], ["b"]]


def test_what_is_kept_is_never_forgotten_and_takes_no_room() -> None:
    inner = Counting()
    cached = CachedLabeler(inner, size=1)
    kept = Labels.of({Finding.FRACTURE: Status.POSITIVE})
    cached.keep({"a": kept})
    cached.keep({"bb": kept})
    for text in ("c", "a", "dd", "bb", "dd"):
        cached.label([text])
    assert cached.label(["a", "eee", "bb", "a"])[::2] == [kept, kept]
    assert inner.batches == [["c"], ["dd"], ["eee"]]


def test_a_batch_larger_than_the_cache_is_still_right() -> None:
    texts = ["a" * n for n in range(10)]
    cached = CachedLabeler(Counting(), size=2)
    assert cached.label(texts) == Counting().label(texts)
    assert cached.label(texts) == Counting().label(texts)


def test_no_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CachedLabeler(Counting(), size=0)


def test_identity_is_the_inner_labelers() -> None:
    assert CachedLabeler(Counting()).identity == "counting@1"


def test_pickles_with_its_labeler() -> None:
    cached = CachedLabeler(RulesLabeler())
    expected = cached.label(["No effusion."])
    assert pickle.loads(pickle.dumps(cached)).label(["No effusion."]) == expected


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=8), st.integers(1, 4))
def test_equals_its_inner_labeler(batches: list[list[str]], size: int) -> None:
    cached = CachedLabeler(Counting(), size=size)
    for batch in batches:
        assert cached.label(batch) == Counting().label(batch)
