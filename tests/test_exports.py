"""Exports, read back by the libraries that own their formats."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from highdicom import sr
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sr.codedict import codes

from mrg_r1.document import NOTICE, Document
from mrg_r1.errors import DataError, MissingExtra
from mrg_r1.exports import MEDIA_TYPES, SUFFIXES, Format, export
from mrg_r1.exports.codes import FINDING_CODES, STATUS_CODES
from mrg_r1.exports.files import Exports, file_names
from mrg_r1.exports.text import printable
from mrg_r1.findings import DISEASES, Finding, Status

DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DOCUMENT = Document(
    id="chest",
    study_id="chest",
    completion="<think>Hazy.</think><report>...</report>",
    think="Hazy.",
    report="Pulmonary edema & a line < 3 cm.\nPossible pneumonia. No pneumothorax. ≥ é.",
    images=("chest.png",),
    findings={
        "Edema": "positive",
        "Support Devices": "positive",
        "Pneumonia": "uncertain",
        "Pneumothorax": "negative",
    },
    agreement={
        "Edema": {"positive": 0.875, "blank": 0.125},
        "Support Devices": {"positive": 1.0},
        "Pneumonia": {"uncertain": 0.5, "blank": 0.5},
        "Pneumothorax": {"negative": 1.0},
    },
    drafts=8,
    model="demo@0123456789ab",
    decoding="consensus of 8, temperature 1, seed 0",
    labeler="rules@0.2",
)
HOSTILE = {
    "nothing": "",
    "markup": "</div><script>alert(1)</script> & ]]>",
    "control characters": "a\x00b\x0b\x1b[31m\x85 c\r\nd",
    "spaces of many kinds": "a\u00a0b\u2028c\u3000d\ufeff",
    "half of a pair": "a\ud800b",
    "what DICOM parts values with": "a\\b^c=d",
    "long": "No edema. " * 20_000,
    "right to left, and beyond the first plane": "\u202e\U0001fac1 \u4e2d",
}


def fhir(document: Document) -> dict[str, Any]:
    return json.loads(export(document, "fhir", now=NOW))


def structured(document: Document, *headers: Dataset) -> Any:
    written = export(document, "dicom-sr", now=NOW, headers=headers)
    return sr.ComprehensiveSR.from_dataset(pydicom.dcmread(BytesIO(written)))


def findings_of(made: Any) -> list[Any]:
    """The content items of the section 'Findings'."""
    (root,) = made.content
    (section,) = [item for item in root.ContentSequence if item.name.meaning == "Findings"]
    return list(section.ContentSequence)


def header(**values: object) -> Dataset:
    """The header of an X-ray of a study."""
    dataset = Dataset()
    named: dict[str, object] = {
        "SOPClassUID": DIGITAL_X_RAY,
        "SOPInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": "1.2.3.2",
        "StudyInstanceUID": "1.2.3.3",
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Müller^Jörg",
        "PatientID": "77",
        "PatientBirthDate": "19500102",
        "PatientSex": "M",
        "StudyDate": "20260101",
        "StudyTime": "101112",
        "StudyID": "9",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "Doe^J",
    }
    for name, value in (named | values).items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("report", HOSTILE.values(), ids=HOSTILE)
def test_every_export_says_who_wrote_it_whatever_was_written(form: Format, report: str) -> None:
    written = export(replace(DOCUMENT, report=report), form, now=NOW)
    for said in (NOTICE, "not for clinical use", DOCUMENT.model):
        assert said.encode() in written
    assert form in MEDIA_TYPES


def test_text_tells_report_claims_and_confidence() -> None:
    lines = export(DOCUMENT, "text", now=NOW).decode().splitlines()
    assert lines[0] == NOTICE
    assert lines[2:4] == DOCUMENT.report.splitlines()
    assert "Positive: Edema (88% of drafts), Support Devices (100% of drafts)" in lines
    assert "Uncertain: Pneumonia (50% of drafts)" in lines
    assert "Negative: Pneumothorax (100% of drafts)" in lines
    alone = export(replace(DOCUMENT, agreement={}), "text", now=NOW).decode()
    assert "Positive: Edema, Support Devices\n" in alone
    assert "(no report)" in export(replace(DOCUMENT, report=""), "text", now=NOW).decode()


def test_json_is_the_document() -> None:
    written = json.loads(export(DOCUMENT, "json", now=NOW))
    assert written["findings"] == DOCUMENT.findings
    assert written["notice"] == NOTICE


@pytest.mark.parametrize("report", HOSTILE.values(), ids=HOSTILE)
def test_fhir_validates(report: str) -> None:
    for document in (DOCUMENT, replace(DOCUMENT, findings={}, agreement={})):
        written = fhir(replace(document, report=report))
        resource = DiagnosticReport.model_validate(written)
        assert resource.status == "preliminary"
        assert len(resource.result) == len(document.findings) + 1


def test_fhir_says_what_the_document_says() -> None:
    written = fhir(DOCUMENT)
    model, report, *findings = written["contained"]
    assert model["deviceName"][0]["name"] == DOCUMENT.model
    assert model["note"][0]["text"] == NOTICE
    assert report["valueString"] == DOCUMENT.report
    assert {finding["device"]["reference"] for finding in findings} == {"#model"}
    assert [reference["reference"] for reference in written["result"]] == [
        f"#{resource['id']}" for resource in (report, *findings)
    ]
    said = {
        finding["code"]["text"]: (
            finding["valueCodeableConcept"]["text"],
            finding["component"][0]["valueQuantity"]["value"],
        )
        for finding in findings
    }
    assert said == {
        "Pneumonia": ("uncertain", 50.0),
        "Edema": ("positive", 87.5),
        "Pneumothorax": ("negative", 100.0),
        "Support Devices": ("positive", 100.0),
    }
    (edema,) = [f for f in findings if f["code"]["text"] == "Edema"]
    assert edema["code"]["coding"][0] == {
        "system": "http://snomed.info/sct",
        "code": "19242006",
        "display": "Pulmonary edema",
    }
    assert "coding" not in findings[-1]["code"]
    assert [c["text"] for c in written["conclusionCode"]] == ["Pulmonary edema"]
    assert written["meta"]["security"][0]["code"] == "AIAST"
    assert written["issued"] == "2026-03-04T05:06:07+00:00"
    attached = base64.b64decode(written["presentedForm"][0]["data"])
    assert attached == export(DOCUMENT, "text", now=NOW)
    assert "component" not in fhir(replace(DOCUMENT, agreement={}))["contained"][2]


@pytest.mark.parametrize("report", HOSTILE.values(), ids=HOSTILE)
def test_dicom_reads_back(report: str) -> None:
    made = structured(replace(DOCUMENT, report=report))
    assert findings_of(made)[0].TextValue == (printable(report) or "(no report)")


def test_dicom_says_what_the_document_says() -> None:
    made = structured(DOCUMENT)
    report, *claims = findings_of(made)
    assert report.TextValue == DOCUMENT.report
    said = [
        (item.name.meaning, getattr(item, "TextValue", "") or item.value.meaning) for item in claims
    ]
    assert said == [
        ("Pulmonary edema", "Present"),
        ("Pneumonia", "Equivocal"),
        ("Pneumothorax", "Absent"),
        ("Finding", "Support Devices: present"),
    ]
    certainty = [item.ContentSequence[0] for item in claims]
    assert {item.name.meaning for item in certainty} == {"Certainty of Finding"}
    assert [item.value for item in certainty] == [87.5, 50.0, 100.0, 100.0]
    assert (made.CompletionFlag, made.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert (made.PreliminaryFlag, made.ContentQualification) == ("PRELIMINARY", "RESEARCH")
    assert (made.ManufacturerModelName, made.PatientName) == (DOCUMENT.model, "")
    assert "CurrentRequestedProcedureEvidenceSequence" not in made
    assert (made.ContentDate, made.ContentTime) == ("20260304", "050607")


def test_dicom_joins_the_study_of_its_images() -> None:
    made = structured(DOCUMENT, header(), header(SOPInstanceUID="1.2.3.9"))
    assert (made.StudyInstanceUID, made.PatientID) == ("1.2.3.3", "77")
    assert str(made.PatientName) == "Müller^Jörg"
    assert made.SeriesInstanceUID != "1.2.3.2"
    assert [str(uid) for *_, uid in made.get_evidence()] == ["1.2.840.10008.5.1.4.1.1.1.1"] * 2
    images = [item for item in made.ContentSequence if item.ValueType == "IMAGE"]
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == [
        "1.2.3.1",
        "1.2.3.9",
    ]


POOR_HEADERS = {
    "nothing at all": Dataset(),
    "no patient": header(PatientName=None, PatientID=None, PatientSex="", PatientBirthDate=""),
    "a name of one part": header(PatientName="16d7f894"),
    "no study": header(StudyInstanceUID=None, StudyDate="", StudyTime=""),
}


@pytest.mark.parametrize("poor", POOR_HEADERS.values(), ids=POOR_HEADERS)
def test_a_poor_header_gives_a_report_all_the_same(poor: Dataset) -> None:
    assert structured(DOCUMENT, poor).PatientID in ("", None, "77")


def test_a_header_against_the_standard_is_named() -> None:
    with pytest.raises(DataError, match=r"chest: no DICOM report can be made from its header"):
        structured(DOCUMENT, header(PatientSex="X"))


def test_codes_are_those_of_the_dicom_standard() -> None:
    """Where pydicom's copy of PS3.16 has them."""
    listed = {
        Finding.PLEURAL_EFFUSION: codes.SCT.PleuralEffusion,
        Finding.PNEUMOTHORAX: codes.SCT.Pneumothorax,
        Finding.EDEMA: codes.SCT.PulmonaryEdema,
        Finding.LUNG_OPACITY: codes.DCM.Opacity,
        Status.POSITIVE: codes.cid240.Present,
        Status.NEGATIVE: codes.cid240.Absent,
        Status.UNCERTAIN: codes.cid3120.Equivocal,
    }
    ours = FINDING_CODES | STATUS_CODES
    for key, code in listed.items():
        assert (ours[key].scheme, ours[key].value) == (code.scheme_designator, code.value)
    assert set(FINDING_CODES) < set(DISEASES)


