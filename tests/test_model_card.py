"""What an exported policy says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mrg_r1.config import DataRecipe, PolicyRecipe, Recipe, load_recipe
from mrg_r1.model_card import model_card
from mrg_r1.policy.settings import LoraSettings, TinyConfig
from mrg_r1.records import Evaluation, Score, SystemScores, write_json
from mrg_r1.run import Run, to_json

SIGNATURE = "labeler:rules@0.2|uncertain:positive|labels:13|avg:micro|n:6|v:0.1.0"
RECIPE = Recipe(
    name="drawn",
    data=DataRecipe(train=3, test=6),
    policy=PolicyRecipe(tiny=TinyConfig(), instruction="Report it."),
)


def system(name: str, value: float, *others: Score) -> SystemScores:
    score = Score("ce_f1", value, value - 0.1, value + 0.1, SIGNATURE)
    return SystemScores(name, 6, (score, *others))


EVALUATION = Evaluation(
    (
        system("start", 0.25),
        system(
            "srl",
            0.5,
            Score("bleu-4", 0.2, 0.1, 0.3, "text:raw|n:6"),
            Score("ce_f1", 0.9, 0.9, 0.9, SIGNATURE.replace("positive", "negative")),
        ),
        system("constant-normal", 0.125),
    )
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    write_json(run.recipe, to_json(RECIPE))
    write_json(run.versions, {"mrg-r1": "0.1.0", "torch": "2.9.0"})
    EVALUATION.write(run.evaluation)
    return run


def with_recipe(run: Run, recipe: Recipe) -> str:
    write_json(run.recipe, to_json(recipe))
    return model_card(run, "drawn@0123")


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_a_card_says_what_it_is_and_what_it_is_not_for(run: Run) -> None:
    card = model_card(run, "drawn@0123")
    assert "**Research, not for clinical use.**" in card
    assert "`drawn@0123`" in card
    assert "\n    Report it.\n" in card
    assert "greedy, at most 256 tokens" in card
    assert '"torch": "2.9.0"' in card
    assert "all its weights were trained" in card
    assert "has only seen drawn studies" in card


def test_scores_stand_beside_those_of_constant_reports_with_their_signature(run: Run) -> None:
    rows = [line for line in model_card(run, "x").splitlines() if line.startswith("| ")]
    assert [cells(row) for row in rows] == [
        ["score", "the policy", "start", "constant-normal", "signature"],
        ["---"] * 5,
        ["ce_f1", "0.500 [0.400, 0.600]", "0.250", "0.125", f"`{SIGNATURE}`".replace("|", "\\|")],
        ["bleu-4", "0.200 [0.100, 0.300]", "", "", "`text:raw\\|n:6`"],
    ]


def test_a_run_that_was_not_judged_has_no_scores(run: Run) -> None:
    run.evaluation.unlink()
    assert "stopped before it was judged" in model_card(run, "x")


def test_a_card_tells_of_the_method_but_of_no_place(run: Run) -> None:
    policy = PolicyRecipe(path="/home/doe/models/Base-7B", lora=LoraSettings())
    card = with_recipe(run, replace(RECIPE, policy=policy, srl={"tower_cache": "~/doe/features"}))
    assert "It is Base-7B, " in card
    assert "LoRA of rank 128 is merged into its weights" in card
    assert '"path": "Base-7B"' in card
    assert '"tower_cache": "features"' in card
    assert "doe" not in card


def test_the_prompt_has_a_line_for_each_kind_of_context(run: Run) -> None:
    data = replace(RECIPE.data, context=("indication",))
    card = with_recipe(run, replace(RECIPE, data=data))
    assert "    Report it.\n    Indication: ...\n" in card


def test_an_instruction_cannot_pass_for_markup(run: Run) -> None:
    hostile = "# Cleared for care {n}\n```\n| a | b |"
    card = with_recipe(run, replace(RECIPE, policy=replace(RECIPE.policy, instruction=hostile)))
    for line in hostile.splitlines():
        assert f"\n    {line}\n" in card
    assert [line for line in card.splitlines() if line.startswith(("# ", "| a"))] == ["# drawn"]
    assert card.count("\n```\n") == card.count("\n```json\n") == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [("mccs", "a template of negatives"), ("ce-f1", "that it affirms"), ("overlap", "words")],
)
def test_the_limits_are_those_of_the_reward(run: Run, kind: str, said: str) -> None:
    reward = replace(RECIPE.reward, kind=kind)  # pyright: ignore[reportArgumentType]
    limits = with_recipe(run, replace(RECIPE, reward=reward)).partition("## Limits")[2]
    assert said in limits.partition("## Recipe")[0]


def test_the_card_tells_which_tower_and_what_it_was_not_rewarded_for(run: Run) -> None:
    card = with_recipe(run, load_recipe("iu-xray-tiny", ["data.root=studies"]))
    assert "It is a tiny FastVLM from random weights, its tower an EfficientNet-Lite0" in card
    assert "all its weights but those of the image tower" in card
    limits = card.partition("## Limits")[2]
    assert "less than for affirming" in limits
    assert "a template of negatives" not in limits
