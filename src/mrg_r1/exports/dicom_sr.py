"""A document as a DICOM structured report: a Comprehensive SR of TID 2000's outline.

The observer is a device, the content is qualified as research (Content Qualification, PS3.3
C.8.13.2.1.1), partial, preliminary and unverified.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any

from pydicom import Dataset

from mrg_r1 import __version__
from mrg_r1.document import Claim, Document
from mrg_r1.errors import DataError, MissingExtra
from mrg_r1.exports.codes import (
    CERTAINTY,
    COMMENT,
    DEVICE,
    ENGLISH,
    FINDING,
    FINDING_CODES,
    FINDINGS,
    PERCENT,
    REPORT,
    SOURCE,
    STATUS_CODES,
    Code,
)
from mrg_r1.exports.text import NO_REPORT, made_by, printable

try:
    import highdicom as hd
    from highdicom import sr
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"dicom-sr: {error.name} is not installed; type: pip install 'mrg-r1[export-dicom]'"
    ) from None

# Without a handler Python prints what it logs, and that can be a patient's name.
logging.getLogger("highdicom").addHandler(logging.NullHandler())

_INHERITED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SERIES_NUMBER = 9001  # far from a study's own series


def to_dicom_sr(document: Document, now: datetime, headers: Sequence[Dataset] = ()) -> bytes:
    """The file.

    Args:
        document: what is exported.
        now: when it was written.
        headers: data sets of the images, pixels not needed. The report joins the first one's study
            and refers to all of them; without, it is a study of its own, of no patient.

    Raises:
        DataError: a header that no report can be made from.
    """
    try:
        file = BytesIO()
        with warnings.catch_warnings():
            # They quote the patient's name, which is not ours to correct and not for a log.
            warnings.simplefilter("ignore")
            images = [_evidence(header) for header in headers]
            _report(document, now, images).save_as(file)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # highdicom's and pydicom's verdicts on values of the header.
        reason = " ".join(str(error).split())
        raise DataError(
            f"{document.id}: no DICOM report can be made from its header ({reason})"
        ) from error
    return file.getvalue()


def _report(document: Document, now: datetime, images: list[Dataset]) -> Any:
    made = sr.ComprehensiveSR(
        evidence=images or [_evidence(Dataset())],
        content=_content(document, images),
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        series_description="Report by a model, not for clinical use",
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="mrg-r1",
        manufacturer_model_name=printable(document.model)[:64],
        software_versions=__version__,
        content_qualification=hd.ContentQualificationValues.RESEARCH,
        content_date=now.date(),
        content_time=now.time(),
        specific_character_set="ISO_IR 192",
    )
    if not images:
        del made.CurrentRequestedProcedureEvidenceSequence
    return made


def _evidence(header: Dataset) -> Dataset:
    """What a report takes from an image: patient, study, and which image it is."""
    evidence = Dataset()
    for name in _INHERITED:
        setattr(evidence, name, header.get(name) or "")
    evidence.StudyInstanceUID = evidence.StudyInstanceUID or hd.UID()
    evidence.SeriesInstanceUID = header.get("SeriesInstanceUID") or hd.UID()
    evidence.SOPInstanceUID = header.get("SOPInstanceUID") or hd.UID()
    evidence.SOPClassUID = header.get("SOPClassUID") or _SECONDARY_CAPTURE
    return evidence


def _content(document: Document, images: Sequence[Dataset]) -> Any:
    root = sr.ContainerContentItem(_code(REPORT), template_id="2000")
    findings = sr.ContainerContentItem(_code(FINDINGS), relationship_type="CONTAINS")
    findings.ContentSequence = sr.ContentSequence(
        [
            _text(FINDING, printable(document.report) or NO_REPORT),
            *(_finding(claim) for claim in document.claims()),
        ]
    )
    root.ContentSequence = sr.ContentSequence(
        [
            *sr.LanguageOfContentItemAndDescendants(_code(ENGLISH)),
            *_observer(document),
            _text(COMMENT, f"{document.notice} {made_by(document)}"),
            findings,
            *(
                sr.ImageContentItem(
                    _code(SOURCE), image.SOPClassUID, image.SOPInstanceUID, None, None, "CONTAINS"
                )
                for image in images
            ),
        ]
    )
    return root


def _observer(document: Document) -> Any:
    return sr.ObserverContext(
        _code(DEVICE),
        sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(),
            name=printable(document.model),
            manufacturer_name="mrg-r1",
            model_name=f"mrg-r1 {__version__}",
        ),
    )


def _finding(claim: Claim) -> Any:
    """The finding as a name with its status as value; as text where it has no code."""
    code, said = FINDING_CODES.get(claim.finding), STATUS_CODES[claim.status]
    item: Any
    if code is None:
        item = _text(FINDING, f"{claim.finding.value}: {said.meaning.lower()}")
    else:
        item = sr.CodeContentItem(_code(code), _code(said), "CONTAINS")
    if claim.confidence is not None:
        percent = round(100 * claim.confidence, 2)
        certainty = sr.NumContentItem(
            _code(CERTAINTY), percent, _code(PERCENT), relationship_type="HAS PROPERTIES"
        )
        item.ContentSequence = sr.ContentSequence([certainty])
    return item


def _text(name: Code, text: str) -> Any:
    return sr.TextContentItem(_code(name), text, "CONTAINS")


def _code(code: Code) -> sr.CodedConcept:
    return sr.CodedConcept(code.value, code.scheme, code.meaning)
