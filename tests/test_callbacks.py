"""What a trainer leaves on disk while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from transformers import TrainerControl, TrainerState

from mrg_r1.errors import ConfigError
from mrg_r1.records import SampledCompletion, StepMetrics, read_jsonl, write_jsonl
from mrg_r1.rewards.alarms import WINDOW, warnings_of
from mrg_r1.trainers.callbacks import WHOLE, CompletionLog, RunRecorder
from mrg_r1.trainers.stage import finished_checkpoint, last_whole_checkpoint

WIDE: Any = SimpleNamespace(fp16=False)


def state(step: int, of: int = 9, main: bool = True) -> TrainerState:
    return TrainerState(global_step=step, max_steps=of, is_world_process_zero=main)


def test_steps_are_recorded_without_the_clock(tmp_path: Path) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    control: Any = TrainerControl()
    arguments: Any = SimpleNamespace(output_dir=str(tmp_path), fp16=False)
    for step, logs in enumerate(
        [{"loss": 1, "step_time": 3.1}, {"loss": 0.5, "kl": 0.1}, {"train_runtime": 9.0}], 1
    ):
        recorder.on_log(arguments, state(step), control, logs)
    recorder.on_log(arguments, state(4, main=False), control, {"loss": 1.0})
    assert read_jsonl(recorder.metrics, StepMetrics) == [
        StepMetrics("srl", 1, {"loss": 1.0}),
        StepMetrics("srl", 2, {"loss": 0.5, "kl": 0.1}),
    ]


@pytest.mark.parametrize("main", [True, False])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_stops_the_run_in_every_process(
    tmp_path: Path, main: bool, name: str, value: float
) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    nothing: Any = None
    message = rf"srl step 7: {name} is (nan|inf); lower srl.learning_rate .* with --resume$"
    with pytest.raises(ConfigError, match=message):
        recorder.on_log(WIDE, state(7, main=main), nothing, {"loss": 1.0, name: value})


def test_fp16_looks_for_its_scale_by_gradients_that_are_no_numbers(tmp_path: Path) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    nothing: Any = None
    narrow: Any = SimpleNamespace(fp16=True)
    recorder.on_log(narrow, state(1), nothing, {"loss": 1.0, "grad_norm": math.inf})
    assert read_jsonl(recorder.metrics, StepMetrics) == [StepMetrics("srl", 1, {"loss": 1.0})]


def test_other_figures_that_are_no_number_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    nothing: Any = None
    for step in (1, 2):
        recorder.on_log(WIDE, state(step), nothing, {"loss": 1.0, "kl": math.nan})
    assert [line.values for line in read_jsonl(recorder.metrics, StepMetrics)] == [{"loss": 1}] * 2
    assert capsys.readouterr().err == "srl step 1: kl is nan, left out\n"


ALIKE = {"loss": 1.0, "health/no_variance": 0.87, "health/unpaid/mccs": 0.9}
FINE = {"loss": 1.0, "health/no_variance": 0.0, "health/unpaid/mccs": 0.0}


def recorded(metrics: Path, logs: Sequence[dict[str, float]], first: int = 1) -> None:
    """Records steps as a stage does that begins, or goes on, with what `metrics` holds."""
    recorder, nothing = RunRecorder("srl", metrics), cast("Any", None)
    recorder.on_train_begin(nothing, state(first - 1), nothing)
    for step, figures in enumerate(logs, first):
        recorder.on_log(WIDE, state(step, of=99), nothing, figures)


def test_a_warning_is_recorded_at_each_step_and_told_once_until_it_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = tmp_path / "metrics.jsonl"
    recorded(metrics, [ALIKE] * 24 + [FINE] * 20 + [ALIKE] * 20)
    warned = [line.step for line in read_jsonl(metrics, StepMetrics) if line.warnings]
    # Twenty steps are judged together: a warning comes above .5 and goes below .375.
    assert warned == [*range(20, 36), *range(56, 65)]
    sentence = "groups have no variance: the margin is too high for this policy; lower"
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" %")[0] for line in told] == [
        "warning: srl step 20: 87",
        "warning: srl step 56: 52",
    ]
    assert all(sentence in line for line in told)


def test_what_is_kept_of_many_steps_is_what_warnings_need(tmp_path: Path) -> None:
    rising = [{"loss": 1.0, "reward": step / 100, "judge/ce_f1": 0.3} for step in range(90)]
    recorder, nothing = RunRecorder("srl", tmp_path / "metrics.jsonl"), cast("Any", None)
    for step, logs in enumerate(rising, 1):
        now = state(step, of=99)
        now.log_history = [*rising[: step - 1], logs]
        recorder.on_log(WIDE, now, nothing, logs)
        assert now.log_history == [logs]
    assert recorder.recorded == [*rising[:WINDOW], *rising[-WINDOW:]]
    active: dict[str, str] = {}
    for step, line in enumerate(read_jsonl(recorder.metrics, StepMetrics), 1):
        active = warnings_of(rising[:step], active)
        assert line.warnings == active
    assert "judge" in active


@pytest.mark.parametrize("stopped", [3, 22, 33, 60])
def test_a_resumed_run_warns_as_if_it_had_not_stopped(
    tmp_path: Path, stopped: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    logs = [FINE] * 5 + [ALIKE] * 24 + [FINE] * 20 + [ALIKE] * 20
    recorded(whole, logs)
    capsys.readouterr()
    recorded(resumed, logs[:stopped])
    recorded(resumed, logs[stopped:], first=stopped + 1)
    assert whole.read_bytes() == resumed.read_bytes()


def test_another_stage_is_no_history(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    write_jsonl(metrics, [StepMetrics("sft", step, dict(ALIKE)) for step in range(1, 40)])
    recorded(metrics, [FINE])
    assert read_jsonl(metrics, StepMetrics)[-1].warnings == {}


def test_only_marked_checkpoints_are_whole(tmp_path: Path) -> None:
    assert last_whole_checkpoint(tmp_path / "none") is None
    for step in (2, 4, 10, 12):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        state(step, of=10).save_to_json(str(folder / "trainer_state.json"))
        if step == 4:
            assert finished_checkpoint(tmp_path) is None
        if step != 12:
            (folder / WHOLE).touch()
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert finished_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


class Constant:
    def __init__(self, name: str, value: float) -> None:
        self.__name__ = name
        self.value = value

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        return [self.value + i / 10 for i in range(len(completions))]


def test_some_completions_of_each_step_are_kept(tmp_path: Path) -> None:
    log = CompletionLog(tmp_path / "completions.jsonl", [0.75, 0.25], per_step=2)
    watched = [log.watch(reward) for reward in (Constant("mccs", 0.5), Constant("format", 1.0))]
    assert [reward.__name__ for reward in watched] == ["mccs", "format"]
    columns = {"id": ["x", "y", "z"], "reference": ["r"] * 3, "prompts": [[]] * 3}
    completions = [[{"role": "assistant", "content": text}] for text in "abc"]
    for step in (0, 1):
        for reward in watched:
            values = reward(completions, trainer_state=state(step), **columns)
        assert values == pytest.approx([1.0, 1.1, 1.2])
    kept = read_jsonl(tmp_path / "completions.jsonl", SampledCompletion)
    assert [(c.step, c.id, c.completion) for c in kept] == [
        *((0, "x", "a"), (0, "y", "b")),
        *((1, "x", "a"), (1, "y", "b")),
    ]
    assert kept[1].rewards == pytest.approx({"mccs": 0.6, "format": 1.1})
    assert kept[1].reward == pytest.approx(0.75 * 0.6 + 0.25 * 1.1)


def test_all_completions_of_a_step_are_shown_with_their_rewards(tmp_path: Path) -> None:
    shown: list[Any] = []

    def seen(*args: Any) -> None:
        shown.append(args)

    log = CompletionLog(tmp_path / "completions.jsonl", [0.75, 0.25], per_step=1, seen=seen)
    columns = {"id": ["x", "y"], "trainer_state": state(0, main=False)}
    completions = [[{"role": "assistant", "content": text}] for text in "ab"]
    for reward in (Constant("mccs", 0.5), Constant("format", 1.0)):
        log.watch(reward)(completions, **columns)
    assert shown == [(completions, columns, {"mccs": [0.5, 0.6], "format": [1.0, 1.1]})]


def test_only_the_main_process_keeps_completions(tmp_path: Path) -> None:
    log = CompletionLog(tmp_path / "completions.jsonl", [1.0])
    watched = log.watch(Constant("mccs", 0.5))
    watched([[{"content": "a"}]], id=["x"], trainer_state=state(0, main=False))
    assert not log.path.exists()
