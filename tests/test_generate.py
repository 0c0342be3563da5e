from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError
from mrg_r1.generate import generate, image_samples
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import Prediction, read_jsonl
from tiny_runs import INSTRUCTION, tiny_policy, tiny_samples

SHORT = Decoding(max_new_tokens=8, batch_size=3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return tiny_samples(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, drawn: list[Sample]) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "policy"
    replace(tiny_policy(drawn), instruction=INSTRUCTION).save(folder)
    return folder


def test_each_sample_gets_one_prediction_in_order(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out, told = tmp_path / "new" / "predictions.jsonl", []
    assert generate(saved, drawn, out, SHORT, on_prediction=told.append) == len(drawn)
    written = read_jsonl(out, Prediction)
    assert written == told
    assert [p.id for p in written] == [sample.id for sample in drawn]
    assert [p.images for p in written] == [(str(sample.images[0]),) for sample in drawn]


def test_the_same_policy_writes_the_same_file(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    for decoding in (SHORT, replace(SHORT, temperature=1.0, seed=3)):
        for name in ("one", "other"):
            generate(saved, drawn, tmp_path / name, decoding)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_failure_leaves_the_file_that_was_there(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    out.write_text("before")

    def stop(prediction: Prediction) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(saved, drawn, out, SHORT, on_prediction=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    assert out.read_text() == "before"


def test_what_cannot_be_reported_is_refused_before_the_policy_is_loaded(
    drawn: list[Sample], tmp_path: Path
) -> None:
    nowhere, out = tmp_path / "nowhere", tmp_path / "out"
    with pytest.raises(DataError, match="no images; name some"):
        generate(nowhere, [], out, SHORT)
    with pytest.raises(DataError, match=r"x.png: no such image"):
        generate(nowhere, image_samples([tmp_path / "x.png"]), out, SHORT)
    with pytest.raises(DataError, match=f"{nowhere}: no policy here"):
        generate(nowhere, drawn, out, SHORT)
    assert not out.exists()


def test_images_are_named_by_their_stems_where_these_differ() -> None:
    paths = [Path("a/chest.png"), Path("b/chest.png"), Path("c/other.dcm")]
    named = image_samples(paths)
    assert [sample.id for sample in named] == ["a/chest.png", "b/chest.png", "other"]
    assert [sample.images for sample in named] == [(path,) for path in paths]
    assert {sample.reference for sample in named} == {""}
