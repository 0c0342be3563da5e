from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mrg_r1.data.study import Sample
from mrg_r1.document import Document
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.exports.files import Exports
from mrg_r1.generate import Outcome, generate
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import Prediction, read_jsonl
from tiny_runs import INSTRUCTION, generate_killed, in_process, tiny_policy, tiny_samples

SHORT = Decoding(max_new_tokens=8, batch_size=3)
SAMPLED = replace(SHORT, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return tiny_samples(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, drawn: list[Sample]) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "policy"
    replace(tiny_policy(drawn), instruction=INSTRUCTION).save(folder)
    return folder


def ids(samples: list[Sample]) -> tuple[str, ...]:
    return tuple(sample.id for sample in samples)


def stop_at(id_: str) -> Callable[[Document], None]:
    def stop(document: Document) -> None:
        if document.id == id_:
            raise KeyboardInterrupt

    return stop


def test_each_sample_gets_one_document_in_order(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out, told = tmp_path / "new" / "predictions.jsonl", []
    done = generate(saved, drawn, out, SHORT, on_document=told.append)
    assert done == Outcome(ids(drawn))
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    written = read_jsonl(out, Document)
    assert written == told
    assert [d.id for d in written] == list(done.written)
    assert [d.images for d in written] == [(str(sample.images[0]),) for sample in drawn]
    assert {d.model.partition("@")[0] for d in written} == {saved.parent.name}
    assert {d.decoding for d in written} == {"greedy, at most 8 tokens"}
    assert [p.reference for p in read_jsonl(out, Prediction)] == [s.reference for s in drawn]


def test_the_same_policy_writes_the_same_file_whatever_the_batches(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    for drafts, decoding in ((1, SHORT), (1, SAMPLED), (4, SAMPLED)):
        for name, size in (("one", 3), ("other", 3), ("wide", 8)):
            sized = replace(decoding, batch_size=size)
            generate(saved, drawn, tmp_path / name, sized, drafts=drafts)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
        assert (tmp_path / "one").read_bytes() == (tmp_path / "wide").read_bytes()


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out, part = tmp_path / "predictions.jsonl", tmp_path / "predictions.jsonl.part"
    out.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        generate(saved, drawn, out, SAMPLED, on_document=stop_at(drawn[1].id))
    assert out.read_text() == "before"
    assert [d.id for d in read_jsonl(part, Document)] == [drawn[0].id, drawn[1].id]
    with open(part, "a") as file:
        file.write('{"id": "half a li')
    with pytest.raises(ConfigError, match=r"part: an unfinished run; add --resume"):
        generate(saved, drawn, out, SAMPLED)
    with pytest.raises(ConfigError, match=r"begun by .*sampled.*, which is not .*greedy"):
        generate(saved, drawn, out, SHORT, resume=True)
    done = generate(saved, drawn, out, SAMPLED, resume=True)
    assert done == Outcome(ids(drawn[2:]), kept=ids(drawn[:2]))
    whole = tmp_path / "whole.jsonl"
    generate(saved, drawn, whole, SAMPLED)
    assert out.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_other_words_are_told_and_not_mixed_with_the_policys_own(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    given = [replace(sample, context={"indication": "Cough."}) for sample in drawn[:1]]
    generate(saved, given, out, SHORT, instruction="Say it.")
    (document,) = read_jsonl(out, Document)
    assert (document.instruction, document.context) == ("Say it.", {"indication": "Cough."})
    assert read_jsonl(out, Prediction)[0].context == {"indication": "Cough."}
    with pytest.raises(ConfigError, match="begun by"):
        generate(saved, drawn, out, SHORT, resume=True)
    with pytest.raises(ConfigError, match="was written with another indication or previous"):
        generate(saved, drawn, out, SHORT, instruction="Say it.", resume=True)
    more = [*given, *drawn[1:]]
    assert generate(saved, more, out, SHORT, instruction="Say it.", resume=True).kept == ids(given)


@pytest.mark.slow
def test_a_killed_run_goes_on(saved: Path, drawn: list[Sample], tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    assert in_process(generate_killed, saved, drawn, out, SAMPLED, drawn[2].id) < 0
    assert not out.exists()
    done = generate(saved, drawn, out, SAMPLED, resume=True)
    assert done.kept == ids(drawn[:2])
    assert [d.id for d in read_jsonl(out, Document)] == list(ids(drawn))


def test_a_finished_run_takes_more_samples(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    generate(saved, drawn[:2], out, SHORT)
    before = out.read_bytes()
    assert generate(saved, drawn[:2], out, SHORT, resume=True) == Outcome((), ids(drawn[:2]))
    assert out.read_bytes() == before
    more = generate(saved, drawn, out, SHORT, resume=True)
    assert (more.written, more.kept) == (ids(drawn[2:]), ids(drawn[:2]))
    assert out.read_bytes().startswith(before)
    assert len(read_jsonl(out, Document)) == len(drawn)


def spoilt(sample: Sample, folder: Path, change: Callable[[bytes], bytes]) -> Sample:
    """A sample whose image was damaged."""
    path = folder / f"bad-{len(list(folder.iterdir()))}.png"
    path.write_bytes(change(sample.images[0].read_bytes()))
    return replace(sample, id=path.stem, images=(path,))


def test_bad_images_are_told_and_the_rest_goes_on(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    bad = [
        replace(drawn[0], id="nowhere", images=(tmp_path / "nowhere.png",)),
        spoilt(drawn[0], tmp_path / "bad", lambda data: b""),
        spoilt(drawn[0], tmp_path / "bad", lambda data: data[: len(data) // 2]),
        # Its header and its end are whole: this shows only when it is decoded.
        spoilt(drawn[0], tmp_path / "bad", lambda data: data[:120] + bytes(40) + data[160:]),
        spoilt(drawn[0], tmp_path / "bad", lambda data: b"not an image"),
    ]
    mixed = [bad[0], drawn[0], *bad[1:3], drawn[1], *bad[3:], drawn[2]]
    told: list[str] = []
    out = tmp_path / "predictions.jsonl"
    done = generate(saved, mixed, out, SHORT, on_bad=told.append)
    assert done.written == ids(drawn[:3])
    assert list(done.bad) == told
    assert len(told) == len(bad)
    assert all(any(str(s.images[0]) in reason for reason in told) for s in bad)
    clean = tmp_path / "clean.jsonl"
    generate(saved, drawn[:3], clean, SHORT)
    assert out.read_bytes() == clean.read_bytes()


def test_drafts_leave_their_consensus_with_its_agreement(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    generate(saved, drawn, out, SAMPLED, drafts=3)
    for document in read_jsonl(out, Document):
        assert document.drafts == 3
        assert document.decoding.startswith("consensus of 3, temperature 1")
        assert all(
            sum(shares.values()) == pytest.approx(1) for shares in document.agreement.values()
        )
    with pytest.raises(ConfigError, match=r"greedy drafts are all alike; add --temperature 1"):
        generate(saved, drawn, tmp_path / "greedy", SHORT, drafts=3)


def test_exports_are_there_when_the_line_is(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    out, exports = tmp_path / "out.jsonl", Exports(tmp_path / "exports", ("text", "fhir"))
    with pytest.raises(KeyboardInterrupt):
        generate(saved, drawn, out, SHORT, exports=exports, on_document=stop_at(drawn[1].id))
    assert len(list(exports.folder.iterdir())) == 4
    (exports.folder / f"{drawn[0].id}.txt").unlink()
    generate(saved, drawn, out, SHORT, exports=exports, resume=True)
    assert sorted(path.name for path in exports.folder.iterdir()) == sorted(
        f"{sample.id}{suffix}" for sample in drawn for suffix in (".txt", ".fhir.json")
    )
    resource = json.loads((exports.folder / f"{drawn[0].id}.fhir.json").read_text())
    assert resource["resourceType"] == "DiagnosticReport"


def test_documents_can_be_had_without_a_file(
    saved: Path, drawn: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[Document] = []
    generate(saved, drawn, None, SHORT, on_document=told.append)
    assert [d.id for d in told] == list(ids(drawn))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_reported_is_refused_before_the_policy_is_loaded(
    drawn: list[Sample], tmp_path: Path
) -> None:
    nowhere, out = tmp_path / "nowhere", tmp_path / "out"
    missing = Sample("x", "x", (tmp_path / "x.png",), "")
    with pytest.raises(DataError, match="no images; name some"):
        generate(nowhere, [], out, SHORT)
    with pytest.raises(DataError, match=r"x.png: no such image$"):
        generate(nowhere, [missing], out, SHORT)
    with pytest.raises(DataError, match=r"x.png: no such image \(none of 2 can be read\)$"):
        generate(nowhere, [missing, replace(missing, id="y")], out, SHORT)
    with pytest.raises(DataError, match=f"{nowhere}: no policy here"):
        generate(nowhere, drawn, out, SHORT)
    assert not list(tmp_path.iterdir())


def test_all_images_that_turn_out_bad_leave_no_file(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    bad = spoilt(drawn[0], tmp_path / "bad", lambda data: data[:120] + bytes(40) + data[160:])
    out = tmp_path / "out.jsonl"
    done = generate(saved, [bad], out, SHORT)
    assert (done.written, len(done.bad)) == ((), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_a_policy_is_named_by_its_run_and_its_weights(
    saved: Path, drawn: list[Sample], tmp_path: Path
) -> None:
    from mrg_r1.policy.identity import identity

    name, fingerprint = identity(saved).split("@")
    assert (name, len(fingerprint)) == (saved.parent.name, 12)
    assert identity(saved.parent) == identity(saved)
    policy = tiny_policy(drawn)
    next(policy.model.parameters()).data += 1
    replace(policy, instruction=INSTRUCTION).save(tmp_path / "other")
    assert identity(tmp_path / "other").split("@")[1] != fingerprint
