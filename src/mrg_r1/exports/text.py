"""A document as plain text."""

from __future__ import annotations

from mrg_r1 import __version__
from mrg_r1.document import Document
from mrg_r1.findings import Status


def to_text(document: Document) -> str:
    """The notice, the report, and what it claims; lines end in a line feed."""
    lines = [document.notice, "", document.report or "(no report)"]
    claims = document.claims()
    for status in (Status.POSITIVE, Status.UNCERTAIN, Status.NEGATIVE):
        said = [
            claim.finding.value
            + ("" if claim.confidence is None else f" ({claim.confidence:.0%} of drafts)")
            for claim in claims
            if claim.status is status
        ]
        if said:
            lines += ["", f"{status.name.capitalize()}: {', '.join(said)}"]
    return "\n".join([*lines, "", made_by(document), ""])


def made_by(document: Document) -> str:
    """Which model wrote it, how, with what software, and who read the findings, in one line."""
    return (
        f"Model: {document.model} ({document.decoding}), mrg-r1 {__version__}. "
        f"Findings read by {document.labeler}."
    )
