"""A written report with what it claims."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mrg_r1.completion import render
from mrg_r1.data.predictions import read_predictions
from mrg_r1.data.study import Sample
from mrg_r1.document import NOTICE, Claim, Document, compose
from mrg_r1.findings import Finding, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.records import read_jsonl, to_line

SAMPLE = Sample("a", "study", (Path("x/a.png"),), "Edema.")
EDEMA = render("Hazy.", "Pulmonary edema. No pneumothorax.")
CLEAR = render("Dark.", "No edema. No pneumothorax.")


def composed(*drafts: str) -> Document:
    return compose(SAMPLE, drafts, RulesLabeler(), model="m@1", decoding="greedy")


def test_one_draft_claims_without_confidence() -> None:
    document = composed(EDEMA)
    assert (document.think, document.report) == ("Hazy.", "Pulmonary edema. No pneumothorax.")
    assert document.findings == {"Edema": "positive", "Pneumothorax": "negative"}
    assert document.agreement == {}
    assert document.claims() == [
        Claim(Finding.EDEMA, Status.POSITIVE, None),
        Claim(Finding.PNEUMOTHORAX, Status.NEGATIVE, None),
    ]
    assert document.labeler == RulesLabeler().identity
    assert document.notice == NOTICE
    assert "not for clinical use" in NOTICE


def test_of_several_drafts_the_consensus_is_kept_with_its_agreement() -> None:
    document = composed(CLEAR, EDEMA, EDEMA, "no tags at all")
    assert document.completion == EDEMA
    assert document.drafts == 4
    assert document.agreement["Edema"] == {"blank": 0.25, "positive": 0.5, "negative": 0.25}
    assert document.agreement["Pneumothorax"] == {"blank": 0.25, "negative": 0.75}
    assert set(document.agreement) == {"Edema", "Pneumothorax", "No Finding"}
    assert [claim.confidence for claim in document.claims()] == [0.5, 0.75]


@pytest.mark.parametrize("completion", ["", "junk", "<report></report><report>x</report>"])
def test_a_completion_without_a_report_claims_nothing(completion: str) -> None:
    document = composed(completion)
    assert (document.report, document.findings, document.claims()) == ("", {}, [])
    assert document.completion == completion


def test_a_line_reads_back_and_is_a_prediction_too(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    document = composed(EDEMA, CLEAR, EDEMA)
    path.write_text(to_line(document) + to_line(replace(document, id="b")))
    assert read_jsonl(path, Document)[0] == document
    prediction = read_predictions(path)[1]
    assert (prediction.id, prediction.report) == ("b", document.report)
    assert prediction.images == (str(SAMPLE.images[0]),)
    assert json.loads(json.dumps(asdict(document)))["notice"] == NOTICE
