"""A document as a DICOM structured report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydicom import Dataset

from mrg_r1.document import Document


def to_dicom_sr(document: Document, now: datetime, headers: Sequence[Dataset] = ()) -> bytes:
    """The file."""
    raise NotImplementedError
