"""A document in the forms others take: plain text, JSON, FHIR R4 and DICOM SR.

Each says that a model wrote it, which one, and that it is not for clinical use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from mrg_r1.document import Document

Format = Literal["text", "json", "fhir", "dicom-sr"]

SUFFIXES: dict[Format, str] = {
    "text": ".txt",
    "json": ".json",
    "fhir": ".fhir.json",
    "dicom-sr": ".sr.dcm",
}
MEDIA_TYPES: dict[Format, str] = {
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
    "fhir": "application/fhir+json",
    "dicom-sr": "application/dicom",
}


def export(
    document: Document, form: Format, *, now: datetime, headers: Sequence[Any] = ()
) -> bytes:
    """The content of the file.

    Args:
        document: what is exported.
        form: one of `SUFFIXES`.
        now: when it was written; with a time zone.
        headers: pydicom data sets of the images, pixels not needed, for `dicom-sr`: it takes the
            patient and the study from them. Without, it is a study of its own, of no patient.

    Raises:
        MissingExtra: `dicom-sr` without the packages of `mrg-r1[export-dicom]`.
    """
    match form:
        case "text":
            from mrg_r1.exports.text import to_text

            return to_text(document).encode()
        case "json":
            return _json(asdict(document))
        case "fhir":
            from mrg_r1.exports.fhir import to_fhir

            return _json(to_fhir(document, now))
        case "dicom-sr":
            from mrg_r1.exports.dicom_sr import to_dicom_sr

            return to_dicom_sr(document, now, headers)


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="replace")  # half a surrogate pair has no UTF-8
