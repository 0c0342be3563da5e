"""How a recipe's tables become TRL's settings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig

from mrg_r1.errors import ConfigError, MissingExtra
from mrg_r1.trainers import options
from mrg_r1.trainers.batches import divided
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.options import WORDS, check_options, forbid, grpo_config

CPU = {"bf16": False, "gradient_checkpointing": False}
WEIGHTS = [0.75, 0.25]


def grpo(folder: Path, **table: Any) -> GRPOConfig:
    with faults_named(folder):
        return grpo_config({**CPU, **table}, folder, 3, reward_weights=WEIGHTS)


def test_the_papers_settings_are_the_defaults(tmp_path: Path) -> None:
    config = grpo(tmp_path, per_device_train_batch_size=8)
    assert (config.num_generations, config.loss_type, config.scale_rewards) == (4, "grpo", "group")
    assert (config.seed, config.reward_weights) == (3, WEIGHTS)
    assert config.output_dir == str(tmp_path)
    assert (config.report_to, config.push_to_hub, config.disable_tqdm) == ([], False, True)


def test_options_of_trl_pass_through(tmp_path: Path) -> None:
    config = grpo(tmp_path, loss_type="dr_grpo", beta=0, num_generations=2, scale_rewards=False)
    assert (config.loss_type, config.beta, config.num_generations) == ("dr_grpo", 0, 2)
    assert config.scale_rewards == "none"


BATCHES = [
    ({}, 1, (16, 1)),
    ({}, 2, (8, 1)),
    ({"gradient_accumulation_steps": 4}, 2, (2, 4)),
    ({"per_device_train_batch_size": 4}, 2, (4, 2)),
    ({"per_device_train_batch_size": 4}, 4, (4, 1)),
    ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, 2, (4, 2)),
]


@pytest.mark.parametrize(("table", "processes", "expected"), BATCHES)
def test_an_effective_batch_is_divided(
    table: dict[str, int], processes: int, expected: tuple[int, int]
) -> None:
    options = divided("srl", {"effective_batch_size": 16, "beta": 0, **table}, processes)
    each, parts = expected
    assert options == {
        "beta": 0,
        "per_device_train_batch_size": each,
        "gradient_accumulation_steps": parts,
    }


EACH, PARTS = "per_device_train_batch_size", "gradient_accumulation_steps"
UNEVEN = [
    ({}, 3, "among 3 processes", "effective_batch_size=18"),
    ({}, 32, "among 32 processes", "effective_batch_size=32"),
    ({EACH: 4}, 8, f"8 processes x 4 ({EACH})", f"{EACH}=2"),
    ({EACH: 3}, 2, f"2 processes x 3 ({EACH})", f"{EACH}=1"),
    ({EACH: 0}, 2, f"2 processes x 0 ({EACH})", f"{EACH}=8"),
    ({PARTS: 0}, 2, f"2 processes x 0 ({PARTS})", f"{PARTS}=8"),
    ({PARTS: 3}, 1, f"1 process x 3 ({PARTS})", f"{PARTS}=1"),
    ({EACH: 4, PARTS: 2}, 1, f"1 process x 4 ({EACH}) x 2 ({PARTS})", f"{PARTS}=4"),
    ({EACH: 4, PARTS: 2}, 16, f"16 processes x 4 ({EACH}) x 2 ({PARTS})", f"{EACH}=1"),
]


@pytest.mark.parametrize(("table", "processes", "what", "instead"), UNEVEN)
def test_an_effective_batch_that_does_not_come_out_is_refused(
    table: dict[str, int], processes: int, what: str, instead: str
) -> None:
    with pytest.raises(ConfigError, match=f"^srl.effective_batch_size: .*{re.escape(what)}") as no:
        divided("srl", {"effective_batch_size": 16, **table}, processes)
    keys = dict(re.findall(r"--set srl\.(\w+)=(\d+)", str(no.value)))
    assert instead in [f"{key}={value}" for key, value in keys.items()]
    advised = {key: int(value) for key, value in keys.items()}
    divided("srl", {"effective_batch_size": 16, **table, **advised}, processes)


def test_the_effective_batch_of_a_recipe_reaches_trl(tmp_path: Path) -> None:
    config = grpo(tmp_path, effective_batch_size=16, per_device_train_batch_size=4)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (4, 4)
    with pytest.raises(ConfigError, match=r"srl.effective_batch_size: '16' is not an integer"):
        check_options("srl", {"effective_batch_size": "16"})


REFUSED = {
    "unknown": ({"num_generation": 4}, r"no such option \(did you mean 'num_generations'\?\)"),
    "far from any": ({"zzz": 4}, r"srl.zzz: GRPOConfig has no such option$"),
    "steps that are not logged": ({"logging_steps": 10}, "srl.logging_steps: leave it out; every"),
    "no log": ({"logging_strategy": "no"}, "srl.logging_strategy: leave it out; every step is"),
    "evaluation inside": (
        {"eval_strategy": "steps"},
        "srl.eval_strategy: leave it out; the policy",
    ),
    "two at once": ({"zzz": 4, "seed": 1}, r"srl.seed: set the recipe's seed.*; srl.zzz"),
    "weights": ({"reward_weights": [1]}, "set reward.clinical_weight and reward.format_weight"),
    "hub": ({"push_to_hub": True}, "no data or weights leave the machine"),
    "code": ({"trust_remote_code": True}, "no code of a model folder is run"),
    "strategy": ({"save_strategy": "no"}, "srl.save_strategy: set save_steps instead"),
    "group size": ({"per_device_train_batch_size": 6}, r"\[srl\] GRPOConfig: .*divisible"),
    "word": ({"learning_rate": "fast"}, r"srl.learning_rate: 'fast' is not a number"),
    "quoted": ({"max_steps": "5"}, r"srl.max_steps: '5' is not an integer"),
    "fraction": ({"num_generations": 4.5}, r"srl.num_generations: 4.5 is not an integer"),
    "no switch": ({"bf16": 1}, r"srl.bf16: 1 is not true or false"),
    "switch": ({"beta": True}, r"srl.beta: True is not a number"),
    "loss": ({"loss_type": "drgrpo"}, r"srl.loss_type: 'drgrpo' is none of grpo, dr_grpo, dapo"),
    "no word": ({"loss_type": 3}, r"srl.loss_type: 3 is none of grpo"),
    "list": (
        {"scale_rewards": ["none"]},
        r"srl.scale_rewards: \['none'\] is none of group, .*false",
    ),
    "level": ({"importance_sampling_level": "word"}, "'word' is none of token, sequence"),
    "sum": ({"multi_objective_aggregation": "gdpo"}, "none of sum_then_normalize, normalize_"),
    "unknown name": ({"optim": "adamm"}, r"\[srl\] GRPOConfig: "),
    "bf16": ({"bf16": True}, r"\[srl\] GRPOConfig: .*bf16"),
    "share of steps": ({"save_steps": 0.5}, "srl.save_steps: 0.5 is not a number of steps"),
    "no steps": ({"save_steps": 0}, "srl.save_steps: "),
    "one checkpoint": ({"save_total_limit": 1}, "use 2 or more"),
    "every tracker": ({"report_to": "all"}, "'all' is none of trackio, tensorboard, wandb"),
    "no tracker": ({"report_to": ["wandb", 3]}, "srl.report_to: 3 is none of trackio, "),
    "shown to others": (
        {"report_to": "wandb", "log_completions": True},
        "srl.log_completions: would give a tracker images and reports of patients",
    ),
    "stale": ({"steps_per_generation": 4, "save_steps": 6}, "use a multiple of 4"),
    "iterations": ({"num_iterations": 3, "save_steps": 4}, "use a multiple of 3"),
    "accumulated": (
        {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 3},
        "use a multiple of 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    table, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message) as raised:
        grpo(tmp_path, **{"per_device_train_batch_size": 8, **table})
    assert "\n" not in str(raised.value).strip()


@pytest.mark.parametrize(
    "table",
    [
        {"steps_per_generation": 4, "save_steps": 8},
        {"num_iterations": 3, "save_steps": 6},
        {"gradient_accumulation_steps": 4, "save_steps": 1},
        {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 4},
        {"save_total_limit": 3},
    ],
    ids=str,
)
def test_checkpoints_on_fresh_generations_are_allowed(
    tmp_path: Path, table: dict[str, Any]
) -> None:
    assert grpo(tmp_path, per_device_train_batch_size=8, **table)


@pytest.mark.parametrize("key", WORDS)
def test_the_words_we_know_are_those_of_trl(key: str) -> None:
    source = inspect.getsource(grpo_trainer)
    compared = re.findall(rf"(?:args|self)\.{key} (?:[!=]= |in )(\[[^]]*\]|\"[^\"]*\")", source)
    found = {word for text in compared for word in re.findall(r'"([^"]+)"', text)}
    assert found == {word for word in WORDS[key] if isinstance(word, str)}


def test_names_are_checked_without_a_machine_that_could_train() -> None:
    check_options("srl", {"bf16": True, "num_generations": 4, "deepspeed": {}})
    with pytest.raises(ConfigError, match=r"sft.beta: SFTConfig has no such option"):
        check_options("sft", {"beta": 0.1})


def test_a_recipe_names_who_tracks_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "get_available_reporting_integrations", lambda: ["trackio"])
    assert grpo(tmp_path, report_to="trackio", log_completions=False).report_to == ["trackio"]
    assert grpo(tmp_path, report_to="none", log_completions=True).report_to == []
    with pytest.raises(MissingExtra, match=r"wandb is not installed; type: pip install wandb"):
        grpo(tmp_path, report_to=["trackio", "wandb"])


def test_forbidden_tokens_add_to_the_recipes_own(tmp_path: Path) -> None:
    config = grpo(tmp_path, generation_kwargs={"suppress_tokens": [9], "num_beams": 1})
    forbid(config, [5, 7])
    assert config.generation_kwargs == {"suppress_tokens": [5, 7, 9], "num_beams": 1}


def test_forbidden_tokens_are_biased_away_under_vllm(tmp_path: Path) -> None:
    config = grpo(tmp_path, generation_kwargs={"logit_bias": {9: -1.0}})
    config.use_vllm = True
    forbid(config, [5])
    assert config.generation_kwargs == {"logit_bias": {9: -1.0, 5: -100.0}}
