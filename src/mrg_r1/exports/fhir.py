"""A document as a FHIR R4 DiagnosticReport (http://hl7.org/fhir/R4/diagnosticreport.html)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mrg_r1.document import Document


def to_fhir(document: Document, now: datetime) -> dict[str, Any]:
    """The resource as JSON, with the model and an Observation per finding contained in it."""
    raise NotImplementedError
