"""SIGTERM: a run saves its step, tells how to go on, exits with 0, and loses nothing."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from mrg_r1 import train as verb
from mrg_r1.policy.quiet import quiet
from mrg_r1.records import write_json
from mrg_r1.run import to_json
from mrg_r1.trainers.callbacks import WHOLE, RunRecorder
from mrg_r1.trainers.options import grpo_config
from mrg_r1.trainers.preemption import Preempted, StopWhenTold, noting_sigterm, preemptible
from test_train import same_results
from tiny_runs import (
    Here,
    at_step,
    be_one_of_two,
    command,
    die_at,
    in_process,
    started,
    tiny_recipe,
)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def terminate_and_go_on(noted: list[str]) -> None:
    terminate()
    noted.append("went on")


def test_a_run_is_ended_at_once_where_no_step_is_taken() -> None:
    before = signal.getsignal(signal.SIGTERM)
    noted: list[str] = []
    with pytest.raises(Preempted), preemptible():
        terminate_and_go_on(noted)
    assert noted == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stage_only_notes_that_it_is_to_stop() -> None:
    with preemptible():
        with noting_sigterm() as told:
            assert not told.is_set()
            terminate()
            terminate()
            assert told.is_set()
        with pytest.raises(Preempted):
            terminate()


def test_where_no_signal_can_be_handled_a_stage_is_trained_all_the_same() -> None:
    noted: list[bool] = []

    def elsewhere() -> None:
        with preemptible(), noting_sigterm() as told:
            noted.append(told.is_set())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert noted == [False]


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        ({}, [1, 2, 3, 4]),
        ({"num_iterations": 2, "save_steps": 2}, [2, 4]),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4, "save_steps": 2}, [2, 4]),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 4}, [1, 2, 3, 4]),
    ],
)
def test_a_stage_stops_where_it_can_go_on_exactly(
    tmp_path: Path, options: dict[str, Any], stops: list[int]
) -> None:
    table = {"bf16": False, "per_device_train_batch_size": 4, **options}
    with quiet():
        config = grpo_config(table, tmp_path, 0, reward_weights=[])
    told = threading.Event()
    callback = StopWhenTold(told)

    def stopped_at(step: int) -> bool:
        control: Any = TrainerControl()
        callback.on_step_end(config, TrainerState(global_step=step), control)
        assert control.should_save == control.should_training_stop
        return control.should_training_stop

    assert not any(map(stopped_at, (1, 2, 3, 4)))
    told.set()
    assert [step for step in (1, 2, 3, 4) if stopped_at(step)] == stops


WHERE: dict[str, tuple[Any, str, Here, str]] = {
    # Both checkpoints are between those that the recipe saves, at 2 and 4.
    "SFT": (RunRecorder, "on_log", at_step("sft", 2), "sft/checkpoint-3"),
    "SRL": (RunRecorder, "on_log", at_step("srl", 2), "srl/checkpoint-3"),
    "the last step": (RunRecorder, "on_log", at_step("srl", 4), "srl/checkpoint-5"),
    "reports": (
        verb,
        "write_jsonl",
        lambda args, kwargs: args[0].name == "predictions-start.jsonl",
        "sft/checkpoint-5",
    ),
}
"""Where SIGTERM comes, and the newest checkpoint once the run has stopped."""


def told_to_stop(where: str, out: Path, *words: str) -> None:
    """The `mrg-r1` command, which SIGTERM reaches somewhere."""
    owner, name, here, _ = WHERE[where]
    die_at(owner, name, here, signal.SIGTERM)
    command(out, *words)


def among(rank: int, port: int, target: Callable[..., None], *args: object) -> None:
    """Runs as one of two processes."""
    be_one_of_two(rank, port)
    target(*args)


def both(out: Path, targets: tuple[Callable[..., None], ...], *words: str) -> list[str]:
    """What two processes of one run tell on standard error; both must exit with 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [out.with_name(f"{out.name}-{rank}") for rank in (0, 1)]
    processes = [started(among, rank, port, targets[rank], outs[rank], *words) for rank in (0, 1)]
    for process in processes:
        process.join(timeout=240)
    told = [Path(f"{to}.err").read_text() for to in outs]
    assert [process.exitcode for process in processes] == [0, 0], told
    return told


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "recipe.json"
    write_json(file, to_json(tiny_recipe()))
    return file


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """A run that nothing stopped."""
    root = recipe.with_name("whole")
    words = ("train", str(recipe), "--out", str(root))
    assert in_process(command, recipe.with_name("told"), *words) == 0
    return root


def to_go_on(err: str, root: Path) -> list[str]:
    """The words that a stopped run says to type."""
    (line,) = [line for line in err.splitlines() if line.startswith("stopped")]
    assert line == err.splitlines()[-1]
    assert line.startswith("stopped by SIGTERM; to go on, type: mrg-r1 train ")
    words = shlex.split(line.partition("mrg-r1 ")[2])
    assert words == ["train", f"{root}/recipe.json", "--out", str(root), "--resume"]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("where", WHERE)
def test_a_stopped_run_ends_as_if_it_had_not_been(
    recipe: Path, whole: Path, tmp_path: Path, where: str
) -> None:
    root, told = tmp_path / "run", tmp_path / "told"
    words = ("train", str(recipe), "--out", str(root))
    assert in_process(told_to_stop, where, told, *words) == 0
    err = Path(f"{told}.err").read_text()
    assert Path(f"{told}.out").read_text() == ""
    assert (root / "checkpoints" / WHERE[where][3] / WHOLE).exists()
    assert not (root / "policy").exists()
    assert in_process(command, told, *to_go_on(err, root)) == 0
    assert same_results(whole, root)


@pytest.mark.slow
def test_two_processes_stop_where_one_is_told_to(recipe: Path, tmp_path: Path) -> None:
    whole, root, told = tmp_path / "whole", tmp_path / "run", tmp_path / "told"
    both(told, (command, command), "train", str(recipe), "--out", str(whole))
    first, second = both(
        told, (command, partial(told_to_stop, "SRL")), "train", str(recipe), "--out", str(root)
    )
    assert "\nstopped" not in f"\n{second}"
    assert (root / "checkpoints" / "srl" / "checkpoint-3" / WHOLE).exists()
    both(told, (command, command), *to_go_on(first, root))
    assert same_results(whole, root)
