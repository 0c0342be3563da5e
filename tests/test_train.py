"""Whole runs of a tiny recipe: what they leave, that they repeat, and that they can be resumed."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from mrg_r1.config import (
    DataRecipe,
    LabelerRecipe,
    PolicyRecipe,
    Recipe,
    load_recipe,
    recipe_names,
)
from mrg_r1.data import phantom
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.policy.load import load_policy
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.records import (
    Evaluation,
    Prediction,
    Reading,
    SampledCompletion,
    StepMetrics,
    read_json,
    read_jsonl,
    write_json,
)
from mrg_r1.run import to_json
from mrg_r1.train import describe
from mrg_r1.train import train as verb
from mrg_r1.trainers.callbacks import WHOLE
from tiny_runs import (
    INSTRUCTION,
    PLACES,
    TEST,
    command,
    in_process,
    started,
    tiny_recipe,
    train,
    train_among,
    train_killed,
)

RESULTS = (
    "recipe.json",
    "metrics.jsonl",
    "completions.jsonl",
    "predictions-start.jsonl",
    "predictions.jsonl",
    "readings.jsonl",
    "evaluation.json",
    "start/model.safetensors",
    "policy/model.safetensors",
)


class Finished(NamedTuple):
    recipe: Recipe
    root: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = tiny_recipe()
    write_json(folder / "recipe.json", to_json(recipe))
    words = ("train", str(folder / "recipe.json"), "--out", str(folder / "run"))
    code = in_process(command, folder / "told", *words)
    out, err = ((folder / f"told.{end}").read_text() for end in ("out", "err"))
    assert code == 0, err
    return Finished(recipe, folder / "run", out, err)


def same_results(one: Path, other: Path) -> bool:
    differing = [
        name for name in RESULTS if (one / name).read_bytes() != (other / name).read_bytes()
    ]
    assert differing == []
    return True


@pytest.mark.slow
def test_a_run_leaves_what_was_promised(finished: Finished) -> None:
    root = finished.root
    assert {path.name for path in root.iterdir()} == {
        *("recipe.json", "versions.json", "studies", "base", "start", "policy", "checkpoints"),
        *("metrics.jsonl", "completions.jsonl", "predictions-start.jsonl", "predictions.jsonl"),
        *("readings.jsonl", "evaluation.json", "audit.html"),
    }
    assert load_recipe(str(root / "recipe.json")) == finished.recipe
    assert read_json(root / "versions.json").keys() >= {"mrg-r1", "python", "torch", "trl"}
    assert read_json(root / "policy" / "mrg_r1.json") == {"instruction": INSTRUCTION}


@pytest.mark.slow
def test_every_step_is_recorded(finished: Finished) -> None:
    metrics = read_jsonl(finished.root / "metrics.jsonl", StepMetrics)
    assert [(m.stage, m.step) for m in metrics] == [
        (stage, step) for stage in ("sft", "srl") for step in range(1, 6)
    ]
    for line in metrics:
        assert {"loss", "grad_norm", "learning_rate"} <= line.values.keys()
        assert all(map(math.isfinite, line.values.values()))
        assert line.values["grad_norm"] > 0
    for line in metrics[5:]:
        names = {"reward", "rewards/mccs/mean", "rewards/format/mean", "kl", "entropy"}
        assert names | {"completions/mean_length", "mccs/blank_reference"} <= line.values.keys()
        watched = {"health/no_variance/mccs", "health/no_report", "judge/ce_f1"}
        assert watched <= line.values.keys()
    assert metrics[5].values["kl"] == 0 < metrics[-1].values["kl"]
    completions = read_jsonl(finished.root / "completions.jsonl", SampledCompletion)
    assert [completion.step for completion in completions] == [i // 8 for i in range(40)]
    assert {tuple(completion.rewards) for completion in completions} == {("mccs", "format")}


@pytest.mark.slow
def test_both_policies_are_judged(finished: Finished) -> None:
    root = finished.root
    for name in ("predictions-start.jsonl", "predictions.jsonl"):
        assert list(json.loads((root / name).read_text().splitlines()[0])) == [
            *("id", "study_id", "completion", "think", "report", "reference", "images"),
            *("patient_id", "context"),
        ]
        predictions = read_jsonl(root / name, Prediction)
        assert [p.id for p in predictions] == [f"test-{i:05d}" for i in range(TEST)]
        assert all((root / image).is_file() for p in predictions for image in p.images)
        assert all(not Path(image).is_absolute() for p in predictions for image in p.images)
    systems = [system.name for system in Evaluation.read(root / "evaluation.json").systems]
    assert systems[:2] == ["start", "srl"]
    assert systems[2:] == [
        *("constant-normal", "constant-best-f1", "constant-best-ccs", "random-train")
    ]
    readings = read_jsonl(root / "readings.jsonl", Reading)
    assert {r.system for r in readings} == {"reference", "start", "srl"}


@pytest.mark.slow
def test_only_our_own_lines_are_told(finished: Finished) -> None:
    assert finished.out == f"audit page: {finished.root / 'audit.html'}\n"
    lines = [line for line in finished.err.splitlines() if line.strip()]
    told = lines[: next(i for i, line in enumerate(lines) if line.split()[0] == "system")]
    starts = ("drawing studies: 22 studies in ", "train: 16 samples", "test: 6 samples")
    stages = (
        *("vision warm-up: 3 steps in ", "supervised start: 5 steps in ", "reports of "),
        *("SRL: 5 steps in ", "reports of "),
    )
    assert len(told) == len(starts + stages), finished.err
    for line, start in zip(told, starts + stages, strict=True):
        assert line.startswith(start)


@pytest.mark.slow
def test_the_same_recipe_and_seed_give_the_same_numbers(finished: Finished, tmp_path: Path) -> None:
    assert in_process(train, finished.recipe, tmp_path / "again") == 0
    assert same_results(finished.root, tmp_path / "again")


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_as_if_it_had_not_been(
    finished: Finished, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    for where in PLACES:
        assert in_process(train_killed, finished.recipe, root, where) == -9, where
        if "has recorded" in where:
            for torn in (root / "metrics.jsonl", root / "completions.jsonl"):
                with open(torn, "a") as file:
                    file.write('{"stage": "sr')
    assert in_process(train, finished.recipe, root, True) == 0
    assert same_results(finished.root, root)
    assert not list(root.glob(".*"))


@pytest.mark.slow
def test_a_run_killed_in_its_second_epoch_goes_on_in_that_epochs_order(
    finished: Finished, tmp_path: Path
) -> None:
    more = {"per_device_train_batch_size": 16, "num_generations": 2, "max_steps": 6}
    recipe = replace(finished.recipe, srl={**finished.recipe.srl, **more, "save_steps": 3})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_process(train, recipe, whole) == 0
    where = "SRL has recorded a step beyond its checkpoint"
    assert in_process(train_killed, recipe, killed, where) == -9
    assert in_process(train, recipe, killed, True) == 0
    assert same_results(whole, killed)


@pytest.mark.slow
def test_two_processes_share_one_run(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe, root = tiny_recipe(), tmp_path / "run"
    both = [started(train_among, rank, port, recipe, root) for rank in (0, 1)]
    for process in both:
        process.join(timeout=240)
    assert [process.exitcode for process in both] == [0, 0]
    metrics = read_jsonl(root / "metrics.jsonl", StepMetrics)
    assert [(m.stage, m.step) for m in metrics] == [
        (stage, step) for stage in ("sft", "srl") for step in range(1, 6)
    ]
    assert len(read_jsonl(root / "completions.jsonl", SampledCompletion)) == 5 * 8
    predictions = read_jsonl(root / "predictions.jsonl", Prediction)
    assert [p.id for p in predictions] == [f"test-{i:05d}" for i in range(TEST)]
    assert (root / "audit.html").exists()
    assert not list(root.glob(".*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def free_of(disk: Path) -> int:
    room = os.statvfs(disk)
    return room.f_bavail * room.f_frsize


@pytest.mark.slow
def test_a_run_on_a_full_disk_goes_on_once_there_is_room(
    finished: Finished, small_disk: Path, tmp_path: Path
) -> None:
    root, ballast = small_disk / "run", small_disk / "ballast"
    recipe = str(finished.root / "recipe.json")
    words = ("train", recipe, "--out", str(root), "--resume")
    stops = 0
    for room in range(300_000, 8_000_000, 350_000):
        ballast.unlink(missing_ok=True)
        ballast.write_bytes(bytes(max(free_of(small_disk) - room, 0)))
        code = in_process(command, tmp_path / "told", *words)
        err = (tmp_path / "told.err").read_text()
        if code == 0:
            break
        stops += 1
        assert code == 2, err
        assert err.splitlines()[-1] == (
            f"error: {root}: no space left; what is written is whole, and --resume goes on from "
            "there; free some space, or write elsewhere with -o or --out"
        )
        assert "Traceback" not in err
        assert not list(root.glob(".*")), "half-written files are left"
        for checkpoint in root.glob("checkpoints/*/checkpoint-*"):
            assert (checkpoint / WHOLE).exists(), "a half-written checkpoint is left"
    assert stops > 2
    assert same_results(finished.root, root)


def lora_recipe(base: Path, **changes: Any) -> Recipe:
    # Dropout would tell a policy from itself: kl at the first step shows what the reference is.
    lora = LoraSettings(rank=2, alpha=4, dropout=0.0)
    recipe = tiny_recipe(tiny=None, warmup=None, path=str(base), lora=lora)
    return replace(recipe, **changes)


def weights_in(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.slow
def test_only_an_adapter_is_trained_on_a_local_model(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(shutil.copytree(finished.root / "start", tmp_path / "base"))
    before = (base / "model.safetensors").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert in_process(train, lora_recipe(Path("base"), sft=None), Path("run")) == 0
    root = tmp_path / "run"
    assert not (root / "base").exists()
    assert not (root / "start").exists()
    assert not (root / "policy" / "model.safetensors").exists()
    assert (base / "model.safetensors").read_bytes() == before
    trained = weights_in(root / "policy")
    assert all("language_model" in name and "lora_" in name for name in trained)
    assert any(bool(w.any()) for name, w in trained.items() if "lora_B" in name)
    metrics = read_jsonl(root / "metrics.jsonl", StepMetrics)
    assert metrics[0].values["kl"] == 0 < metrics[-1].values["kl"]
    monkeypatch.chdir("/")
    assert load_policy(root).adapted


@pytest.mark.slow
def test_an_adapter_goes_on_from_sft_to_srl_also_when_killed(
    finished: Finished, tmp_path: Path
) -> None:
    recipe = lora_recipe(finished.root / "base")
    recipe = replace(
        recipe,
        sft={**(recipe.sft or {}), "gradient_accumulation_steps": 2},
        srl={**recipe.srl, "steps_per_generation": 2},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_process(train, recipe, whole) == 0
    for where in (
        "SFT has recorded a step beyond its checkpoint",
        "SRL has recorded a step beyond its checkpoint",
    ):
        assert in_process(train_killed, recipe, killed, where) == -9
    assert in_process(train, recipe, killed, True) == 0
    for name in (name for name in RESULTS if name.endswith("l")):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    for folder in ("start", "policy"):
        ours, theirs = weights_in(whole / folder), weights_in(killed / folder)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert not (whole / folder / "ref").exists()
    start, end = weights_in(whole / "start"), weights_in(whole / "policy")
    assert not all(torch.equal(start[name], end[name]) for name in start)
    # The reference of eq. 1 is the adapter after SFT, not the bare base.
    assert read_jsonl(whole / "metrics.jsonl", StepMetrics)[5].values["kl"] == 0


@pytest.mark.slow
def test_a_policy_without_a_supervised_start_is_judged_as_it_is(tmp_path: Path) -> None:
    recipe = replace(tiny_recipe(), sft=None, srl={**tiny_recipe().srl, "max_steps": 1})
    assert in_process(train, recipe, tmp_path / "run") == 0
    assert not (tmp_path / "run" / "start").exists()
    assert len(read_jsonl(tmp_path / "run" / "metrics.jsonl", StepMetrics)) == 1


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "group": ({"srl": {"per_device_train_batch_size": 6, "bf16": False}}, ConfigError, "divisible"),
    "option": ({"srl": {"bf16": False, "epsilom": 1}}, ConfigError, "did you mean 'epsilon'"),
    "sft option": ({"sft": {"bf16": False, "beta": 1}}, ConfigError, "sft.beta: SFTConfig has no"),
    "engine": ({"srl": {"deepspeed": "zero.json", "bf16": False}}, ConfigError, "a launcher"),
    "policy": ({"policy": PolicyRecipe(path="/no/model")}, DataError, "/no/model: no policy here"),
    "labeler": (
        {"labeler": LabelerRecipe("chexbert", weights="/no/chexbert.pth", vocabulary="/no/v.txt")},
        DataError,
        "/no/chexbert.pth: no such file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_carried_out_is_refused_before_anything_is_written(
    tmp_path: Path, case: str
) -> None:
    changes, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        verb(replace(tiny_recipe(), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_too_few_samples_for_a_step_are_named(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    few = replace(recipe, sft=None, data=replace(recipe.data, train=1))
    with pytest.raises(ConfigError, match=r"srl: stopped at step 0 of 5; lower srl.per_device"):
        verb(few, tmp_path / "run")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_described_without_weights_or_data(name: str) -> None:
    lines = describe(load_recipe(name, ["data.root=/no/data"]))
    assert lines[0].startswith(f"recipe: {name}, seed ")
    parts = {line.partition(":")[0] for line in lines}
    assert {"data", "policy", "labeler", "reward", "supervised start", "SRL", "prompt"} <= parts
    ours = name == "iu-xray-tiny"  # all others have the paper's reward
    assert ("reward: 0.75 mccs, 0.25 format" in lines) != ours
    if not name.startswith("quickstart"):
        assert "data: /no/data is not here; add --set data.root=FOLDER" in lines
    if name.startswith("paper"):
        assert any("is not here; add --set policy.path=FOLDER" in line for line in lines)
        assert "LoRA: rank 128, alpha 256" in lines
        missing = "models/chexbert/chexbert.pth is not here; add --set labeler.weights=FILE"
        assert f"labeler: {missing}" in lines


def test_a_description_checks_the_data_that_is_there(tmp_path: Path) -> None:
    phantom.draw(tmp_path / "x", train=2, val=0, test=1, size=64)
    table = tmp_path / "studies.csv"
    names = [("train", i) for i in range(2)] + [("test", 0)]
    table.write_text(
        "id,image,report,split\n"
        + "".join(f"{s}{i},x/images/{s}-{i:05d}-frontal.png,clear,{s}\n" for s, i in names)
    )
    recipe = replace(tiny_recipe(), data=DataRecipe(source="table", root=str(table)))
    assert "data: train, 2 samples of table" in describe(recipe)
    (tmp_path / "x" / "images" / "train-00001-frontal.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"train-00001-frontal.png: the file is empty"):
        describe(recipe)
    wrong = replace(recipe, srl={"num_generation": 4})
    with pytest.raises(ConfigError, match="did you mean 'num_generations'"):
        describe(wrong)
