from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrg_r1.config import Recipe, RewardRecipe, load_recipe
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.records import (
    SampledCompletion,
    StepMetrics,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)
from mrg_r1.run import Run, changed_versions, open_run, to_json

RECIPE = Recipe(name="mine", reward=RewardRecipe(margin=0.2))


def test_a_new_run_starts_with_its_recipe_and_versions(tmp_path: Path) -> None:
    run = open_run(tmp_path / "runs" / "mine", RECIPE, resume=False)
    assert load_recipe(str(run.recipe), ["data.train=1", "data.test=1", "policy.path=x"])
    assert read_json(run.recipe)["reward"]["margin"] == 0.2
    assert {"mrg-r1", "python", "torch", "transformers", "trl"} <= read_json(run.versions).keys()


def test_an_empty_folder_becomes_a_run_whether_resumed_or_not(tmp_path: Path) -> None:
    for resume in (False, True):
        (tmp_path / str(resume)).mkdir()
        assert open_run(tmp_path / str(resume), RECIPE, resume=resume).recipe.exists()


def test_a_run_killed_at_its_first_file_can_be_started_again(tmp_path: Path) -> None:
    (tmp_path / ".recipe.json.77.tmp").touch()
    run = open_run(tmp_path, RECIPE, resume=False)
    run.versions.unlink()
    assert open_run(tmp_path, RECIPE, resume=True).versions.exists()


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE, resume=False)
    (tmp_path / "base").mkdir()
    with pytest.raises(ConfigError, match=r"holds a run already; add --resume, or --out FOLDER"):
        open_run(tmp_path, RECIPE, resume=False)


def test_a_run_is_resumed_by_its_own_recipe_only(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE, resume=False)
    (tmp_path / "base").mkdir()
    other = replace(RECIPE, seed=1, reward=RewardRecipe(margin=0.1), sft={"max_steps": 3})
    with pytest.raises(ConfigError, match=r"other settings \(reward.margin, seed, sft\)"):
        open_run(tmp_path, other, resume=True)


def test_a_run_refused_before_it_began_may_be_mended(tmp_path: Path) -> None:
    open_run(tmp_path, RECIPE, resume=False)
    mended = replace(RECIPE, seed=1)
    run = open_run(tmp_path, mended, resume=False)
    assert read_json(run.recipe) == to_json(mended)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no run; add --out FOLDER"):
        open_run(tmp_path, RECIPE, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    (tmp_path / "base").mkdir()
    with pytest.raises(DataError, match=r"recipe.json: not JSON"):
        open_run(tmp_path, RECIPE, resume=True)


def test_other_versions_than_at_the_start_are_told(tmp_path: Path) -> None:
    run = open_run(tmp_path, RECIPE, resume=False)
    assert changed_versions(run) == []
    began = read_json(run.versions)
    write_json(run.versions, {**began, "torch": "1.0", "jax": "2.0"})
    assert changed_versions(run) == ["jax 2.0 -> None", f"torch 1.0 -> {began['torch']}"]


def step(stage: str, number: int) -> StepMetrics:
    return StepMetrics(stage, number, {"loss": 1.0})


def sampled(number: int) -> SampledCompletion:
    return SampledCompletion(number, "id", "text", 0.5, {"mccs": 0.5})


def test_what_comes_after_a_checkpoint_is_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    steps = [step("sft", 1), step("sft", 2), step("srl", 1), step("srl", 2), step("srl", 3)]
    write_jsonl(run.metrics, steps)
    write_jsonl(run.completions, [sampled(0), sampled(1), sampled(2)])
    run.forget_after("srl", 2)
    assert read_jsonl(run.metrics, StepMetrics) == steps[:4]
    assert read_jsonl(run.completions, SampledCompletion) == [sampled(0), sampled(1)]
    run.forget_after("srl", 0)
    assert read_jsonl(run.metrics, StepMetrics) == steps[:2]
    assert read_jsonl(run.completions, SampledCompletion) == []
    run.forget_after("sft", 1)
    assert read_jsonl(run.metrics, StepMetrics) == steps[:1]


@pytest.mark.parametrize("torn", ['{"stage": "srl", "st', "{", '{"stage": "srl"}'])
def test_a_line_that_was_being_written_is_forgotten(tmp_path: Path, torn: str) -> None:
    run = Run(tmp_path)
    for path, record in ((run.metrics, step("srl", 1)), (run.completions, sampled(0))):
        write_jsonl(path, [record])
        with open(path, "a") as file:
            file.write(torn)
    run.forget_after("srl", 1)
    assert read_jsonl(run.metrics, StepMetrics) == [step("srl", 1)]
    assert read_jsonl(run.completions, SampledCompletion) == [sampled(0)]


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.metrics.write_text('{"stage')
    run.forget_after("sft", 0)
    assert run.metrics.read_text() == ""


def test_a_whole_line_that_is_damaged_is_not_hidden(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.metrics.write_text('{"stage\n')
    with pytest.raises(DataError, match=r"metrics.jsonl line 1"):
        run.forget_after("sft", 0)


def test_images_of_a_run_are_named_from_inside_it() -> None:
    run = Run(Path("runs/a"))
    assert run.named_inside("runs/a/studies/images/x.png") == "studies/images/x.png"
    assert run.named_inside("runs/ab/x.png") == "runs/ab/x.png"
    assert run.named_inside("/data/x.png") == "/data/x.png"
