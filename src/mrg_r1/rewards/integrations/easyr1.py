"""EasyR1: `worker.reward.reward_function=FILE.py:compute_score`, this file or one of yours.

The reference is the row's `data.answer_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mrg_r1.rewards.total import TOTAL, Scorer, TotalReward

REWARD_NAME = "mrg_r1"
REWARD_TYPE = "batch"
"""EasyR1 reads both from the file; a batch is scored in one call."""


def make(scorer: Scorer) -> Callable[..., list[dict[str, float]]]:
    """The function that EasyR1 calls once a batch.

    Each of what it returns has the total as 'overall', and the components by their names.
    """

    def compute_score(
        reward_inputs: Sequence[Mapping[str, Any]], **_: Any
    ) -> list[dict[str, float]]:
        rows = scorer.components(
            [item["response"] for item in reward_inputs],
            [item["ground_truth"] for item in reward_inputs],
        )
        return [{"overall": row.pop(TOTAL), **row} for row in rows]

    return compute_score


compute_score = make(TotalReward.paper())
