"""Metrics by RadEval: what is asked of it, what is made of its answer, and what it lacks."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from commands import Run
from literal_labeler import LiteralLabeler
from mrg_r1.errors import ConfigError, DataError, MissingExtra
from mrg_r1.evaluate import evaluate
from mrg_r1.metrics.radeval import METRICS, RadEvalMetrics
from mrg_r1.records import Prediction, SystemScores

REVISION = "0123456789abcdef0123456789abcdef01234567"

# A package with RadEval 2.2.1's calls and manners: it prints, its RadGraph imports another name,
# and RaTEScore leaves out texts without a sentence. A score is the share of words in common.
RADEVAL = """
import os

import nltk

if os.environ.get("HF_HUB_OFFLINE") == "1":
    nltk.download("punkt_tab")
print("Using device: cpu")


def _share(hyp, ref):
    ours, theirs = set(hyp.split()), set(ref.split())
    return len(ours & theirs) / max(len(ours | theirs), 1)


class RadEval:
    def __init__(self, metrics=None, openai_api_key=None, gemini_api_key=None, per_sample=False,
                 detailed=False, show_progress=True, cache_dir=None):
        (self.metric,) = metrics
        assert per_sample and not show_progress
        if self.metric == "radgraph":
            from RadEval.metrics import LEVELS
            self.levels = LEVELS

    def __call__(self, refs, hyps):
        assert isinstance(refs, list) and isinstance(hyps, list)
        if "boom" in hyps:
            raise RuntimeError("no more memory")
        scores = [_share(hyp, ref) for hyp, ref in zip(hyps, refs)]
        if self.metric == "radgraph":
            return {f"radgraph_{level}": scores for level in self.levels}
        if self.metric == "ratescore":
            scores = [s for s, hyp in zip(scores, hyps) if len(hyp) > 2]
            scores[0]
        if self.metric == "green":
            scores = [None if hyp == "none" else score for score, hyp in zip(scores, hyps)]
        if os.environ.get("HF_HUB_OFFLINE") != "1":
            scores = [2.0] * len(scores)
        return {self.metric: scores}
"""
NLTK = """
def download(name):
    raise OSError("no network")
"""
APPDIRS = """
import os


def user_cache_dir(name):
    return os.path.join(os.environ["XDG_CACHE_HOME"], name)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, beside an environment in which that package is installed."""
    site = tmp_path / "site"
    (site / "radeval" / "metrics").mkdir(parents=True)
    (site / "radeval" / "__init__.py").write_text(RADEVAL)
    levels = 'LEVELS = ("simple", "partial", "complete")\n'
    (site / "radeval" / "metrics" / "__init__.py").write_text(levels)
    (site / "appdirs.py").write_text(APPDIRS)
    (site / "nltk.py").write_text(NLTK)
    (site / "radeval-2.2.1.dist-info").mkdir()
    (site / "radeval-2.2.1.dist-info" / "METADATA").write_text("Name: radeval\nVersion: 2.2.1\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    models = tmp_path / "models"
    for name in ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C", "encoder"):
        in_hub(models, name)
    for name in ("StanfordAIMI/GREEN-radllama2-7b", "distilbert-base-uncased"):
        in_hub(models, name)
    graph = models / "radgraph" / "0.1.18" / "radgraph-xl"
    graph.mkdir(parents=True)
    (graph / "weights.th").write_bytes(b"weights")
    encoder = {"token_embedders": {"bert": {"model_name": "encoder"}}}
    (graph / "config.json").write_text(json.dumps({"model": {"embedder": encoder}}))
    return models


def in_hub(cache: Path, name: str) -> Path:
    """The folder of a model's files, where the hub would keep them."""
    home = cache / "huggingface" / "hub" / f"models--{name.replace('/', '--')}"
    files = home / "snapshots" / REVISION
    files.mkdir(parents=True)
    (files / "config.json").write_text("{}")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(REVISION)
    return files


