"""The rows of Table II: which there are, and the reward that each is trained on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from mrg_r1.config import Recipe, RewardRecipe
from mrg_r1.errors import ConfigError
from mrg_r1.metrics.published import ABLATION

UNTRAINED = ("base", "sft")
"""Rows without SRL: the policy before the supervised start, and after it."""

_KINDS = {"nlg": "overlap", "ce-f1": "ce-f1", "mccs": "mccs", "format": "mccs"}


def chosen(recipe: Recipe, names: str | None = None) -> tuple[str, ...]:
    """The rows to make, in the order of Table II.

    Args:
        recipe: without a supervised start there is no row 'sft'.
        names: of the rows, separated by commas; all that the recipe allows if not given.

    Raises:
        ConfigError: a name is no row's, or the recipe has no such row.
    """
    if names is None:
        return tuple(row for row in ABLATION if row != "sft" or recipe.sft is not None)
    asked = [name.strip() for name in names.split(",") if name.strip()]
    problems = [f"no row '{name}'{_nearest(name)}" for name in asked if name not in ABLATION]
    if problems or not asked:
        raise ConfigError(f"--rows: {'; '.join([*problems, 'rows are ' + ','.join(ABLATION)])}")
    if "sft" in asked and recipe.sft is None:
        raise ConfigError("--rows: the recipe has no [sft] table, so there is no row 'sft'")
    return tuple(row for row in ABLATION if row in asked)


def row_recipe(recipe: Recipe, row: str) -> Recipe:
    """The recipe of a row that SRL trains: the same but for its reward and its name.

    A reward that stands alone has weight 1; two have the recipe's weights. Penalties and the
    options of MCCS stay as the recipe has them, the latter in the rows of MCCS only.

    Raises:
        ConfigError: a row of two rewards, of which the recipe gives one no weight.
    """
    clinical, _, form = row.partition("+")
    reward = recipe.reward
    if form and not (reward.clinical_weight and reward.format_weight):
        raise ConfigError(
            f"ablate: row '{row}' needs two rewards; add --set reward.clinical_weight=0.75 "
            "--set reward.format_weight=0.25"
        )
    weights = (reward.clinical_weight, reward.format_weight) if form else (1.0, 0.0)
    return replace(
        recipe,
        name=f"{recipe.name}-{row}",
        reward=_reward(reward, clinical, weights if clinical != "format" else (0.0, 1.0)),
    )


def check_rows(recipe: Recipe, rows: Sequence[str], seeds: int) -> None:
    """Refuses what would otherwise show after hours.

    Raises:
        ConfigError: a row's reward cannot be made of the recipe's, or seeds run out.
    """
    for row in rows:
        if row not in UNTRAINED:
            row_recipe(recipe, row)
    if seeds < 1 or recipe.seed + seeds > 2**32:
        raise ConfigError(f"--seeds: {seeds} from seed {recipe.seed} on; seeds are in [0, 2^32)")


def _reward(reward: RewardRecipe, clinical: str, weights: tuple[float, float]) -> RewardRecipe:
    reward = replace(
        reward, kind=_KINDS[clinical], clinical_weight=weights[0], format_weight=weights[1]
    )
    if clinical == "mccs":
        return reward
    return replace(reward, rarity_cap=0.0, soft=False, f1_share=0.0)


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, ABLATION, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
