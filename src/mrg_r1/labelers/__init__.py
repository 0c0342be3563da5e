"""Labelers: reports in, labels out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mrg_r1.findings import Labels


class Labeler(Protocol):
    """Anything that reads the 14 findings in reports.

    `identity` names the labeler and its version in every signature ('rules@0.2'); two labelers
    that can disagree on a report have different identities.
    """

    @property
    def identity(self) -> str:
        """Name and version, as signatures show it."""
        ...

    def label(self, reports: Sequence[str]) -> list[Labels]:
        """Labels of each report, in order. Never raises on a report's content."""
        ...
