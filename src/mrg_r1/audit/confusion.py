"""How often each status of a finding in the references met each in the reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.agreement import ERRORS, Agreement, agreement
from mrg_r1.audit.load import REFERENCE, Read
from mrg_r1.findings import FINDINGS, Finding, Labels, Status

ORDER = (Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN, Status.BLANK)


@dataclass(frozen=True, slots=True)
class Cell:
    """How often a reference's status met a report's, and what kind of agreement that is."""

    reference: Status
    report: Status
    kind: Agreement
    n: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """One finding in the reports of one system: a row of cells per status of the reference.

    `column` is the place of the system among those that have reports.
    """

    system: str
    column: int
    rows: tuple[tuple[Cell, ...], ...]

    def count(self, kind: Agreement) -> int:
        """The reports of this kind."""
        return sum(cell.n for row in self.rows for cell in row if cell.kind is kind)

    @property
    def errors(self) -> int:
        """The reports that are wrong of it, hedges on one side included."""
        return sum(map(self.count, (*ERRORS, Agreement.MISMATCH)))


def confusions(
    readings: Mapping[tuple[str, str], Read], systems: Sequence[str]
) -> Mapping[Finding, tuple[Confusion, ...]]:
    """Tables of every finding, for the systems whose reports were read; all samples count."""
    pairs = {
        system: [
            (reference.labels, read.labels)
            for (id_, name), read in readings.items()
            if name == system and (reference := readings.get((id_, REFERENCE)))
        ]
        for system in systems
    }
    return {
        finding: tuple(
            Confusion(system, column, _rows(finding, found))
            for column, (system, found) in enumerate(pairs.items())
            if found
        )
        for finding in FINDINGS
    }


def _rows(finding: Finding, pairs: Sequence[tuple[Labels, Labels]]) -> tuple[tuple[Cell, ...], ...]:
    """No Finding is positive or blank, never anything else."""
    counts = Counter((reference[finding], report[finding]) for reference, report in pairs)
    order = ORDER if finding is not Finding.NO_FINDING else (Status.POSITIVE, Status.BLANK)
    return tuple(tuple(Cell(a, b, agreement(a, b), counts[a, b]) for b in order) for a in order)
