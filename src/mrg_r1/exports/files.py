"""Exports of many documents into one folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from mrg_r1.data.context import prior_count
from mrg_r1.data.dicom import read_header
from mrg_r1.data.images import image_kind
from mrg_r1.document import Document
from mrg_r1.errors import DataError
from mrg_r1.exports import SUFFIXES, Format, export
from mrg_r1.records import replacing

_LONGEST = 200  # bytes of a file name without its suffix; file systems take 255


@dataclass(frozen=True, slots=True)
class Exports:
    """Where documents are exported to, and in which forms."""

    folder: Path
    forms: tuple[Format, ...]

    def __post_init__(self) -> None:
        if "dicom-sr" in self.forms:
            # Its packages are missed now, and not after the first report.
            import_module("mrg_r1.exports.dicom_sr")

    def write(self, document: Document, name: str, *, missing: bool = False) -> None:
        """Writes the document's files, each whole or not at all.

        Args:
            document: what is exported.
            name: of its files, without suffix; see `file_names`.
            missing: leaves alone those that are there.

        Raises:
            DataError: a DICOM header that no report can be made from.
            MissingExtra: a form's packages are not installed.
        """
        for form in self.forms:
            path = self.folder / f"{name}{SUFFIXES[form]}"
            if missing and path.exists():
                continue
            own = len(document.images) - prior_count(document.context)
            headers = _headers(document.images[:own]) if form == "dicom-sr" else ()
            content = export(document, form, now=datetime.now(UTC), headers=headers)
            with replacing(path, "wb") as file:
                file.write(content)


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """A file name for each distinct id, distinct also where file systems ignore case."""
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    for id_ in dict.fromkeys(ids):
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", id_).strip("._")[-_LONGEST:] or "report"
        name = base
        while seen[name.lower()]:
            seen[base.lower()] += 1
            name = f"{base}-{seen[base.lower()]}"
        seen[name.lower()] += 1
        names[id_] = name
    return names


def _headers(images: Sequence[str]) -> list[Any]:
    """The DICOM headers among the images."""
    headers: list[Any] = []
    for path in map(Path, images):
        if image_kind(path) == "DICOM":
            try:
                headers.append(read_header(path))
            except Exception as error:
                # pydicom raises nearly every built-in exception on a corrupt file.
                raise DataError(f"{path}: its DICOM header cannot be read ({error})") from error
    return headers
