"""Several processes of one run learn what one would, and a fault in one of them stops all."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.records import StepMetrics, read_json, read_jsonl, write_json
from mrg_r1.run import to_json
from mrg_r1.trainers.callbacks import WHOLE
from test_train import same_results
from tiny_processes import (
    DEEPSPEED,
    LOST,
    deepspeed_found,
    ended,
    label,
    learn,
    learn_killed,
    lines_of,
    of_two,
    told,
    with_full_disk,
    with_nan,
)
from tiny_runs import tiny_recipe

ZERO: dict[str, Any] = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
}
ZERO_1 = {**ZERO, "zero_optimization": {"stage": 1}}
ZERO_3 = {
    **ZERO,
    "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
}

needs_deepspeed = pytest.mark.skipif(
    (not DEEPSPEED.is_dir() and importlib.util.find_spec("deepspeed") is None)
    or shutil.which("c++") is None,
    reason=f"DeepSpeed (in {DEEPSPEED}, where make test puts it) or a C++ compiler is not here",
)


def figures(root: Path, stage: str) -> dict[str, list[float]]:
    """Figures of each step of a stage that come out alike in any number of processes."""
    names = ("loss", "grad_norm", "reward", "kl", "entropy", "completions/mean_length")
    lines = [m.values for m in read_jsonl(root / "metrics.jsonl", StepMetrics) if m.stage == stage]
    return {name: [line[name] for line in lines] for name in names if name in lines[0]}


def learnt(folder: Path, name: str, processes: int, **srl: Any) -> Path:
    """Where a run lies in which so many processes have learnt by the tiny recipe."""
    root, recipe = folder / name, of_two(tiny_recipe(), **srl)
    if "deepspeed" in srl:
        with deepspeed_found():
            codes = ended([learn] * processes, recipe, root, method="spawn")
    else:
        codes = ended([learn] * processes, recipe, root)
    assert codes == [0] * processes
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process has learnt."""
    return learnt(tmp_path_factory.mktemp("learnt"), "alone", 1)


@pytest.mark.slow
def test_references_are_labelled_once_for_all_processes(tmp_path: Path) -> None:
    references = ["No edema.", "Large effusion.", "No edema.", "Clear lungs.", "Possible edema."]
    assert ended([label, label], references, tmp_path) == [0, 0]
    (first, told), (second, other) = (read_json(tmp_path / f"{rank}.json") for rank in range(2))
    assert (first, second) == (
        ["No edema.", "Clear lungs."],
        ["Large effusion.", "Possible edema."],
    )
    assert told == other == [str(labels) for labels in RulesLabeler().label(references)]


@pytest.mark.slow
def test_two_processes_learn_as_one_does(alone: Path, tmp_path: Path) -> None:
    two = learnt(tmp_path, "two", 2)
    for stage in ("sft", "srl"):
        expected = figures(alone, stage)
        assert len(expected["loss"]) == 5
        # The same sums in another order, in single precision, over five updates.
        assert figures(two, stage) == {
            name: pytest.approx(values, rel=1e-3, abs=1e-6) for name, values in expected.items()
        }
    rewards = figures(alone, "srl")["reward"]
    assert len(set(rewards)) > 1, "a curve of equal rewards compares nothing"


@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize("engine", [ZERO_1, ZERO_3], ids=["ZeRO-1", "ZeRO-3"])
def test_deepspeed_learns_as_one_process_does(
    alone: Path, tmp_path: Path, engine: dict[str, Any]
) -> None:
    two = learnt(tmp_path, "two", 2, deepspeed=engine)
    expected = figures(alone, "srl")
    assert figures(two, "srl") == {
        name: pytest.approx(values, rel=1e-3, abs=1e-6) for name, values in expected.items()
    }


@pytest.mark.slow
@needs_deepspeed
def test_deepspeed_in_bf16_learns_nearly_so(alone: Path, tmp_path: Path) -> None:
    two = learnt(tmp_path, "two", 2, deepspeed=ZERO_1, bf16=True, use_cpu=True)
    # With 8 bits of precision other tokens are drawn here and there: rewards are other ones, and
    # what is a mean over all tokens hardly moves.
    expected, found = figures(alone, "srl"), figures(two, "srl")
    for name, near in {"loss": 1e-2, "entropy": 1e-2, "grad_norm": 0.25}.items():
        assert found[name] == pytest.approx(expected[name], rel=near), name


@pytest.mark.slow
@needs_deepspeed
def test_an_adapter_under_deepspeed_is_resumed_as_if_never_killed(tmp_path: Path) -> None:
    adapter = LoraSettings(rank=4, alpha=8, dropout=0.05)
    recipe = replace(of_two(tiny_recipe(lora=adapter), deepspeed=ZERO_1), sft=None)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    again = partial(learn, resume=True)
    with deepspeed_found():
        assert ended([learn, learn], recipe, whole, method="spawn") == [0, 0]
        assert -9 in ended([learn, learn_killed], recipe, killed, method="spawn")
        assert (killed / "checkpoints" / "srl" / "checkpoint-2" / WHOLE).exists()
        assert ended([again, again], recipe, killed, method="spawn") == [0, 0]
    for name in ("metrics.jsonl", "checkpoints/srl/checkpoint-5/adapter_model.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "recipe.json"
    write_json(file, to_json(of_two(tiny_recipe())))
    return file


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """A run of two processes that nothing stopped."""
    root = recipe.with_name("whole")
    words = ("train", str(recipe), "--out", str(root))
    assert ended([told, told], recipe.with_name("told"), *words) == [0, 0]
    return root


FULL = ": no space left; what is written is whole, and --resume goes on from there; "
NAN = "error: srl step 3: loss is nan; lower srl.learning_rate and start again with --out FOLDER"
SCORES = "error: srl step 3: the policy's scores of tokens are no numbers; lower srl.learning_rate"

FAULTS: dict[str, tuple[Any, Any, str, str]] = {
    # What the first process does and tells, and the second.
    "a loss is NaN": (told, partial(with_nan, "loss"), NAN, NAN),
    "scores of tokens are NaN": (told, partial(with_nan, "scores"), LOST, SCORES),
    "no space for the optimizer": (partial(with_full_disk, "optimizer.pt"), told, FULL, LOST),
    "no space for a state": (told, partial(with_full_disk, "rng_state_1.pth"), LOST, FULL),
}


@pytest.mark.slow
def test_a_fault_of_one_process_stops_all_and_what_is_written_stays_whole(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "run", tmp_path / "told"
    words = ("train", str(recipe), "--out", str(root), "--resume")
    for fault, (first, second, *expected) in FAULTS.items():
        assert ended([first, second], out, *words) == [2, 2], (fault, lines_of(out, 0))
        for rank, line in enumerate(expected):
            lines = lines_of(out, rank)
            assert line in lines[-1], fault
            assert not any("Traceback" in line for line in lines), fault
        checkpoints = list((root / "checkpoints" / "srl").glob("checkpoint-*"))
        assert [checkpoint.name for checkpoint in checkpoints] == ["checkpoint-2"], fault
        assert (checkpoints[0] / WHOLE).exists(), fault
        weights = load_file(checkpoints[0] / "model.safetensors")
        assert all(bool(weight.isfinite().all()) for weight in weights.values()), fault
    assert ended([told, told], out, *words) == [0, 0]
    assert same_results(whole, root)
