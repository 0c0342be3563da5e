"""The clinical reward: margin CheXbert cosine similarity (MCCS), section III-B2."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, Status
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.metrics.arrays import Floats
from mrg_r1.metrics.cosine import ccs, entries, expected_ccs, mccs, vectors
from mrg_r1.rewards import Completion, reports_beside
from mrg_r1.rewards.rarity import Rarity
from mrg_r1.rewards.soft import probabilities_of


@dataclass(frozen=True)
class MccsReward:
    """MCCS of each completion's report part with its reference (eqs. 3 to 6), in [0, 1].

    Only the report part is read; a completion without one earns 0. The defaults are the paper's
    but for the margin, which it does not state.

    Attributes:
        labeler: reads the 13 findings in reports and references, each distinct text once.
        margin: m of eq. 6, in (-1, 1); below 0 a report that says nothing is paid.
        both_empty: the cosine, in [0, 1], of two zero vectors; 0 in the paper, where a reference
            without labels gives every candidate 0 and so no clinical signal. The share of such
            references in a batch goes to TRL's log as `mccs/blank_reference`.
        negative_weight: negatives become minus this in eq. 3, in [0, 1]; 1 in the paper, where a
            template of negatives earns most of the reward on normal studies.
        uncertain: value of an uncertain finding in eq. 3, in [-1, 1]; 1 in the paper, which pays
            hedging as much as asserting. The cosine ignores scale: a lower value shows only
            beside findings that are certain.
        rarity: weights of `rarity_weights`, by which entries of eq. 3 are multiplied; none in the
            paper, where a finding that every report denies counts as much as one that decides.
        soft: whether the labeler's probabilities of a report replace its labels (the reference
            keeps its labels); not in the paper, where a word that moves a finding from 45 to
            55 % earns all and one that moves it from 5 to 45 % nothing. The labeler must be a
            `ProbabilisticLabeler`.
        prefill: what the chat template already wrote of each completion (some open `<think>`).
    """

    labeler: Labeler
    margin: float = 0.3
    both_empty: float = 0.0
    negative_weight: float = 1.0
    uncertain: float = 1.0
    prefill: str = ""
    rarity: Rarity | None = None
    soft: bool = False
    _cached: CachedLabeler = field(init=False, repr=False, compare=False)

    __name__ = "mccs"

    def __post_init__(self) -> None:
        if not -1 < self.margin < 1:
            raise ConfigError(
                f"mccs: margin is {self.margin}; use a number in (-1, 1), such as 0.3"
            )
        for name, low in (("both_empty", 0), ("negative_weight", 0), ("uncertain", -1)):
            value = getattr(self, name)
            if not low <= value <= 1:
                raise ConfigError(f"mccs: {name} is {value}; use a number in [{low}, 1]")
        if self.rarity is not None and len(self.rarity) != len(DISEASES):
            raise ConfigError(f"mccs: rarity has {len(self.rarity)} rows; use rarity_weights")
        if self.soft:
            probabilities_of(self.labeler)
        if self.margin < 0:
            warnings.warn(
                f"mccs: margin {self.margin} is below 0, so a report that says nothing of any "
                f"finding earns {-self.margin / (1 - self.margin):.3f}",
                stacklevel=3,
            )
        object.__setattr__(self, "_cached", CachedLabeler(self.labeler))

    @classmethod
    def paper(cls, labeler: Labeler, margin: float = 0.3) -> MccsReward:
        """The paper's reward, its corner cases included; the margin is ours to choose."""
        return cls(labeler, margin, both_empty=0.0, negative_weight=1.0, uncertain=1.0)

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """Rewards of the completions, in order.

        Raises:
            DataError: a reference is empty or not text (with its index), or the references are
                not as many as the completions.
        """
        reports = reports_beside(reference, completions, name=self.__name__, prefill=self.prefill)
        labels = self._cached.label([*reference, *reports])  # one batch for the labeler
        entry = self._entries()
        expected = vectors(labels[: len(reference)], entry)  # (n, 13)
        generated = vectors(labels[len(reference) :], entry)  # (n, 13)
        blank = ~expected.any(axis=1)  # (n,)
        if log_metric := columns.get("log_metric"):
            log_metric("mccs/blank_reference", float(blank.mean()))
        silent = blank & ~generated.any(axis=1)
        cosine = self._soft(reports, entry, expected) if self.soft else ccs(generated, expected)
        cosine = np.where(silent, self.both_empty, cosine)
        written = np.array([report != "" for report in reports])
        return np.where(written, mccs(cosine, self.margin), 0.0).tolist()

    def _entries(self) -> Floats:
        """Eq. 3 by finding and status, (13, 4)."""
        entry = entries(uncertain=self.uncertain, negative_weight=self.negative_weight)
        if self.rarity is not None:
            weights = np.array(self.rarity)  # (13, 2)
            entry[:, [Status.POSITIVE, Status.UNCERTAIN]] *= weights[:, :1]
            entry[:, Status.NEGATIVE] *= weights[:, 1]
        return entry

    def _soft(self, reports: Sequence[str], entry: Floats, expected: Floats) -> Floats:
        """Cosines (n,) of what the labeler thinks probable, each distinct report read once."""
        distinct = list(dict.fromkeys(reports))
        read = probabilities_of(self.labeler)(distinct) if distinct else np.zeros((0, 14, 4))
        rows = {report: row for row, report in enumerate(distinct)}
        chosen = read[[rows[report] for report in reports], : len(DISEASES)]  # (n, 13, 4)
        return expected_ccs(chosen, entry, expected)
