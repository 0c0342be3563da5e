"""The paper's recipes, number by number, as section IV-B gives them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.config import Recipe, load_recipe
from mrg_r1.errors import ConfigError
from mrg_r1.plan.job import job_of
from mrg_r1.policy.settings import LoraSettings

STATED: dict[str, tuple[str, Any]] = {
    "'HuatuoGPT-Vision-7B-Qwen2.5VL'": ("policy.path", "models/HuatuoGPT-Vision-7B-Qwen2.5VL"),
    "'bfloat16': weights": ("policy.dtype", "bfloat16"),
    "'FlashAttention-2'": ("policy.attention", "flash_attention_2"),
    "LoRA 'rank 128'": ("policy.lora.rank", 128),
    "LoRA 'alpha = 256'": ("policy.lora.alpha", 256),
    "LoRA 'dropout 0.05'": ("policy.lora.dropout", 0.05),
    "'on attention and MLP projections'": (
        "policy.lora.targets",
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
    "nothing said of the image tower": ("policy.lora.vision", False),
    "'bfloat16': computing": ("srl.bf16", True),
    "'8-bit AdamW'": ("srl.optim", "adamw_bnb_8bit"),
    "'learning rate 5e-6'": ("srl.learning_rate", 5e-6),
    "beta 1 '0.9'": ("srl.adam_beta1", 0.9),
    "beta 2 '0.99'": ("srl.adam_beta2", 0.99),
    "'weight decay 0.1'": ("srl.weight_decay", 0.1),
    "'cosine decay'": ("srl.lr_scheduler_type", "cosine"),
    "'10% warm-up'": ("srl.warmup_steps", 0.1),
    "'gradient clipping at 0.1'": ("srl.max_grad_norm", 0.1),
    "'effective batch size 16'": ("srl.effective_batch_size", 16),
    "'1 training epoch'": ("srl.num_train_epochs", 1),
    "'DeepSpeed ZeRO-1'": ("srl.deepspeed.zero_optimization.stage", 1),
    "'G = 4 candidate reports'": ("srl.num_generations", 4),
    "'clinical (0.75)'": ("reward.clinical_weight", 0.75),
    "'format (0.25)'": ("reward.format_weight", 0.25),
    "'CheXbert-based' (section IV-C)": ("labeler.name", "chexbert"),
    "each image a sample (section IV-A)": ("data.views", "each"),
    "judged on the test split": ("data.eval_split", "test"),
}
RECIPES = {name: load_recipe(name) for name in ("paper-iu-xray", "paper-mimic-cxr")}


def value_of(recipe: Recipe, key: str) -> Any:
    found: Any = asdict(recipe)
    for part in key.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("said", STATED)
def test_a_recipe_has_what_the_paper_states(name: str, said: str) -> None:
    key, value = STATED[said]
    assert value_of(RECIPES[name], key) == value


@pytest.mark.parametrize("name", RECIPES)
def test_the_effective_batch_is_made_of_any_number_of_gpus_or_refused(name: str) -> None:
    for gpus, parts in ((1, 4), (2, 2), (4, 1)):
        job = job_of(RECIPES[name].srl, gpus)
        assert (job.parts, job.batch, job.group) == (parts, 16, 4)
    with pytest.raises(ConfigError, match=r"srl.effective_batch_size: 16 is not divided evenly"):
        job_of(RECIPES[name].srl, 3)


def test_both_data_sets_are_trained_on_alike() -> None:
    iu, mimic = RECIPES.values()
    assert replace(mimic, name=iu.name, data=iu.data) == iu
    assert mimic.data == replace(iu.data, source="mimic-cxr", root="data/mimic-cxr-jpg")


def test_the_recipe_of_one_gpu_departs_where_it_says() -> None:
    iu, one = RECIPES["paper-iu-xray"], load_recipe("paper-iu-xray-24gb")
    there = replace(iu.policy, quantization="4bit", max_pixels=1280 * 28 * 28, attention="sdpa")
    srl = {key: value for key, value in iu.srl.items() if key != "deepspeed"}
    assert one == replace(iu, name=one.name, policy=there, srl=srl)
    assert one.policy.lora == LoraSettings()


REFUSED = {
    "4 bits that would have to learn": (
        "paper-iu-xray",
        {"quantization": "4bit", "lora": None},
        "policy.quantization: 4-bit weights cannot learn; add a [policy.lora] table",
    ),
    "4 bits of a tiny policy": (
        "quickstart",
        {"quantization": "4bit"},
        "policy.quantization: only for a policy.path; a tiny policy is small enough",
    ),
    "the pixels of a tiny policy": (
        "quickstart",
        {"max_pixels": 50176},
        "policy.max_pixels: only for a policy.path; use policy.tiny.pixels",
    ),
    "images of less than a token": (
        "paper-iu-xray",
        {"max_pixels": 783},
        "policy.max_pixels: 783 is not 0 or at least 1024",
    ),
    "3 bits": (
        "paper-iu-xray",
        {"quantization": "3bit"},
        "policy.quantization: '3bit' is not one of none, 4bit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    name, keys, message = REFUSED[case]
    table = asdict(load_recipe(name))
    table["policy"] |= keys
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert str(caught.value) == f"recipe {path}: {message}"
