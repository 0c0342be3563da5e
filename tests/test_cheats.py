import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.cheats import CHEATS, Paid, cheats_paid, statement
from mrg_r1.cli import main
from mrg_r1.completion import INSTRUCTION
from mrg_r1.config import RewardRecipe, load_recipe, recipe_names
from mrg_r1.errors import DataError
from mrg_r1.findings import DISEASES, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.recipe_rewards import make_rewards, training_references
from mrg_r1.rewards.total import TotalReward

LABELER = RulesLabeler()
REFERENCES = training_references(load_recipe("quickstart", ["data.train=200"]))

# Each reward with what it pays: measured, so that a change of a reward or labeler shows here.
PAYS_IN_THE_PAPER = {
    "the reference, hedged",
    "the reference three times",
    "the reference and 50 kB",
}


def paid(**options: Any) -> dict[str, Paid]:
    rewards = make_rewards(RewardRecipe(**options), LABELER, REFERENCES)
    found = cheats_paid(
        TotalReward(tuple(rewards)), LABELER, REFERENCES, instruction=INSTRUCTION, studies=100
    )
    return {row.name: row for row in found}


def pays(**options: Any) -> set[str]:
    return {name for name, row in paid(**options).items() if row.pays}


@pytest.mark.parametrize("status", [Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN])
def test_a_statement_is_read_as_it_was_meant(status: Status) -> None:
    labels = Labels.of(dict.fromkeys(DISEASES, status))
    (read,) = LABELER.label([statement(labels)])
    # CheXbert reads a possible opacity as an opacity.
    findings = [f for f in DISEASES if f is not Finding.LUNG_OPACITY]
    assert {read[finding] for finding in findings} == {status}


def test_the_honest_earn_most_and_the_reference_everything() -> None:
    found = paid()
    assert found["honest: the reference"].reward > 0.95
    assert found["honest: a third left out"].reward < found["honest: the reference"].reward
    for name in ("empty", "tags only", "tag soup", "two reports", "prompt echoed"):
        assert found[name].reward == 0.0
    assert len(found) == len(CHEATS) + 2


def test_what_the_papers_reward_pays() -> None:
    assert pays() == PAYS_IN_THE_PAPER


@pytest.mark.parametrize("name", sorted(PAYS_IN_THE_PAPER))
def test_the_named_option_closes_it(name: str) -> None:
    (cheat,) = [cheat for cheat in CHEATS if cheat.name == name]
    key, value = cheat.remedy.removeprefix("reward.").split("=")
    assert name not in pays(**{key: float(value)})


def test_all_options_together_pay_no_cheat() -> None:
    assert not pays(uncertain=0.5, repetition_penalty=0.25, length_penalty=0.25)


def test_rewards_that_pay_anything_are_found() -> None:
    assert "constant normal report" in pays(clinical_weight=0, format_weight=1)
    assert "the reference, hedged" in pays(kind="ce-f1")


def test_every_remedy_is_an_option_of_recipes() -> None:
    for cheat in CHEATS:
        load_recipe("quickstart", [cheat.remedy])


def test_references_that_are_all_alike() -> None:
    with pytest.raises(DataError, match="all references are alike"):
        cheats_paid(TotalReward.paper(), LABELER, ["Clear."] * 3, instruction="x")


def test_a_tie_pays() -> None:
    row = Paid("x", {"reward": 0.5}, limit=0.5)
    assert row.pays
    assert not replace(row, limit=0.6).pays
    assert not replace(row, limit=None).pays


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mrg-r1", "doctor", "reward", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_the_command_names_the_cheat_and_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "quickstart", "--studies", "50") == 1
    shown = capsys.readouterr()
    assert "the reference three times" in shown.out
    assert "reward.repetition_penalty=0.25" in shown.err


def test_the_command_is_content_with_a_closed_reward(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("uncertain=0.5", "repetition_penalty=0.25", "length_penalty=0.25")
    changes = [word for option in options for word in ("--set", f"reward.{option}")]
    assert command(monkeypatch, "quickstart", "--studies", "50", "--json", *changes) == 0
    rows = json.loads(capsys.readouterr().out)
    assert not any(row["pays"] for row in rows)
    assert rows[0]["name"] == "honest: the reference"
    assert rows[0]["components"]["mccs"] > 0.9


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_can_be_examined(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    rules = ("--set", "labeler.name=rules")  # CheXbert's weights do not ship
    assert command(monkeypatch, name, "--studies", "20", *rules) in (0, 1)
    if name != "quickstart":
        assert "drawn studies instead" in capsys.readouterr().err
