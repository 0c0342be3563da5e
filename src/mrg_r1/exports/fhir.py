"""A document as a FHIR R4 DiagnosticReport (http://hl7.org/fhir/R4/diagnosticreport.html).

The model is a contained Device, the report's text and each finding a contained Observation. The
security label AIAST is HL7's for what an artificial intelligence asserted.
"""

from __future__ import annotations

import base64
import html
from datetime import datetime
from typing import Any

from mrg_r1 import __version__
from mrg_r1.document import Claim, Document
from mrg_r1.exports.codes import (
    CERTAINTY,
    FINDING_CODES,
    NARRATIVE,
    PERCENT,
    REPORT,
    STATUS_CODES,
    SYSTEMS,
    Code,
)
from mrg_r1.exports.text import NO_REPORT, made_by, printable, to_text
from mrg_r1.findings import Status

_TERMS = "http://terminology.hl7.org/CodeSystem"
_STATUS = "preliminary"  # 'registered' has no results yet, 'final' would be a physician's word


def to_fhir(document: Document, now: datetime) -> dict[str, Any]:
    """The resource, ready for `json.dumps`; it names no patient.

    Args:
        document: what is exported.
        now: when it was issued; with a time zone.
    """
    report = printable(document.report) or NO_REPORT
    notice = f"{document.notice} {made_by(document)}"
    claims = document.claims()
    observations = [
        _observation("report", _concept(NARRATIVE), {"valueString": report}),
        *(_finding(number, claim) for number, claim in enumerate(claims, start=1)),
    ]
    asserted = {
        "system": f"{_TERMS}/v3-ObservationValue",
        "code": "AIAST",
        "display": "Artificial Intelligence asserted",
    }
    resource: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "meta": {"security": [asserted]},
        "language": "en",
        "text": {"status": "generated", "div": _narrative(notice, report)},
        "contained": [_device(document), *observations],
        "identifier": [{"value": printable(document.id)}],
        "status": _STATUS,
        "category": [
            {"coding": [{"system": f"{_TERMS}/v2-0074", "code": "RAD", "display": "Radiology"}]}
        ],
        "code": _concept(REPORT),
        "issued": now.isoformat(timespec="seconds"),
        "result": [{"reference": f"#{observation['id']}"} for observation in observations],
        "conclusion": f"{report}\n\n{notice}",
        "presentedForm": [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": base64.b64encode(to_text(document).encode()).decode(),
                "title": document.notice,
            }
        ],
    }
    affirmed = [claim.finding for claim in claims if claim.status is Status.POSITIVE]
    if coded := [_concept(FINDING_CODES[f]) for f in affirmed if f in FINDING_CODES]:
        resource["conclusionCode"] = coded
    return resource


def _device(document: Document) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "id": "model",
        "deviceName": [{"name": printable(document.model), "type": "user-friendly-name"}],
        "type": {"text": "Vision-language model"},
        "version": [{"value": f"mrg-r1 {__version__}"}],
        "note": [{"text": document.notice}, {"text": made_by(document)}],
    }


def _observation(id_: str, code: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    category = {"system": f"{_TERMS}/observation-category", "code": "imaging", "display": "Imaging"}
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": _STATUS,
        "category": [{"coding": [category]}],
        "code": code,
        **value,
        "device": {"reference": "#model"},
    }


def _finding(number: int, claim: Claim) -> dict[str, Any]:
    name = claim.finding.value
    coded = FINDING_CODES.get(claim.finding)
    code = _concept(coded, name) if coded else {"text": name}
    said = _concept(STATUS_CODES[claim.status], claim.status.name.lower())
    value: dict[str, Any] = {"valueCodeableConcept": said}
    if claim.confidence is not None:
        share = {
            "value": round(100 * claim.confidence, 2),
            "unit": "%",
            "system": SYSTEMS["UCUM"],
            "code": PERCENT.value,
        }
        drafts = _concept(CERTAINTY, "share of the sampled drafts that say the same")
        value["component"] = [{"code": drafts, "valueQuantity": share}]
    return _observation(f"finding-{number}", code, value)


def _concept(code: Code, text: str = "") -> dict[str, Any]:
    coding = {"system": SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}
    return {"coding": [coding], "text": text or code.meaning}


def _narrative(notice: str, report: str) -> str:
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in (notice, report))
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'
