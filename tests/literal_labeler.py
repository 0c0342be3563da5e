"""A labeler for tests that reads statuses written out: 'Edema+, Pneumonia-, Fracture?'."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mrg_r1.findings import FINDINGS, Finding, Labels, Status

_SIGN = {"+": Status.POSITIVE, "-": Status.NEGATIVE, "?": Status.UNCERTAIN}
_MENTION = re.compile(f"({'|'.join(finding.value for finding in FINDINGS)})([+?-])")


@dataclass(frozen=True)
class LiteralLabeler:
    """Keeps what it was asked to label, so that tests can count the work."""

    asked: list[list[str]] = field(default_factory=list)
    identity: str = "literal@1"

    def label(self, reports: Sequence[str]) -> list[Labels]:
        self.asked.append(list(reports))
        return [
            Labels.of({Finding(name): _SIGN[sign] for name, sign in _MENTION.findall(report)})
            for report in reports
        ]


def write(labels: Labels) -> str:
    """The literal text that reads back as these labels; never empty."""
    sign = {status: text for text, status in _SIGN.items()}
    mentions = [f"{f.value}{sign[s]}" for f, s in labels.items() if s is not Status.BLANK]
    return ", ".join(mentions) or "nothing"
