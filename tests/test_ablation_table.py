"""What the rows of Table II are, and what is told of a grid of them; nothing is trained."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mrg_r1.ablate.rows import UNTRAINED, check_rows, chosen, row_recipe
from mrg_r1.ablate.summary import Ablation, summarise
from mrg_r1.ablate.tables import lines, rank_table, score_table
from mrg_r1.cli import main
from mrg_r1.config import RewardRecipe, load_recipe
from mrg_r1.errors import ConfigError
from mrg_r1.metrics.published import ABLATION, published_ablation
from mrg_r1.recipe_rewards import reward_weights
from mrg_r1.records import Evaluation, Score, SystemScores

QUICKSTART = load_recipe("quickstart")

# What each row of Table II is rewarded for, with the weights of section IV-B.
WEIGHTS: dict[str, dict[str, float]] = {
    "nlg": {"overlap": 1.0},
    "ce-f1": {"ce_f1": 1.0},
    "format": {"format": 1.0},
    "ce-f1+format": {"ce_f1": 0.75, "format": 0.25},
    "mccs": {"mccs": 1.0},
    "mccs+format": {"mccs": 0.75, "format": 0.25},
}


def test_every_row_has_its_reward() -> None:
    assert (*UNTRAINED, *WEIGHTS) == ABLATION
    found = {row: reward_weights(row_recipe(QUICKSTART, row).reward) for row in WEIGHTS}
    assert found == WEIGHTS


def test_a_row_changes_nothing_else() -> None:
    for row in WEIGHTS:
        recipe = row_recipe(QUICKSTART, row)
        assert recipe.name == f"quickstart-{row}"
        assert replace(recipe, name="quickstart", reward=QUICKSTART.reward) == QUICKSTART
    assert row_recipe(QUICKSTART, "mccs+format").reward == QUICKSTART.reward


def test_options_stay_where_they_mean_something() -> None:
    reward = RewardRecipe(rarity_cap=3.0, f1_share=0.5, repetition_penalty=0.1, margin=0.2)
    recipe = replace(QUICKSTART, reward=reward)
    kept = row_recipe(recipe, "mccs").reward
    assert (kept.rarity_cap, kept.f1_share, kept.repetition_penalty) == (3.0, 0.5, 0.1)
    for row in ("nlg", "ce-f1", "format", "ce-f1+format"):
        other = row_recipe(recipe, row).reward
        assert (other.rarity_cap, other.f1_share, other.repetition_penalty) == (0.0, 0.0, 0.1)


def test_rows_are_chosen_in_the_papers_order() -> None:
    assert chosen(QUICKSTART) == ABLATION
    assert chosen(QUICKSTART, " mccs, base ,mccs") == ("base", "mccs")
    blind = replace(QUICKSTART, sft=None)
    assert chosen(blind) == tuple(row for row in ABLATION if row != "sft")


REFUSED: list[tuple[str, str]] = [
    ("mcss", "no row 'mcss' (did you mean 'mccs'?); rows are base,sft,nlg,"),
    ("ce-f1,cef1+format,xyz", "no row 'cef1+format' (did you mean 'ce-f1+format'?); no row 'xyz';"),
    ("", "--rows: rows are base,sft,"),
    (",", "--rows: rows are base,sft,"),
    ("MCCS", "no row 'MCCS'"),
]


@pytest.mark.parametrize(("names", "message"), REFUSED)
def test_rows_that_are_none(names: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        chosen(QUICKSTART, names)


def test_rows_that_a_recipe_does_not_allow() -> None:
    with pytest.raises(ConfigError, match=r"has no \[sft\] table"):
        chosen(replace(QUICKSTART, sft=None), "sft")
    bare = replace(QUICKSTART, reward=RewardRecipe(format_weight=0.0))
    with pytest.raises(ConfigError, match=r"row 'ce-f1.format' needs two rewards; add --set"):
        check_rows(bare, ABLATION, 1)
    check_rows(bare, ("mccs", "format"), 1)
    with pytest.raises(ConfigError, match="--seeds: 2 from seed 4294967295 on"):
        check_rows(replace(QUICKSTART, seed=2**32 - 1), ABLATION, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "mcss"], "did you mean 'mccs'?"),
        (["--seeds", "0"], "greater than or equal to 1"),
        (["--set", "rewards.margin=1"], "did you mean 'reward'?"),
        (["--set", "reward.clinical_weight=0"], "row 'ce-f1+format' needs two rewards"),
    ],
)
def test_the_command_refuses_in_a_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mrg-r1", "ablate", "quickstart", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in told
    assert len(told.splitlines()) == 1, told
    assert not list(tmp_path.iterdir())


# Without a policy: scores as they might be.


def scores(micro: float, spread: float = 0.01, n: int = 8) -> tuple[Score, ...]:
    return tuple(
        Score(
            metric,
            value,
            value - spread,
            value + spread,
            f"labeler:x|uncertain:positive|labels:{labels}|avg:{average}|n:{n}|v:1",
        )
        for average, value in (("micro", micro), ("macro", micro / 2))
        for labels in (14, 13)
        for metric in ("ce_precision", "ce_recall", "ce_f1")
    )


def grid_of(
    *seeds: dict[str, float], source: str = "iu-xray", n: tuple[int, ...] = (8, 8)
) -> Ablation:
    recipe = replace(QUICKSTART, data=replace(QUICKSTART.data, source=source))  # type: ignore[arg-type]
    evaluations = {
        seed: Evaluation(
            tuple(
                SystemScores(name, n[seed], scores(value, n=n[seed]))
                for name, value in {**rows, "constant-normal": 0.1}.items()
            )
        )
        for seed, rows in enumerate(seeds)
    }
    rewards = {row: WEIGHTS.get(row, {}) for row in seeds[0]}
    return summarise(recipe, rewards, evaluations)


PAPERS = {row: figures.f1 for row, figures in published_ablation("iu-xray").items()}


def test_the_papers_own_figures_agree_with_it() -> None:
    ablation = grid_of(PAPERS)
    assert {r.kendall for r in ablation.rank_agreement} == {1.0}
    assert {r.spearman for r in ablation.rank_agreement} == {1.0}
    assert all(not place.above + place.below for place in ablation.places)
    assert [row.name for row in ablation.rows] == list(ABLATION)
    assert [row.name for row in ablation.baselines] == ["constant-normal"]
    told = list(lines(ablation))
    assert told[1] == "base: place 7 here, 7 in the paper; no other row is on the other side of it"


def test_a_reversed_order_is_told_row_by_row() -> None:
    ablation = grid_of({row: 1 - value for row, value in PAPERS.items()})
    assert {r.kendall for r in ablation.rank_agreement} == {-1.0}
    told = list(lines(ablation))
    assert told[0] == "by F1 micro-14, against the paper's F1 on iu-xray:"
    others = [row for row in ABLATION if row != "mccs+format"]
    assert told[-1] == (
        f"mccs+format: place 8 here, 1 in the paper; here below {', '.join(others)}; "
        # CE-F1 with format is within a hundredth of it in the paper.
        f"beyond the intervals: {', '.join(o for o in others if o != 'ce-f1+format')}"
    )


def test_contradictions_within_the_intervals_are_called_so() -> None:
    told = list(lines(grid_of({"sft": 0.3, "ce-f1": 0.505, "mccs": 0.5})))
    assert told[1:] == [
        "sft: place 3 here, 3 in the paper; no other row is on the other side of it",
        "ce-f1: place 1 here, 2 in the paper; here above mccs; all within the intervals",
        "mccs: place 2 here, 1 in the paper; here below ce-f1; all within the intervals",
    ]


def test_equal_rows_contradict_nothing() -> None:
    ablation = grid_of({"sft": 0.4, "mccs": 0.4})
    assert all(not place.above + place.below for place in ablation.places)
    assert {r.kendall for r in ablation.rank_agreement} == {None}


def test_seeds_are_averaged_with_their_spread() -> None:
    ablation = grid_of({"sft": 0.2, "mccs": 0.4}, {"sft": 0.4, "mccs": 0.3}, n=(8, 9))
    mean = next(m for m in ablation.rows[0].means if m.metric == "ce_f1")
    assert (mean.value, mean.sd) == pytest.approx((0.3, 0.1 * 2**0.5))
    assert (mean.lowest, mean.highest, mean.seeds) == (0.2, 0.4, 2)
    assert mean.signature == "labeler:x|uncertain:positive|labels:14|avg:micro|v:1"
    by_seed = {r.seed: r.kendall for r in ablation.rank_agreement}
    assert by_seed == {None: 1.0, 0: 1.0, 1: -1.0}


def test_clear_means_clear_in_every_seed() -> None:
    once = grid_of({"ce-f1": 0.5, "mccs": 0.3}, {"ce-f1": 0.305, "mccs": 0.3})
    always = grid_of({"ce-f1": 0.5, "mccs": 0.3}, {"ce-f1": 0.4, "mccs": 0.3})
    assert {place.clear for place in once.places} == {()}
    assert {place.clear for place in always.places} == {("mccs",), ("ce-f1",)}


def test_drawn_studies_are_compared_with_both_data_sets() -> None:
    assert grid_of(PAPERS, source="mimic-cxr").data_sets == ("mimic-cxr",)
    both = grid_of(PAPERS, source="phantom")
    assert {r.data_set for r in both.rank_agreement} == {"iu-xray", "mimic-cxr"}


def test_the_document_is_json_with_the_papers_figures() -> None:
    document = json.loads(json.dumps(grid_of(PAPERS).document(), allow_nan=False))
    row = document["rows"][-1]
    assert row["name"] == "mccs+format"
    assert row["rewards"] == {"mccs": 0.75, "format": 0.25}
    assert row["paper"]["iu-xray"] == pytest.approx(
        {"precision": 0.5086, "recall": 0.5298, "f1": 0.5188}
    )
    assert row["seeds"]["0"]["scores"][0]["signature"].startswith("labeler:x")


@pytest.mark.parametrize("width", [80, 240])
def test_tables_fit_a_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    ablation = grid_of(PAPERS)
    console.print(score_table(ablation))
    console.print(rank_table(ablation))
    told = console.export_text()
    assert "…" not in told
    assert re.search(
        r"mccs\+format +micro-14 +0\.519 +0\.519 +0\.519 +0\.509 +0\.530 +0\.519", told
    )
    assert ".509 .529" in told
    assert re.search(r"iu-xray +micro-14 +\+1\.00 +\+1\.00", told)
