"""A document as plain text."""

from __future__ import annotations

from mrg_r1 import __version__
from mrg_r1.document import Claim, Document
from mrg_r1.findings import Status

NO_REPORT = "(no report)"


def to_text(document: Document) -> str:
    """The notice, the report, what it claims, and who wrote it; lines end in a line feed."""
    lines = [document.notice, "", printable(document.report) or NO_REPORT]
    claims = document.claims()
    for status in (Status.POSITIVE, Status.UNCERTAIN, Status.NEGATIVE):
        if said := [_claim(claim) for claim in claims if claim.status is status]:
            lines += ["", f"{status.name.capitalize()}: {', '.join(said)}"]
    return "\n".join([*lines, "", made_by(document), ""])


def made_by(document: Document) -> str:
    """Which model wrote it, how, with what software, and who read the findings, in one line."""
    made = f"Model: {document.model} ({document.decoding}), mrg-r1 {__version__}. "
    return printable(f"{made}Findings read by {document.labeler}.")


def printable(text: str) -> str:
    """The text without what other formats forbid: a policy may write any character.

    Control characters, lone surrogates and unusual spaces become spaces; line feeds and tabs stay.
    """
    kept = (c if c.isprintable() or c in "\n\t" else " " for c in text)
    return "".join(kept).strip()


def _claim(claim: Claim) -> str:
    if claim.confidence is None:
        return claim.finding.value
    return f"{claim.finding.value} ({claim.confidence:.0%} of drafts)"