def metrics(cache: Path, *names: str, download: bool = False) -> RadEvalMetrics:
    return RadEvalMetrics(names or tuple(METRICS), cache=cache, download=download)


def test_metrics_are_asked_for_by_name() -> None:
    assert RadEvalMetrics.of(" green,radgraph, green").names == ("green", "radgraph")
    with pytest.raises(ConfigError, match="no metric 'bart'; use some of radgraph,ratescore,green"):
        RadEvalMetrics.of("green,bart")
    with pytest.raises(ConfigError, match="no metric named"):
        RadEvalMetrics.of(" , ")


def test_every_metric_scores_every_pair(installed: Path) -> None:
    pairs = [
        ("the heart is big", "the heart is big"),
        ("no edema", "the heart is big"),
        ("", "a b"),
    ]
    scores = metrics(installed).read([*pairs, pairs[0]])
    assert list(scores.values) == [name for names in METRICS.values() for name in names]
    for name, found in scores.values.items():
        expected = [1.0, 0.0, 0.5 if name == "ratescore" else 0.0]
        assert [found[pair] for pair in pairs] == expected, name


def test_a_text_that_ratescore_leaves_out_does_not_move_the_others(installed: Path) -> None:
    pairs = [("a b c", "a b c"), ("x", "a b c"), ("a. b", "a b c"), ("a b c d", "a b")]
    found = metrics(installed, "ratescore").read(pairs).values["ratescore"]
    assert [found[pair] for pair in pairs] == [1.0, 0.5, 0.5, 0.5]


def test_signatures_name_version_and_models(installed: Path) -> None:
    scores = metrics(installed).read([("a", "a")])
    assert scores.by == {
        **dict.fromkeys(METRICS["radgraph"], "radeval@2.2.1+radgraph-xl@9a12903"),
        "ratescore": "radeval@2.2.1+Angelakeke/RaTE-NER-Deberta@0123456"
        "+FremyCompany/BioLORD-2023-C@0123456",
        "green": "radeval@2.2.1+StanfordAIMI/GREEN-radllama2-7b@0123456",
        "bertscore": "radeval@2.2.1+distilbert-base-uncased@0123456",
    }
    (measure,) = metrics(installed, "green").read([("a", "a")]).measures(["a"] * 2, ["a"] * 2)
    ((name, signature),) = measure.names
    assert (name, str(signature).rpartition("|")[0]) == (
        "green",
        "by:radeval@2.2.1+StanfordAIMI/GREEN-radllama2-7b@0123456|text:raw|n:2",
    )


