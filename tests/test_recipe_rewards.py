from pathlib import Path
from typing import Any

import pytest

from mrg_r1.completion import render
from mrg_r1.config import (
    DataRecipe,
    HealthRecipe,
    LabelerRecipe,
    Recipe,
    RewardRecipe,
    load_recipe,
)
from mrg_r1.data import phantom
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.recipe_rewards import (
    make_readers,
    make_rewards,
    reward_weights,
    second_judge,
    training_references,
)
from mrg_r1.rewards.ce_f1 import CeF1Reward
from mrg_r1.rewards.mccs import MccsReward

REFERENCES = [
    "Cardiomegaly. No pleural effusion or pneumothorax.",
    "Heart size is normal. No pneumothorax.",
    "Small left pleural effusion. No pneumothorax.",
]

# The rows of Table II that are rewards, and options beyond the paper.
RECIPES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "the paper's": ({}, {"mccs": 0.75, "format": 0.25}),
    "MCCS alone": ({"clinical_weight": 1.0, "format_weight": 0.0}, {"mccs": 1.0}),
    "format only": ({"clinical_weight": 0.0, "format_weight": 1.0}, {"format": 1.0}),
    "CE-F1 alone": (
        {"kind": "ce-f1", "clinical_weight": 1.0, "format_weight": 0.0},
        {"ce_f1": 1.0},
    ),
    "CE-F1 and format": ({"kind": "ce-f1"}, {"ce_f1": 0.75, "format": 0.25}),
    "NLG": ({"kind": "overlap", "clinical_weight": 1.0, "format_weight": 0.0}, {"overlap": 1.0}),
    "a blend": ({"f1_share": 0.2}, {"ce_f1": 0.15, "mccs": 0.6, "format": 0.25}),
    "penalties": (
        {"repetition_penalty": 0.1, "contradiction_penalty": 0.2, "length_penalty": 0.3},
        {"mccs": 0.75, "format": 0.25, "repetition": 0.1, "contradiction": 0.2, "length": 0.3},
    ),
}


@pytest.mark.parametrize(("options", "weights"), RECIPES.values(), ids=RECIPES)
def test_each_reward_has_its_weight_and_name(
    options: dict[str, Any], weights: dict[str, float]
) -> None:
    recipe = RewardRecipe(**options)
    assert reward_weights(recipe) == pytest.approx(weights)
    made = make_rewards(recipe, RulesLabeler(), REFERENCES)
    assert {reward.__name__: weight for reward, weight in made} == pytest.approx(weights)
    for reward, _ in made:
        honest, silent = reward([render("a", REFERENCES[0]), ""], reference=REFERENCES[:1] * 2)
        assert honest > silent or reward.__name__ in ("repetition", "contradiction")


def test_options_reach_their_reward() -> None:
    recipe = RewardRecipe(
        margin=0.1, both_empty=0.9, negative_weight=0.4, uncertain=-0.5, rarity_cap=3, f1_share=0.5
    )
    (f1, _), (mccs, _), _ = make_rewards(recipe, RulesLabeler(), REFERENCES)
    assert isinstance(mccs, MccsReward)
    assert (mccs.margin, mccs.both_empty, mccs.negative_weight) == (0.1, 0.9, 0.4)
    assert mccs.uncertain == -0.5
    assert mccs.rarity
    assert isinstance(f1, CeF1Reward)
    assert (f1.labels, f1.uncertain, f1.both_empty) == (13, "negative", 0.9)
    ((alone, _),) = make_rewards(
        RewardRecipe(kind="ce-f1", format_weight=0), RulesLabeler(), REFERENCES
    )
    assert isinstance(alone, CeF1Reward)
    assert (alone.labels, alone.uncertain) == (14, "positive")


def test_soft_needs_a_labeler_with_probabilities() -> None:
    with pytest.raises(ConfigError, match="no probabilities"):
        make_rewards(RewardRecipe(soft=True), RulesLabeler(), REFERENCES)


def test_what_has_no_weight_is_not_made() -> None:
    recipe = RewardRecipe(clinical_weight=0, soft=True, rarity_cap=3)
    assert [reward.__name__ for reward, _ in make_rewards(recipe, RulesLabeler(), [])] == ["format"]


# A recipe's labeler and its `health.judge`, and who judges.
JUDGES: dict[str, tuple[LabelerRecipe, str, str]] = {
    "the other preset": (LabelerRecipe(), "auto", "rules-chexpert"),
    "the other preset again": (LabelerRecipe(preset="chexpert"), "auto", "rules"),
    "as asked": (LabelerRecipe(), "rules-chexbert", "rules"),
    "rules beside a network": (LabelerRecipe("chexbert", weights="w"), "auto", "rules"),
}


@pytest.mark.parametrize(("labeler", "asked", "name"), JUDGES.values(), ids=JUDGES)
def test_the_second_judge_is_not_the_reward(labeler: LabelerRecipe, asked: Any, name: str) -> None:
    judge = second_judge(Recipe("x", labeler=labeler, health=HealthRecipe(asked)))
    assert isinstance(judge, CeF1Reward)
    assert (judge.labels, judge.labeler.identity.partition("@")[0]) == (13, name)


def test_where_f1_is_the_reward_the_judge_is_the_cosine() -> None:
    judge = second_judge(Recipe("x", reward=RewardRecipe(kind="ce-f1")))
    assert isinstance(judge, MccsReward)
    assert judge.margin == 0


def test_no_second_judge() -> None:
    recipe = Recipe("x", health=HealthRecipe("none"))
    assert second_judge(recipe) is None
    assert make_readers(recipe, RulesLabeler()).judge is None


def test_a_judge_that_is_not_here_is_named() -> None:
    recipe = Recipe(
        "x",
        labeler=LabelerRecipe(weights="/no/w.pth", vocabulary="/no/v.txt"),
        health=HealthRecipe("chexbert"),
    )
    with pytest.raises(DataError, match=r"/no/w.pth: no such file"):
        second_judge(recipe)


def test_training_references_are_what_would_be_drawn(tmp_path: Path) -> None:
    told = Recipe("x", seed=3, data=DataRecipe(train=4, test=1))
    phantom.draw(tmp_path, train=4, val=0, test=1, seed=3, size=64)
    drawn = Recipe("x", data=DataRecipe(root=str(tmp_path)))
    assert training_references(told) == training_references(drawn)
    assert len(training_references(told)) == 4


def test_no_training_references(tmp_path: Path) -> None:
    table = tmp_path / "studies.csv"
    (tmp_path / "a.png").touch()
    table.write_text("id,image,report,split\na,a.png,clear,test\n")
    recipe = load_recipe("paper-iu-xray", ["data.source=table", f"data.root={table}"])
    with pytest.raises(DataError, match="no study of the training split has a findings"):
        training_references(recipe)
