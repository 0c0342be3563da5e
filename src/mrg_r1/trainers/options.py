"""From a recipe's `[sft]` and `[srl]` tables to TRL's configuration classes.

Every TRL option passes through untouched. Ours are only the defaults that a report generator
needs, the refusal of keys that the program itself must set, and a few keys: `effective_batch_size`
(`trainers.batches`) and those of `trainers.savings`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_available_reporting_integrations
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from mrg_r1.errors import ConfigError, MissingExtra
from mrg_r1.trainers import engines, savings
from mrg_r1.trainers.batches import EFFECTIVE, divided
from mrg_r1.trainers.processes import on_cpu, processes

Options = TypeVar("Options", bound=TrainingArguments)

_COMMON: dict[str, Any] = {
    "logging_steps": 1,
    # A loss that is not a number must be seen, not averaged away.
    "logging_nan_inf_filter": False,
    "save_strategy": "steps",
    "save_steps": 50,
    # Two, so that one whole checkpoint remains while the next is being written.
    "save_total_limit": 2,
    # Progress is drawn by our own callback.
    "disable_tqdm": True,
    "report_to": "none",
    "push_to_hub": False,
    "dataloader_pin_memory": torch.accelerator.is_available(),
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

WORDS = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}
"""Values of SRL's options that TRL looks at when SRL begins, which may be after hours."""

TRACKERS = ("trackio", "tensorboard", "wandb")
"""Who may be told of a run's figures beside its folder (`report_to`)."""

_OURS = {
    "output_dir": "--out",
    "seed": "the recipe's seed",
    "reward_weights": "reward.clinical_weight and reward.format_weight",
    "resume_from_checkpoint": "--resume",
    "save_strategy": "save_steps",
}
"""Options that the program sets, and what a recipe says instead."""

_NEVER = {
    "push_to_hub": "no data or weights leave the machine",
    "remove_unused_columns": "rewards need every column",
    "save_only_model": "a run must be able to go on",
    "trust_remote_code": "no code of a model folder is run",
    "logging_steps": "every step is recorded, and looked at for what is no number",
    "logging_strategy": "every step is recorded",
    "eval_strategy": "the policy is judged before and after",
    "ddp_timeout": "processes wait two hours for one",
}
"""Options that the program sets, and why nobody else does."""


def sft_config(table: Mapping[str, Any], folder: Path, seed: int) -> SFTConfig:
    """TRL's settings of the supervised start.

    Raises:
        ConfigError: an option is unknown, ours to set, or refused by TRL.
        MissingExtra: a tracker of `report_to` is not installed.
    """
    return _config(SFTConfig, "sft", {**_COMMON, **_SFT}, table, folder, seed)


def grpo_config(
    table: Mapping[str, Any], folder: Path, seed: int, *, reward_weights: Sequence[float]
) -> GRPOConfig:
    """TRL's settings of SRL.

    Raises:
        ConfigError: an option is unknown, ours to set, or refused by TRL; or checkpoints would
            fall between a generation and its last use, from which no exact resume is possible.
        MissingExtra: a tracker of `report_to` is not installed.
    """
    defaults = {**_COMMON, **_SRL, "reward_weights": list(reward_weights)}
    config = _config(GRPOConfig, "srl", defaults, table, folder, seed)
    if config.save_steps % (step := fresh_every(config)):
        raise ConfigError(
            f"srl.save_steps: {config.save_steps} does not fall on a fresh generation; "
            f"use a multiple of {step}"
        )
    return config


def fresh_every(config: TrainingArguments) -> int:
    """After how many steps nothing is left to learn from what SRL has generated; 1 in SFT."""
    if not isinstance(config, GRPOConfig):
        return 1
    accumulated = config.gradient_accumulation_steps
    generate_every = (config.steps_per_generation or accumulated) * config.num_iterations
    return generate_every // math.gcd(generate_every, accumulated)


