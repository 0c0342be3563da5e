"""The 14 CheXpert findings, the 4 statuses, and a report's labels.

One vocabulary for the whole program. CSV files and CheXbert's output heads use other codes and
orders; they are converted here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from mrg_r1.errors import DataError


class Finding(Enum):
    """The CheXpert observations, in the order of CheXbert's output heads."""

    ENLARGED_CARDIOMEDIASTINUM = "Enlarged Cardiomediastinum"
    CARDIOMEGALY = "Cardiomegaly"
    LUNG_OPACITY = "Lung Opacity"
    LUNG_LESION = "Lung Lesion"
    EDEMA = "Edema"
    CONSOLIDATION = "Consolidation"
    PNEUMONIA = "Pneumonia"
    ATELECTASIS = "Atelectasis"
    PNEUMOTHORAX = "Pneumothorax"
    PLEURAL_EFFUSION = "Pleural Effusion"
    PLEURAL_OTHER = "Pleural Other"
    FRACTURE = "Fracture"
    SUPPORT_DEVICES = "Support Devices"
    NO_FINDING = "No Finding"


class Status(IntEnum):
    """What a report says of one finding; the values are CheXbert's class indices."""

    BLANK = 0
    POSITIVE = 1
    NEGATIVE = 2
    UNCERTAIN = 3


FINDINGS: tuple[Finding, ...] = tuple(Finding)
DISEASES: tuple[Finding, ...] = FINDINGS[:-1]
"""The 13 findings without No Finding, over which MCCS is computed (eq. 4)."""

FIVE: tuple[Finding, ...] = (
    Finding.CARDIOMEGALY,
    Finding.EDEMA,
    Finding.CONSOLIDATION,
    Finding.ATELECTASIS,
    Finding.PLEURAL_EFFUSION,
)
"""The five findings of the CheXpert competition, in the order f1chexbert prints them."""

_INDEX = {finding: index for index, finding in enumerate(FINDINGS)}
_CSV_CODE = {Status.BLANK: "", Status.POSITIVE: "1", Status.NEGATIVE: "0", Status.UNCERTAIN: "-1"}
_FROM_CSV = {
    **{code: status for status, code in _CSV_CODE.items()},
    "1.0": Status.POSITIVE,
    "0.0": Status.NEGATIVE,
    "-1.0": Status.UNCERTAIN,
    "nan": Status.BLANK,
}


@dataclass(frozen=True, slots=True)
class Labels:
    """The 14 statuses of one report, in CheXbert's order.

    Build them with `Labels.of`, read them with `labels[Finding.EDEMA]`.
    """

    statuses: tuple[Status, ...]

    def __post_init__(self) -> None:
        if len(self.statuses) != len(FINDINGS):
            raise ValueError(f"labels have {len(FINDINGS)} statuses, not {len(self.statuses)}")
        if self.statuses[-1] not in (Status.BLANK, Status.POSITIVE):
            raise ValueError("No Finding is blank or positive, never negative or uncertain")

    @classmethod
    def of(cls, statuses: Mapping[Finding, Status]) -> Labels:
        """Labels with the given statuses; every other finding is blank."""
        return cls(tuple(statuses.get(finding, Status.BLANK) for finding in FINDINGS))

    @classmethod
    def from_classes(cls, classes: Sequence[int]) -> Labels:
        """Labels from 14 CheXbert class indices in head order."""
        return cls(tuple(Status(index) for index in classes))

    @classmethod
    def from_csv(cls, row: Mapping[str, str]) -> Labels:
        """Labels from a CheXpert or CheXbert CSV row, read by column name.

        Published files write No Finding's blank as 0; both are read as blank.

        Raises:
            DataError: a finding has no column, or a code other than empty, 1, 0, -1.
        """
        statuses: dict[Finding, Status] = {}
        for finding in FINDINGS:
            if finding.value not in row:
                raise DataError(f"labels: no column '{finding.value}'; name columns as findings")
            code = (row[finding.value] or "").strip().lower()
            if code not in _FROM_CSV:
                raise DataError(f"labels: '{code}' under '{finding.value}'; use empty, 1, 0 or -1")
            statuses[finding] = _FROM_CSV[code]
        if statuses[Finding.NO_FINDING] is Status.UNCERTAIN:
            raise DataError("labels: '-1' under 'No Finding'; use empty, 0 or 1")
        if statuses[Finding.NO_FINDING] is Status.NEGATIVE:
            statuses[Finding.NO_FINDING] = Status.BLANK
        return cls.of(statuses)

    def to_csv(self) -> dict[str, str]:
        """The 14 columns of a CheXpert CSV: blank empty, positive 1, negative 0, uncertain -1."""
        return {f.value: _CSV_CODE[s] for f, s in zip(FINDINGS, self.statuses, strict=True)}

    def __getitem__(self, finding: Finding) -> Status:
        return self.statuses[_INDEX[finding]]

    def items(self) -> Iterator[tuple[Finding, Status]]:
        """Findings with their statuses, in CheXbert's order."""
        return zip(FINDINGS, self.statuses, strict=True)

    def having(self, *statuses: Status) -> tuple[Finding, ...]:
        """The findings whose status is one of these."""
        return tuple(finding for finding, status in self.items() if status in statuses)
