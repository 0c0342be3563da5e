"""The clinical reward that MCCS is compared with in Table II: CE-F1 of one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, FINDINGS, FIVE
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.metrics.clinical import Uncertain, positives, rates
from mrg_r1.rewards import Completion, reports_beside

_COLUMNS = {len(f): [FINDINGS.index(finding) for finding in f] for f in (FINDINGS, DISEASES, FIVE)}


@dataclass(frozen=True)
class CeF1Reward:
    """F1 of the findings that a completion's report affirms with its reference's, in [0, 1].

    The paper names it ('report-level CE-F1') and leaves open which findings, what uncertain
    counts as, and 0/0. Ours: 14 findings, since it says that only MCCS leaves No Finding out;
    uncertain as positive, as in eq. 3; 0/0 is 0. It sees nothing of what a report denies.

    Attributes:
        labeler: reads reports and references, each distinct text once.
        labels: 14, 13 (without No Finding) or 5 findings.
        uncertain: what an uncertain finding counts as, 'positive' or 'negative'.
        both_empty: the reward, in [0, 1], where report and reference affirm none of them.
        prefill: what the chat template already wrote of each completion (some open `<think>`).
    """

    labeler: Labeler
    labels: int = len(FINDINGS)
    uncertain: Uncertain = "positive"
    both_empty: float = 0.0
    prefill: str = ""
    _cached: CachedLabeler = field(init=False, repr=False, compare=False)

    __name__ = "ce_f1"

    def __post_init__(self) -> None:
        if self.labels not in _COLUMNS:
            raise ConfigError(f"ce_f1: labels is {self.labels}; use 14, 13 or 5")
        if self.uncertain not in ("positive", "negative"):
            raise ConfigError(f"ce_f1: uncertain is '{self.uncertain}'; use positive or negative")
        if not 0 <= self.both_empty <= 1:
            raise ConfigError(f"ce_f1: both_empty is {self.both_empty}; use a number in [0, 1]")
        object.__setattr__(self, "_cached", CachedLabeler(self.labeler))

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """Rewards of the completions, in order; a completion without a report earns 0.

        Raises:
            DataError: a reference is empty or not text (with its index), or the references are
                not as many as the completions.
        """
        reports = reports_beside(reference, completions, name=self.__name__, prefill=self.prefill)
        labels = self._cached.label([*reference, *reports])  # one batch for the labeler
        affirmed = positives(labels, self.uncertain)[:, _COLUMNS[self.labels]]
        expected, generated = affirmed[: len(reference)], affirmed[len(reference) :]
        cells = (generated & expected, generated & ~expected, ~generated & expected)
        _, _, f1 = rates(*(cell.sum(axis=1, dtype=np.float64) for cell in cells))  # (n,) each
        f1[~(generated | expected).any(axis=1)] = self.both_empty
        return [
            value if report else 0.0 for value, report in zip(f1.tolist(), reports, strict=True)
        ]