def forbid(config: GRPOConfig, tokens: Sequence[int]) -> None:
    """Keeps the trainer from sampling these tokens, beside those that the recipe forbids."""
    given = cast("dict[str, Any]", config.generation_kwargs or {})
    if config.use_vllm:
        # vLLM has no list of suppressed tokens; its lowest bias is -100.
        bias = dict.fromkeys(tokens, -100.0)
        config.generation_kwargs = {**given, "logit_bias": {**given.get("logit_bias", {}), **bias}}
    else:
        suppressed = sorted({*tokens, *given.get("suppress_tokens", [])})
        config.generation_kwargs = {**given, "suppress_tokens": suppressed}


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
    options = divided(section, table, processes())
    options = {key: value for key, value in options.items() if key not in savings.KEYS[section]}
    settings: dict[str, Any] = {
        # Not with bf16: on a CPU it is refused, lest a large model be trained there unawares.
        "use_cpu": on_cpu() and not options.get("bf16", not options.get("fp16")),
        **defaults,
        **options,
        "output_dir": str(folder),
        "seed": seed,
    }
    if options.get("deepspeed"):
        engines.heed_deepspeed()
    try:
        # A copy, for the table of FSDP is edited.
        config = cls(**copy.deepcopy(settings))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[{section}] {cls.__name__}: {error}") from None
    for tracker in config.report_to or ():
        if tracker not in get_available_reporting_integrations():
            raise MissingExtra(
                f"{section}.report_to: {tracker} is not installed; type: pip install {tracker}"
            )
    if config.save_steps < 1 or config.save_steps != int(config.save_steps):
        raise ConfigError(f"{section}.save_steps: {config.save_steps} is not a number of steps")
    if config.save_total_limit == 1:
        raise ConfigError(
            f"{section}.save_total_limit: 1 would delete the last whole checkpoint while the next "
            "is being written; use 2 or more"
        )
    return config


def _check_names(cls: type[Any], section: str, table: Mapping[str, Any]) -> None:
    hints = {EFFECTIVE: int} | typing.get_type_hints(cls)
    options = {EFFECTIVE} | {field.name for field in dataclasses.fields(cls) if field.init}
    known = options | {*savings.KEYS[section]}
    problems = [
        f"{section}.{key}: leave it out; {_NEVER[key]}" for key in table if key in _NEVER
    ] + [f"{section}.{key}: set {_OURS[key]} instead" for key in table if key in _OURS]
    for key in sorted(table.keys() - known - _OURS.keys() - _NEVER.keys()):
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        problems.append(f"{section}.{key}: {cls.__name__} has no such option{hint}")
    problems += [
        f"{section}.{key}: {table[key]!r} is not {expected}"
        for key in sorted(table.keys() & options)
        if (expected := _misfit(hints[key], table[key]))
    ]
    problems += savings.problems(section, table) + engines.problems(section, table)
    problems += _unknown_words(table) if section == "srl" else []
    problems += _mistracked(section, table)
    if problems:
        raise ConfigError("; ".join(problems))


def _unknown_words(table: Mapping[str, Any]) -> list[str]:
    return [
        f"srl.{key}: {table[key]!r} is none of {', '.join(str(word).lower() for word in words)}"
        for key, words in WORDS.items()
        if key in table and table[key] not in words
    ]


def _mistracked(section: str, table: Mapping[str, Any]) -> list[str]:
    asked = table.get("report_to", "none")
    names = asked if isinstance(asked, list) else [asked]
    if names in ([], ["none"]):
        return []
    problems = [
        f"{section}.report_to: {name!r} is none of {', '.join(TRACKERS)}"
        for name in cast("list[Any]", names)
        if name not in TRACKERS
    ]
    if table.get("log_completions"):
        problems.append(
            f"{section}.log_completions: would give a tracker images and reports of patients; "
            "leave it out, completions.jsonl keeps some"
        )
    return problems


def _misfit(hint: Any, value: Any) -> str:
    """What a number or a switch should have been, or ''; TRL looks at neither."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = set(typing.get_args(hint) if union else (hint,)) - {types.NoneType}
    if type(value) in options or not options <= _NAMES.keys():
        return ""
    if float in options and type(value) is int:
        return ""
    return " or ".join(name for option, name in _NAMES.items() if option in options)


_NAMES = {int: "an integer", float: "a number", bool: "true or false"}