@pytest.mark.parametrize("before", ["0", "1"])
def test_it_has_no_network_unless_allowed(
    installed: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", before)

    def score(download: bool) -> float:
        scores = metrics(installed, "bertscore", download=download).read([("a", "a")])
        return scores.values["bertscore"]["a", "a"]

    assert (score(False), score(True)) == (1.0, 2.0)


HOSTILE = ["\ud800 edema", "a\nb ||| c", " ", "<report>", "\x00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_have_scores(installed: Path, text: str) -> None:
    scores = metrics(installed, "bertscore", "ratescore").read([(text, "edema"), ("edema", text)])
    assert all(math.isfinite(value) for found in scores.values.values() for value in found.values())


def test_a_score_that_is_no_number_is_an_error(installed: Path) -> None:
    with pytest.raises(DataError, match="green: RadEval gave no number for the report 'none'"):
        metrics(installed, "green").read([("a", "a"), ("none", "a")])


def test_when_it_stops_its_last_word_is_told(installed: Path) -> None:
    with pytest.raises(MissingExtra, match=r"green: RadEval stopped \(RuntimeError: no more mem"):
        metrics(installed, "green").read([("boom", "a")])


def test_without_the_package_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrg_r1.metrics.radeval.find_spec", lambda _: None)
    absent = RadEvalMetrics(("radgraph", "green")).absent()
    assert absent == {
        name: f"RadEval is not installed; type: pip install 'mrg-r1[{name}]'"
        for name in ("radgraph", "green")
    }
    with pytest.raises(MissingExtra, match=r"radgraph: RadEval is not installed; type: pip"):
        RadEvalMetrics(("radgraph",)).read([("a", "a")])


def test_without_models_it_says_which_and_where(installed: Path, tmp_path: Path) -> None:
    assert metrics(installed).absent() == {}
    absent = metrics(tmp_path / "empty").absent()
    assert list(absent) == list(METRICS)
    hub = tmp_path / "empty" / "huggingface" / "hub"
    assert absent["bertscore"] == (
        f"no distilbert-base-uncased in {hub}; type: hf download distilbert-base-uncased, "
        "name another --model-cache, or add --download-models"
    )
    assert absent["radgraph"].startswith(f"no {tmp_path / 'empty' / 'radgraph'}")
    assert all("\n" not in reason for reason in absent.values())
    assert metrics(tmp_path / "empty", download=True).absent() == {}


def predictions(*reports: str) -> list[Prediction]:
    return [
        Prediction(str(i), str(i), "", "", report, "Edema+ the heart")
        for i, report in enumerate(reports)
    ]


def by_metric(system: SystemScores) -> dict[str, float]:
    return {score.metric: score.value for score in system.scores}


def test_an_evaluation_has_means_intervals_and_tests(installed: Path) -> None:
    found = evaluate(
        {"good": predictions("Edema+ the heart", "x"), "poor": predictions("x", "x")},
        LiteralLabeler(),
        judges=metrics(installed, "radgraph", "bertscore"),
        resamples=50,
    )
    good, poor, normal, *constant = found.systems
    assert by_metric(good)["bertscore"] == by_metric(good)["radgraph-partial"] == 0.5
    (score,) = [s for s in good.scores if s.metric == "bertscore"]
    assert (score.low, score.high) == (0.0, 1.0)
    (difference,) = [d for d in poor.differences if d.metric == "bertscore"]
    assert (difference.value, difference.baseline) == (-0.5, "good")
    assert "bertscore" in by_metric(normal)
    assert all("bertscore" not in by_metric(row) for row in constant)  # labels without a text


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "ours.jsonl"
    rows = [{"id": str(i), "report": "No edema.", "reference": "Big heart."} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_prints_and_writes_them(run: Run, ours: Path, installed: Path) -> None:
    args = ("evaluate", ours, "--resamples", 5, "--model-cache", installed, "--metrics")
    code, out, err = run(*args, "radgraph,bertscore")
    assert (code, "RG partial" in out, "bertscore" in out) == (0, True, True), err
    code, out, _ = run(*args, "ratescore", "--json")
    scores = json.loads(out)["systems"][0]["scores"]
    assert [s["value"] for s in scores if s["metric"] == "ratescore"] == [0.0]


def test_the_command_goes_on_without_what_is_missing(run: Run, ours: Path, installed: Path) -> None:
    (installed / "radgraph" / "0.1.18" / "radgraph-xl" / "weights.th").unlink()
    args = ("evaluate", ours, "--resamples", 5, "--model-cache", installed)
    code, out, err = run(*args, "--metrics", "radgraph,bertscore")
    assert (code, "bertscore" in out, "RG partial" in out) == (0, True, False)
    assert "no radgraph: no " in err
    code, out, err = run(*args[:4], "--metrics", "green", "--model-cache", ours.parent / "none")
    assert (code, "green" in out, "no green: no StanfordAIMI/GREEN" in err) == (0, False, True)


def test_mistakes_of_the_command_line(run: Run, ours: Path) -> None:
    code, _, err = run("evaluate", ours, "--metrics", "bart")
    assert (code, err.count("\n"), "no metric 'bart'" in err) == (2, 1, True)
    code, _, err = run("evaluate", ours, "--download-models")
    assert (code, err.count("\n"), "are for --metrics" in err) == (2, 1, True)
