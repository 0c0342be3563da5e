"""verl: `custom_reward_function.path=pkg://mrg_r1.rewards.integrations.verl`.

The reference is `reward_model.ground_truth` of each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mrg_r1.rewards.total import TOTAL, Scorer, TotalReward


def make(scorer: Scorer) -> Callable[..., dict[str, float]]:
    """The function that verl calls once a sample, from threads of its workers.

    What it returns has the total as 'score' and each component by its name, which verl logs.
    """

    def compute_score(
        data_source: Any, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
    ) -> dict[str, float]:
        return _scores(scorer, [solution_str], [ground_truth])[0]

    return compute_score


def make_batched(scorer: Scorer) -> Callable[..., list[dict[str, float]]]:
    """The function that verl's batch reward manager calls once a batch."""

    def compute_scores(
        data_sources: Any,
        solution_strs: Sequence[str],
        ground_truths: Sequence[str],
        extra_infos: Any = None,
        **_: Any,
    ) -> list[dict[str, float]]:
        return _scores(scorer, solution_strs, ground_truths)

    return compute_scores


def _scores(
    scorer: Scorer, solutions: Sequence[str], truths: Sequence[str]
) -> list[dict[str, float]]:
    rows = scorer.components(list(solutions), list(truths))
    return [{"score": row.pop(TOTAL), **row} for row in rows]


compute_score = make(TotalReward.paper())
compute_scores = make_batched(TotalReward.paper())