def test_missing_packages_are_named_before_the_first_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "mrg_r1.exports.dicom_sr")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mrg-r1\[export-dicom\]'"):
        Exports(tmp_path, ("text", "dicom-sr"))
    Exports(tmp_path, ("text", "fhir", "json"))


NAMES = {
    "kept": (["a", "B-2.x"], ["a", "B-2.x"]),
    "made safe": (["../../etc/passwd", "s:1 2"], ["etc_passwd", "s_1_2"]),
    "made distinct": (["a/b", "a:b", "A B"], ["a_b", "a_b-2", "A_B-3"]),
    "not taken twice": (["a-2", "a", "a?", "a-2?"], ["a-2", "a", "a-3", "a-2-2"]),
    "nothing left": (["///", "..."], ["report", "report-2"]),
}


@pytest.mark.parametrize(("ids", "names"), NAMES.values(), ids=NAMES)
def test_files_are_named_after_ids(ids: list[str], names: list[str]) -> None:
    assert list(file_names(ids).values()) == names


@given(st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_file_names_are_distinct_and_safe(ids: list[str]) -> None:
    names = list(file_names(ids).values())
    assert len({name.lower() for name in names}) == len(ids)
    assert all(name and "/" not in name and not name.startswith(".") for name in names)


def test_files_are_written_whole_and_once(tmp_path: Path) -> None:
    exports = Exports(tmp_path / "new", ("text", "fhir", "dicom-sr", "json"))
    exports.write(DOCUMENT, "a")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "a.fhir.json",
        "a.json",
        "a.sr.dcm",
        "a.txt",
    ]
    (tmp_path / "new" / "a.txt").write_text("mine")
    (tmp_path / "new" / "a.json").unlink()
    exports.write(DOCUMENT, "a", missing=True)
    assert (tmp_path / "new" / "a.txt").read_text() == "mine"
    assert (tmp_path / "new" / "a.json").exists()
