"""Recipes that put context into prompts: what is refused, counted and told before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mrg_r1.config import DataRecipe, Recipe, load_recipe
from mrg_r1.data.table import Columns
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.plan.planning import Given, make_plan
from mrg_r1.plan.sources import data_of
from mrg_r1.train import describe
from mrg_r1.trainers.splits import load_samples

HEAD = "id,image,text,split,indication,prior_report,prior_image\n"
ROWS = (
    "1,a.png,Clear.,train,Cough.,Effusion.,b.png\n"
    "2,a.png,Clear.,train,___,Old.,\n"
    "3,a.png,Clear.,train,Pain.,,\n"
    "4,a.png,Clear.,test,,,\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("L", (64, 64), 128).save(tmp_path / name)
    (tmp_path / "table.csv").write_text(HEAD + ROWS)
    return tmp_path / "table.csv"


def recipe(table: Path, *changes: str) -> Recipe:
    data = ("data.source=table", f"data.root={table}", "data.columns.report=text")
    return load_recipe("iu-xray-tiny", [*data, "data.eval_split=test", *changes])


def test_a_recipe_names_context_and_columns(table: Path) -> None:
    made = recipe(table, 'data.context=["prior-report", "indication"]', "data.views=first").data
    assert made.context == ("prior-report", "indication")
    assert made.columns == Columns(report="text")
    assert made.loading == {"columns": Columns(report="text")}
    assert DataRecipe().loading == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (['data.context=["priors"]'], "data.context: ['priors'] is not a list, each item one of"),
        (['data.context="indication"'], "data.context: 'indication' is not a list"),
        (
            ["data.columns.reports=x"],
            "'data.columns.reports' (did you mean 'data.columns.report'?)",
        ),
        (
            ["data.source=iu-xray", 'data.context=["prior-report", "prior-images"]'],
            "data.columns: iu-xray has its own; leave the table out; data.context: iu-xray has no "
            "previous studies; leave out prior-report; data.context: iu-xray has no previous "
            "studies; leave out prior-images",
        ),
    ],
)
def test_what_cannot_be_is_refused(table: Path, changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe(table, *changes)
    assert message in str(caught.value)


def test_iu_x_ray_gives_indications_and_mimic_priors() -> None:
    indication = 'data.context=["indication"]'
    assert load_recipe("paper-iu-xray", [indication]).data.context == ("indication",)
    prior = 'data.context=["indication", "prior-report", "prior-images"]'
    assert len(load_recipe("paper-mimic-cxr", [prior]).data.context) == 3


def test_what_samples_lack_is_told(table: Path, tmp_path: Path, capsys: Any) -> None:
    context = 'data.context=["indication", "prior-report", "prior-images"]'
    data = recipe(table, context, "data.views=first").data
    train, test = load_samples(data, tmp_path, seed=0)
    assert [list(sample.context) for sample in train] == [
        ["indication", "prior-report", "prior-images"],
        ["prior-report"],
        ["indication"],
    ]
    assert [len(sample.images) for sample in (*train, *test)] == [2, 1, 1, 1]
    told = capsys.readouterr().err
    assert "train: 1 of 3 samples without indication" in told
    assert "train: 2 of 3 samples without prior-images" in told
    assert "test: 1 of 1 samples without indication" in told


def test_context_that_no_training_sample_has_is_refused(table: Path, tmp_path: Path) -> None:
    table.write_text(HEAD + ROWS.replace("b.png", ""))
    data = recipe(table, 'data.context=["prior-images"]', "data.views=first").data
    with pytest.raises(DataError, match="table: no sample to train on has prior-images; leave it"):
        load_samples(data, tmp_path, seed=0)


def test_a_dry_run_shows_prompt_and_counts(table: Path) -> None:
    lines = describe(recipe(table, 'data.context=["prior-report"]', "data.views=first"))
    assert "data: train: 1 of 3 samples without prior-report" in lines
    (prompt,) = (line for line in lines if line.startswith("prompt: "))
    assert prompt.endswith("\nReport of the previous study: ...")


def test_a_plan_counts_context_where_the_data_are(table: Path) -> None:
    plain = recipe(table, "data.views=first").data
    given = recipe(table, 'data.context=["indication", "prior-images"]', "data.views=first").data
    assert (data_of(plain).images, data_of(plain).letters) == (1, 0)
    assert data_of(given).images == 2
    assert data_of(given).letters == len(
        "\nIndication: Cough.\nImages of the previous study, after those of this one: 1"
    )


def test_a_plan_asks_for_the_length_of_context_it_cannot_know() -> None:
    made = load_recipe("paper-mimic-cxr", ['data.context=["prior-report"]'])
    with pytest.raises(ConfigError, match=r"data\.context: .*add --prompt-tokens"):
        make_plan(made, "2xA100-80GB", Given())
    assert make_plan(made, "2xA100-80GB", Given(prompt=300)).load.prompt > 300
