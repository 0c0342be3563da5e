"""What a dry run tells beside the recipe: adapter, steps, a prompt, rewards."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mrg_r1.config import DataRecipe, Recipe, load_recipe
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.dry_run import details
from mrg_r1.errors import ConfigError
from mrg_r1.policy.load import load_policy
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy.writing import encode
from tiny_families import save
from tiny_runs import INSTRUCTION, tiny_recipe

pytestmark = pytest.mark.slow


def of_table(**policy: object) -> Recipe:
    """A recipe whose samples are given to `details`, not read."""
    recipe = tiny_recipe(**policy)
    return replace(recipe, data=DataRecipe(source="table", root="studies.csv"))


def told(lines: list[str], about: str) -> str:
    (line,) = [line for line in lines if line.startswith(about)]
    return line


def test_what_is_known_of_the_paper_without_weights_and_data() -> None:
    lines = details(load_recipe("paper-iu-xray", ["data.root=nowhere"]), [])
    targets = [line for line in lines if line.startswith("LoRA targets: ")]
    assert len(targets) == 7
    assert targets[0] == "LoRA targets: 28 x model.language_model.layers.*.self_attn.q_proj"
    assert told(lines, "LoRA weights: ").startswith(
        "LoRA weights: 322,961,408 learn, 8,292,166,656"
    )
    assert told(lines, "SRL step: ") == (
        "SRL step: 16 completions = 1 process x 4 x 4 accumulated; 4 prompts of 4"
    )
    assert told(lines, "SRL steps: ").startswith("SRL steps: 1,064, of 4,258 samples (assumed, for")
    assert "sample: rendered once policy.path and data.root are here" in lines
    assert "rewards: computed once data.root and the labeler are here" in lines


def test_the_tokens_told_are_those_that_the_policy_reads(
    drawn: list[Sample], tmp_path: Path
) -> None:
    folder = save("qwen2_5_vl", tmp_path / "model")
    recipe = of_table(path=str(folder), tiny=None, warmup=None, max_pixels=3136)
    recipe = replace(recipe, policy=replace(recipe.policy, lora=LoraSettings(rank=2)))
    lines = details(recipe, drawn)
    policy = load_policy(folder, instruction=INSTRUCTION, max_pixels=3136)
    ids = encode(policy, [[read_image(path) for path in drawn[0].images]])["input_ids"]
    seen = int((ids == policy.model.config.image_token_id).sum())
    count = ids.numel()
    assert told(lines, "tokens: ") == f"tokens: {count} = {seen} of images + {count - seen} of text"
    assert INSTRUCTION in told(lines, "it reads: ")
    assert told(lines, "its reference: ") == f"its reference: {drawn[0].reference}"
    assert len([line for line in lines if line.startswith("LoRA targets: 2 x ")]) == 7


def test_three_references_earn_all_of_the_reward_themselves(drawn: list[Sample]) -> None:
    several = [replace(drawn[n % len(drawn)], id=f"s{n}") for n in range(8)]
    lines = details(of_table(), several)
    beside = [line for line in lines if line.startswith("reward beside the reference of ")]
    assert [re.findall(r"of (s\d):", line) for line in beside] == [["s0"], ["s3"], ["s6"]]
    for line in beside:
        own, others, normal = map(float, re.findall(r"(\d\.\d\d) for", line))
        assert own == 1.0
        assert 0.25 <= min(others, normal) <= max(others, normal) <= 1.0  # the format is right


def test_a_drawn_studys_prompt_holds_what_the_recipe_asks_for() -> None:
    recipe = load_recipe("quickstart", ['data.context=["indication"]'])
    assert "\n  Indication: " in told(details(recipe, []), "it reads: ")


def test_an_effective_batch_that_does_not_come_out_is_refused() -> None:
    recipe = of_table()
    srl = {**recipe.srl, "effective_batch_size": 12}
    with pytest.raises(ConfigError, match=r"srl.effective_batch_size: 12 is not 1 process x "):
        details(replace(recipe, srl=srl), [])
