"""ms-swift: `orms.update(ORMS)` in a plugin file.

The rewards of this package are what ms-swift calls; it only wants to make them itself. The data
set needs a column `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mrg_r1.rewards import Reward
from mrg_r1.rewards.total import TotalReward


def make(reward: Reward) -> Callable[..., Reward]:
    """An entry of ms-swift's `orms`: called with the trainer's arguments, it gives the reward."""

    def orm(args: Any = None, **_: Any) -> Reward:
        return reward

    return orm


# Not 'format': ms-swift has a reward of that name, for another grammar.
ORMS = {f"report_{reward.__name__}": make(reward) for reward, _ in TotalReward.paper().parts}
