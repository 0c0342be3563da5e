"""The audit's verdict claims what the scores say and nothing beyond."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from mrg_r1.audit.load import Read, Run
from mrg_r1.audit.verdict import judge
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.records import Evaluation, Score, SystemScores

SIGNATURE = "labeler:drawn@0|uncertain:positive|labels:13|avg:micro|n:9"


def _score(value: float, half: float = 0.03, signature: str = SIGNATURE) -> Score:
    return Score("ce_f1", value, value - half, value + half, signature)


def _run(
    scores: Mapping[str, Score], readings: Mapping[tuple[str, str], Read] | None = None
) -> Run:
    systems = tuple(SystemScores(name, 9, (score,)) for name, score in scores.items())
    evaluation = Evaluation(systems)
    return Run(Path("run"), {}, {}, (), (), {}, readings or {}, evaluation, ())


@pytest.mark.parametrize(
    ("before", "after", "tone", "headline"),
    [
        (
            _score(0.48),
            _score(0.63),
            "rose",
            "Micro-F1 over 13 findings rose from .48 [.45, .51] to .63 [.60, .66].",
        ),
        (
            _score(0.63),
            _score(0.48),
            "fell",
            "Micro-F1 over 13 findings fell from .63 [.60, .66] to .48 [.45, .51].",
        ),
        (
            _score(0.48),
            _score(0.50),
            "unclear",
            "Micro-F1 over 13 findings went from .48 [.45, .51] to .50 [.47, .53].",
        ),
    ],
)
def test_headline_is_the_change(before: Score, after: Score, tone: str, headline: str) -> None:
    verdict = judge(_run({"start": before, "srl": after}))
    assert (verdict.tone, verdict.headline) == (tone, headline)
    assert verdict.signature == SIGNATURE
    overlap = "overlap: this run alone does not show a change" in verdict.sentences[0]
    assert overlap == (tone == "unclear")


def test_intervals_that_touch_overlap() -> None:
    before, after = (
        Score("ce_f1", 0.4, 0.3, 0.5, SIGNATURE),
        Score("ce_f1", 0.6, 0.5, 0.7, SIGNATURE),
    )
    assert judge(_run({"start": before, "srl": after})).tone == "unclear"


@pytest.mark.parametrize(
    ("constant", "relation"),
    [
        (0.37, "below the trained policy"),
        (0.60, "with an interval that overlaps the trained policy's"),
        (0.63, "no less than the trained policy"),
        (0.70, "no less than the trained policy"),
    ],
)
def test_best_constant_report_stands_beside(constant: float, relation: str) -> None:
    scores = {"start": _score(0.48), "srl": _score(0.63), "constant-low": _score(0.01)}
    verdict = judge(_run({**scores, "constant-normal": _score(constant)}))
    assert verdict.sentences[1].startswith("The best constant report (constant-normal) scores")
    assert verdict.sentences[1].endswith(f", {relation}.")


def test_constant_of_another_signature_is_no_comparison() -> None:
    scores = {"start": _score(0.48), "srl": _score(0.63)}
    other = _score(0.9, signature=SIGNATURE.replace("n:9", "n:8"))
    verdict = judge(_run({**scores, "constant-normal": other}))
    assert verdict.sentences[1].startswith("No constant report was scored under this signature")


def test_scores_of_other_signatures_are_not_compared() -> None:
    other = _score(0.63, signature=SIGNATURE.replace("drawn@0", "drawn@1"))
    verdict = judge(_run({"start": _score(0.48), "srl": other}))
    assert verdict.tone == "none"
    assert "different signatures, so they are not compared" in verdict.headline
    assert SIGNATURE in verdict.sentences[0]


def test_signature_of_few_keys_names_only_those() -> None:
    scores = {
        "start": _score(0.5, signature="avg:micro"),
        "srl": _score(0.6, signature="avg:micro"),
    }
    assert judge(_run(scores)).headline.startswith("Micro-F1 rose from .50")
    scores = {"start": _score(0.5, signature=""), "srl": _score(0.6, signature="")}
    assert judge(_run(scores)).headline.startswith("F1 rose from .50")


def test_signature_decides_between_two_scores_of_one_system() -> None:
    other = _score(0.1, signature=SIGNATURE + "|v:2")
    run = _run({"start": _score(0.48), "srl": _score(0.63)})
    start, srl = run.evaluation.systems
    doubled = dataclasses.replace(srl, scores=(other, *srl.scores))
    run = dataclasses.replace(run, evaluation=Evaluation((start, doubled)))
    assert judge(run).tone == "rose"


def test_half_a_run_has_half_a_verdict() -> None:
    verdict = judge(_run({"start": _score(0.48)}))
    assert verdict.headline == (
        "Micro-F1 over 13 findings before SRL is .48 [.45, .51]; there is no score after it yet."
    )
    assert judge(_run({"srl": _score(0.48)})).headline.endswith("there is no score before it yet.")
    assert judge(_run({"mine": _score(0.48)})).headline == "Neither before nor after is scored yet."
    assert judge(_run({})).headline == "This run has no CE scores yet."


def test_denials_are_counted_and_the_largest_change_named() -> None:
    yes = Labels.of({Finding.PNEUMOTHORAX: Status.POSITIVE, Finding.EDEMA: Status.POSITIVE})
    no = Labels.of({Finding.PNEUMOTHORAX: Status.NEGATIVE, Finding.EDEMA: Status.POSITIVE})
    reads = {"reference": yes, "start": no, "srl": yes}
    readings = {(i, s): Read(labels, 0.5, 0.0) for i in "abc" for s, labels in reads.items()}
    assert judge(_run({}, readings)).sentences == (
        "Of 6 findings that the references affirm, the reports deny 3 before and 0 after.",
        "The largest change is in Pneumothorax: denied 3 times before, 0 after.",
    )
    worse = {(i, {"start": "srl", "srl": "start"}.get(s, s)): r for (i, s), r in readings.items()}
    assert "deny 0 before and 3 after" in judge(_run({}, worse)).sentences[0]
    same = {key: Read(yes, 0.5, 0.0) for key in readings}
    assert len(judge(_run({}, same)).sentences) == 1
