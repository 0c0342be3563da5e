"""The weighted sum of rewards, for whoever wants one number a completion."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mrg_r1.errors import DataError
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.rewards import CLINICAL_WEIGHT, FORMAT_WEIGHT, Completion, WeightedReward
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.mccs import MccsReward

TOTAL = "reward"
"""Name of the weighted sum among the components."""

# Some trainers call from many threads, and labelers remember texts.
_ONE_AT_A_TIME = threading.Lock()


class Scorer(Protocol):
    """Rewards by name: `TotalReward` here, `RemoteReward` on a server."""

    def components(
        self, completions: Sequence[Completion], reference: Sequence[str]
    ) -> list[dict[str, float]]:
        """The total and each component of each completion, in order."""
        ...


@dataclass(frozen=True)
class TotalReward:
    """The sum of rewards times their weights; a reward itself, and safe to call from threads.

    Attributes:
        parts: rewards with their weights.
    """

    parts: tuple[WeightedReward, ...]

    __name__ = TOTAL

    @classmethod
    def paper(cls, labeler: Labeler | None = None, margin: float = 0.3) -> TotalReward:
        """0.75 MCCS + 0.25 format (section IV-B); read by rules unless a labeler is given."""
        clinical = MccsReward.paper(labeler or RulesLabeler(), margin)
        return cls(((clinical, CLINICAL_WEIGHT), (FormatReward(), FORMAT_WEIGHT)))

    def components(
        self, completions: Sequence[Completion], reference: Sequence[str]
    ) -> list[dict[str, float]]:
        """The total as 'reward', and each unweighted component by its name, per completion.

        Raises:
            DataError: a reference is empty or not text, the references are not as many as the
                completions, or a reward is no number.
        """
        with _ONE_AT_A_TIME:
            columns = {
                reward.__name__: reward(completions, reference=reference)
                for reward, _ in self.parts
            }
        weights = {reward.__name__: weight for reward, weight in self.parts}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for index, row in enumerate(rows):
            total = sum(weights[name] * value for name, value in row.items())
            if not math.isfinite(total):
                raise DataError(f"rewards: completion {index} earns {row}, which is no number")
            rows[index] = {TOTAL: total, **row}
        return rows

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """The totals of the completions, in order.

        Raises:
            DataError: as for `components`.
        """
        return [row[TOTAL] for row in self.components(completions, reference)]
