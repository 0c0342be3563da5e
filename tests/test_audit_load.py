"""What a run folder may lack and what it may not, and what the head of the page says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.audit.facts import count_parameters, facts
from mrg_r1.audit.load import load_run
from mrg_r1.errors import DataError
from mrg_r1.records import write_json, write_jsonl

# --- what a run folder may lack, and what it may not


FILES = {
    "metrics.jsonl": "No step of training is recorded yet",
    "completions.jsonl": "No completions kept",
    "predictions-start.jsonl": "No report before SRL for this sample.",
    "predictions.jsonl": "No report after SRL yet.",
    "readings.jsonl": "Labels not read",
    "evaluation.json": "No CE scores yet",
}


@pytest.mark.parametrize("file", FILES)
def test_page_says_what_one_missing_file_would_show(file: str, tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=3)
    page = write_audit(run).read_text("utf-8")
    assert FILES[file] not in page
    assert "Not in this run yet" not in page
    (run / file).unlink()
    page = write_audit(run).read_text("utf-8")
    assert FILES[file] in page
    assert f"<code>{file}</code>" in page
    assert f"mrg-r1 train drawn-chests --out {run} --resume" in page


@pytest.mark.parametrize("file", FILES)
def test_any_one_file_is_enough_for_a_page(file: str, tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=3)
    for other in FILES.keys() - {file}:
        (run / other).unlink()
    page = write_audit(run).read_text("utf-8")
    assert page.count("<li><code>") == len(FILES) - 1


def test_run_before_srl_shows_its_start(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=4, steps=3)
    sft = [line for line in load_run(run).metrics if line.stage == "sft"]
    write_jsonl(run / "metrics.jsonl", sft)
    for file in ("completions.jsonl", "predictions.jsonl", "readings.jsonl", "evaluation.json"):
        (run / file).unlink()
    page = write_audit(run).read_text("utf-8")
    assert "No step of SRL is recorded yet." in page
    assert "This run has no CE scores yet." in page
    assert page.count('<article class="study"') == 4
    assert "4 samples, all there are. In the order of their ids." in page


def test_samples_of_one_file_only_are_counted_on_the_page(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=3, steps=3)
    write_jsonl(run / "predictions.jsonl", list(load_run(run).systems["srl"].values())[:1])
    assert "2 samples in predictions-start.jsonl only." in write_audit(run).read_text("utf-8")


READING = '{"id": "a", "system": "srl", "statuses": %s, "ccs": 1.0, "reward": 1.0}\n'
PREDICTION = (
    '{"id": "a", "study_id": "a", "completion": "", "think": "", "report": "", "reference": "%s"}\n'
)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"recipe.json": "[]"}, "recipe.json: not a JSON object"),
        ({"recipe.json": "{"}, "recipe.json: not JSON"),
        ({"metrics.jsonl": '{"stage": "srl", "st'}, "metrics.jsonl line 1: "),
        ({"predictions.jsonl": PREDICTION % "x" * 2}, "predictions.jsonl: id 'a' occurs twice"),
        ({"readings.jsonl": READING % ([0] * 14) * 2}, "readings.jsonl: id 'a' occurs twice"),
        ({"readings.jsonl": READING % ([0] * 13)}, "id 'a', srl: labels have 14 statuses, not 13"),
        ({"readings.jsonl": READING % ([9] * 14)}, "id 'a', srl: 9 is not a valid Status"),
        ({"readings.jsonl": READING % "5"}, "readings.jsonl: id 'a', srl: "),
        ({"evaluation.json": "{}"}, "evaluation.json: not an evaluation"),
        (
            {"evaluation.json": '{"systems": [{"name": "srl"}]}'},
            "score again with `mrg-r1 evaluate",
        ),
        (
            {"predictions-start.jsonl": PREDICTION % "x", "predictions.jsonl": PREDICTION % "y"},
            "id 'a' has one reference in predictions-start.jsonl and another in predictions.jsonl",
        ),
    ],
)
def test_damaged_file_is_named(files: dict[str, str], message: str, tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=1, steps=3)
    for file, text in files.items():
        (run / file).write_text(text, "utf-8")
    with pytest.raises(DataError) as raised:
        write_audit(run)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (run / "audit.html").exists()


def test_folder_that_is_no_run_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder; make one with `mrg-r1 train RECIPE"):
        write_audit(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no recipe\.json, so this is not a run folder"):
        write_audit(tmp_path)
    write_json(tmp_path / "recipe.json", {"name": "mine"})
    with pytest.raises(DataError, match=r"nothing to show yet.*`mrg-r1 train mine .* --resume`"):
        write_audit(tmp_path)


# --- the head of the page


def test_facts_are_those_of_the_files(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path)
    assert facts(load_run(run)) == (
        ("Recipe", "drawn-chests"),
        ("Seed", "7"),
        ("Data", "phantom"),
        ("Reference", "findings"),
        ("Policy", "tiny (image 2 \u00d7 64, text 2 \u00d7 64)"),
        ("Reward", "0.75 clinical + 0.25 format, margin 0.3"),
        ("Labeler", "drawn@0"),
        ("Samples scored", "24"),
    )


def test_parameters_are_counted_from_the_headers_of_weights(tmp_path: Path) -> None:
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "a": {"shape": [3, 4]}, "b": {"shape": []}}
    )
    weights = len(header).to_bytes(8, "little") + header.encode()
    (tmp_path / "model-1.safetensors").write_bytes(weights)
    (tmp_path / "model-2.safetensors").write_bytes(weights)
    assert count_parameters(tmp_path) == 26
    (tmp_path / "model-2.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(DataError, match=r"model-2\.safetensors: not a safetensors file"):
        count_parameters(tmp_path)
