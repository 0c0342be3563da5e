from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrg_r1.errors import DataError
from mrg_r1.findings import DISEASES, FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.make import make_labeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.labelers.store import LabelStore

HEDGED = Labels.of({Finding.EDEMA: Status.UNCERTAIN, Finding.NO_FINDING: Status.POSITIVE})


class Counting:
    identity = "counting@1"

    def __init__(self) -> None:
        self.read: list[str] = []

    def label(self, reports: Sequence[str]) -> list[Labels]:
        self.read += reports
        return [Labels.of({Finding.EDEMA: Status(len(report) % 4)}) for report in reports]


def test_what_was_put_is_got_by_the_same_labeler_only(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    LabelStore(path, "a@1").put({"x": HEDGED})
    assert LabelStore(path, "a@1").get(["x", "y"]) == {"x": HEDGED}
    assert LabelStore(path, "a@2").get(["x"]) == {}


@settings(max_examples=20)
@given(
    st.builds(
        lambda statuses, normal: Labels.of(
            dict(zip(DISEASES, statuses, strict=True))
            | {Finding.NO_FINDING: Status.POSITIVE if normal else Status.BLANK}
        ),
        st.lists(st.sampled_from(Status), min_size=13, max_size=13),
        st.booleans(),
    ),
    st.text(st.characters(), max_size=20),
)
def test_every_status_and_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, labels: Labels, text: str
) -> None:
    store = LabelStore(tmp_path_factory.mktemp("store") / "labels.db", "a@1")
    store.put({text: labels})
    assert store.get([text]) == {text: labels}
    assert len(labels.statuses) == len(FINDINGS)


def test_half_a_surrogate_pair_is_a_text_like_any_other(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db", "a@1")
    store.put({"\ud800": HEDGED})
    assert store.get(["\ud800", "?"]) == {"\ud800": HEDGED}


def test_no_text_is_in_the_file(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db", "a@1")
    store.put({"Mrs Doe has edema.": HEDGED})
    assert [path.name for path in tmp_path.iterdir()] == ["labels.db"]
    content = store.path.read_bytes()
    assert b"Doe" not in content
    assert b"a@1" in content


def test_a_text_takes_about_forty_bytes(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db", "a@1")
    store.put({f"report {n}": HEDGED for n in range(20_000)})
    assert store.path.stat().st_size < 40 * 20_000


def test_a_run_labels_what_no_run_before_has_labelled(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    inners = [Counting(), Counting()]
    for inner, texts in zip(inners, (["a", "bb"], ["bb", "ccc", "bb"]), strict=True):
        cached = CachedLabeler(inner, store=LabelStore(path, inner.identity))
        assert cached.label(texts) == Counting().label(texts)
    assert [inner.read for inner in inners] == [["a", "bb"], ["ccc"]]


def test_a_store_survives_pickling_and_forking(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db", "a@1")
    cached = pickle.loads(pickle.dumps(CachedLabeler(Counting(), store=store)))
    cached.label(["a"])
    child = os.fork()
    if not child:
        os._exit(0 if store.get(["a"]) and not store.put({"b": HEDGED}) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(["a", "b"]).keys() == {"a", "b"}


def write(path: Path, number: int) -> None:
    """Writes one text that all write, and twenty of its own, one by one."""
    store = LabelStore(path, f"a@{number % 2}")
    for n in range(20):
        store.put({f"{number} {n}": HEDGED, f"shared {n}": HEDGED})
        assert len(store.get([f"{number} {n}", f"shared {n}"])) == 2


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write, args=(path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * 3
    for number in range(3):
        texts = [f"{number} {n}" for n in range(20)] + [f"shared {n}" for n in range(20)]
        assert len(LabelStore(path, f"a@{number % 2}").get(texts)) == 40


def wrong_file(path: Path) -> None:
    path.write_bytes(b"report,Edema\n" * 100)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE labelers (id INTEGER, name TEXT)")
    database.close()


@pytest.mark.parametrize("spoil", [wrong_file, other_database, Path.mkdir])
def test_a_file_that_is_no_store_is_named(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "labels.db"
    spoil(path)
    with pytest.raises(DataError, match=r"labels.db: no label cache \(.*\); delete it, or name"):
        LabelStore(path, "a@1")


def test_labels_that_cannot_be_are_named(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db", "a@1")
    store.put({"x": HEDGED})
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE labels SET statuses = 3 << 26")
    database.close()
    with pytest.raises(DataError, match=r"no label cache \(No Finding is blank or positive"):
        store.get(["x"])


def test_a_cache_is_made_where_it_is_asked_for(tmp_path: Path) -> None:
    assert isinstance(make_labeler(), RulesLabeler)
    for _ in range(2):
        cached = make_labeler(cache=tmp_path / "labels.db")
        assert cached.identity == RulesLabeler().identity
        assert cached.label(["No edema."]) == RulesLabeler().label(["No edema."])
    with pytest.raises(DataError, match="unable to open"):
        make_labeler(cache=tmp_path / "no" / "labels.db")
