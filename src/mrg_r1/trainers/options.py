"""From a recipe's `[sft]` and `[srl]` tables to TRL's configuration classes.

Every TRL option passes through untouched. Ours are only the defaults that a report generator
needs, and the refusal of keys that the program itself must set.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from trl import GRPOConfig, SFTConfig
from trl.trainer.base_config import _BaseConfig

from mrg_r1.errors import ConfigError

Options = TypeVar("Options", bound=_BaseConfig)

_COMMON: dict[str, Any] = {
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 50,
    # Two, so that one whole checkpoint remains while the next is being written.
    "save_total_limit": 2,
    # Progress is drawn by our own callback.
    "disable_tqdm": True,
    "report_to": "none",
    "push_to_hub": False,
}

_SFT: dict[str, Any] = {
    # A limit would cut image tokens silently.
    "max_length": None,
    "completion_only_loss": True,
}

_SRL: dict[str, Any] = {
    # G of section IV-B.
    "num_generations": 4,
    # Eq. 1 averages over the tokens of each completion and then over completions.
    "loss_type": "grpo",
    # Eq. 2 divides by the group's standard deviation.
    "scale_rewards": "group",
    # Left open in the paper: ours.
    "beta": 0.04,
    "epsilon": 0.2,
    "temperature": 1.0,
    "max_completion_length": 256,
}

_OURS = {
    "output_dir": "--out",
    "seed": "the recipe's seed",
    "reward_weights": "reward.clinical_weight and reward.format_weight",
    "report_to": "nothing: runs are recorded in their folder only",
    "push_to_hub": "nothing: no data or weights leave the machine",
    "resume_from_checkpoint": "--resume",
    "remove_unused_columns": "nothing: rewards need every column",
}


def sft_config(table: Mapping[str, Any], folder: Path, seed: int) -> SFTConfig:
    """TRL's settings of the supervised start."""
    return _config(SFTConfig, "sft", {**_COMMON, **_SFT}, table, folder, seed)


def grpo_config(
    table: Mapping[str, Any],
    folder: Path,
    seed: int,
    *,
    reward_weights: list[float],
    forbidden_tokens: list[int],
) -> GRPOConfig:
    """TRL's settings of SRL.

    Raises:
        ConfigError: an option is unknown, ours to set, or refused by TRL; or checkpoints would
            fall between a generation and its last use, from which no exact resume is possible.
    """
    generation = {"suppress_tokens": forbidden_tokens, **table.get("generation_kwargs", {})}
    ours = {"reward_weights": reward_weights, "generation_kwargs": generation}
    rest = {key: value for key, value in table.items() if key != "generation_kwargs"}
    config = _config(GRPOConfig, "srl", {**_COMMON, **_SRL, **ours}, rest, folder, seed)
    generate_every = config.steps_per_generation * config.num_iterations
    if config.save_steps * config.gradient_accumulation_steps % generate_every:
        raise ConfigError(
            f"srl.save_steps: {config.save_steps} does not fall on a fresh generation; use a "
            f"multiple of {generate_every // config.gradient_accumulation_steps}"
        )
    return config


def check_options(section: str, table: Mapping[str, Any]) -> None:
    """Checks the names of a recipe's `[sft]` or `[srl]` table, on any machine.

    Raises:
        ConfigError: an option is unknown, or ours to set.
    """
    _check_names(SFTConfig if section == "sft" else GRPOConfig, section, table)


def _config(
    cls: type[Options],
    section: str,
    defaults: Mapping[str, Any],
    table: Mapping[str, Any],
    folder: Path,
    seed: int,
) -> Options:
    _check_names(cls, section, table)
    try:
        return cls(**{**defaults, **table, "output_dir": str(folder), "seed": seed})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[{section}] {cls.__name__}: {error}".replace("\n", " ")) from None


def _check_names(cls: type[_BaseConfig], section: str, table: Mapping[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    problems = [f"{section}.{key}: set {_OURS[key]} instead" for key in table if key in _OURS]
    for key in table.keys() - known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        problems.append(f"{section}.{key}: {cls.__name__} has no such option{hint}")
    if problems:
        raise ConfigError("; ".join(problems))
