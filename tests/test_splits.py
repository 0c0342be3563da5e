"""The samples of a recipe: drawn or read, cut, and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.config import DataRecipe
from mrg_r1.data import phantom
from mrg_r1.errors import DataError
from mrg_r1.trainers.splits import load_samples
from tiny_runs import SIZE


def data(root: Path, **changes: Any) -> DataRecipe:
    settings = {"views": "frontal", "train": 3, "test": 2, "size": SIZE, **changes}
    return DataRecipe(root=str(root), **settings)


def test_studies_are_drawn_where_the_recipe_says(tmp_path: Path) -> None:
    train, test = load_samples(data(tmp_path / "here"), tmp_path / "run", seed=0)
    assert (len(train), len(test)) == (3, 2)
    assert train[0].images[0].is_relative_to(tmp_path / "here")
    elsewhere, _ = load_samples(replace(data(tmp_path), root=""), tmp_path / "run", seed=0)
    assert elsewhere[0].images[0].is_relative_to(tmp_path / "run")


def test_another_split_can_be_judged(tmp_path: Path) -> None:
    _, val = load_samples(data(tmp_path / "here", eval_split="val"), tmp_path, seed=0)
    assert [sample.id for sample in val] == ["val-00000", "val-00001"]


def test_a_cut_is_seeded_and_keeps_the_order(tmp_path: Path) -> None:
    phantom.draw(tmp_path / "x", train=30, val=0, test=2, size=SIZE)
    table = tmp_path / "studies.csv"
    lines = ["id,image,report,split"]
    for split, n in (("train", 30), ("test", 2)):
        lines += [
            f"{split}{i:02},x/images/{split}-{i:05d}-frontal.png,clear,{split}" for i in range(n)
        ]
    table.write_text("\n".join(lines))
    recipe = data(table, source="table", views="each", train=10)
    ids = [[s.study_id for s in load_samples(recipe, tmp_path, seed)[0]] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] == sorted(ids[0])
    assert len(set(ids[0])) == 10
    assert ids[2] != ids[0]


def test_a_split_without_samples_is_named(tmp_path: Path) -> None:
    phantom.draw(tmp_path / "x", train=1, val=0, test=0, size=SIZE)
    table = tmp_path / "studies.csv"
    table.write_text("id,image,report,split\na,x/images/train-00000-frontal.png,clear,train\n")
    recipe = data(table, source="table", views="each")
    with pytest.raises(DataError, match=r"no samples in split 'test'; .*mrg-r1 data table"):
        load_samples(recipe, tmp_path, seed=0)
    frontal = data(table, source="table", views="frontal")
    with pytest.raises(DataError, match=r"split 'train' \(1 left out: no frontal view\); see"):
        load_samples(frontal, tmp_path, seed=0)


def test_a_broken_image_stops_before_training(tmp_path: Path) -> None:
    load_samples(data(tmp_path / "x"), tmp_path, seed=0)
    (tmp_path / "x" / "images" / "train-00001-frontal.png").unlink()
    with pytest.raises(DataError, match=r"train-00001-frontal.png: no such image \(1 of 3"):
        load_samples(data(tmp_path / "x"), tmp_path, seed=0)
