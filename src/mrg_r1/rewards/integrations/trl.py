"""TRL: `GRPOTrainer(reward_funcs=reward_funcs, args=GRPOConfig(reward_weights=reward_weights))`.

The rewards of this package are what TRL calls; this module only parts them from their weights.
"""

from __future__ import annotations

from mrg_r1.rewards import Reward
from mrg_r1.rewards.total import TotalReward


def make(total: TotalReward) -> tuple[list[Reward], list[float]]:
    """The functions and their weights, which TRL takes apart and logs each by its name.

    The data set needs a column `reference`.
    """
    return [reward for reward, _ in total.parts], [weight for _, weight in total.parts]


reward_funcs, reward_weights = make(TotalReward.paper())
