"""What a trainer tells while it runs: metrics and completions on disk, figures on screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mrg_r1.records import SampledCompletion, StepMetrics, read_jsonl, to_line
from mrg_r1.rewards import Completion, Reward
from mrg_r1.rewards.alarms import WINDOW, warnings_of
from mrg_r1.trainers.faults import no_number
from mrg_r1.trainers.processes import wait_for_all
from mrg_r1.trainers.progress import Report, say, warn

WHOLE = "whole"
"""Name of the empty file that marks a checkpoint as completely written."""

_NOT_OF_THE_RUN = frozenset({"step_time", "num_tokens"})
"""Figures that differ between equal runs: of the clock, or counted since the last resume."""


class RunRecorder(TrainerCallback):
    """Appends a line per logged step to `metrics.jsonl`, and marks whole checkpoints.

    What its lines warn of is told as well, once until it is over.
    """

    def __init__(self, stage: str, metrics: Path) -> None:
        self.stage = stage
        self.metrics = metrics
        self.left_out: set[str] = set()
        self.recorded: list[dict[str, float]] = []
        self.active: Collection[str] = ()
        self.told: Collection[str] = ()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Takes up what the stage recorded before it was stopped."""
        lines = read_jsonl(self.metrics, StepMetrics) if self.metrics.exists() else []
        mine = [line for line in lines if line.stage == self.stage]
        self.recorded = [line.values for line in mine]
        self.active = mine[-1].warnings if mine else ()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Records the numbers of a step.

        Raises:
            ConfigError: the loss or its gradient is no number any more, in any process.
        """
        # `metrics.jsonl` has them all: here they would grow, and be written with every checkpoint.
        del state.log_history[:-1]
        if not logs or "train_runtime" in logs:
            return
        # All processes log the same loss and stop together; what is logged here is not saved yet.
        for key in ("loss", *(("grad_norm",) if not args.fp16 else ())):
            if not math.isfinite(logs.get(key, 0.0)):
                raise no_number(self.stage, state.global_step, f"{key} is {logs[key]}")
        if not state.is_world_process_zero:
            return
        numbers = {
            key: float(value)
            for key, value in logs.items()
            if isinstance(value, int | float) and key not in _NOT_OF_THE_RUN
        }
        finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
        for key in numbers.keys() - finite.keys() - self.left_out:
            say(f"{self.stage} step {state.global_step}: {key} is {numbers[key]}, left out")
            self.left_out.add(key)
        self.recorded.append(finite)
        del self.recorded[WINDOW:-WINDOW]
        self.active = warnings = warnings_of(self.recorded, self.active)
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(to_line(StepMetrics(self.stage, state.global_step, finite, warnings)))
        for kind in warnings.keys() - set(self.told):
            warn(f"{self.stage} step {state.global_step}: {warnings[kind]}")
        self.told = warnings

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Marks the checkpoint that was just written, by every process."""
        wait_for_all()
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / WHOLE).touch()


class Reporter(TrainerCallback):
    """Reports steps done and the figures that matter.

    Args:
        report: takes them.
        shown: the trainer's names of the figures, with ours.
    """

    def __init__(self, report: Report, shown: Mapping[str, str]) -> None:
        self.report = report
        self.shown = shown

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Starts at the resumed step, if there is one."""
        self.report(state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Moves on, also where not every step is logged."""
        self.report(state.global_step, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Shows the latest figures."""
        logs = logs or {}
        figures = [f"{name} {logs[key]:.3g}" for key, name in self.shown.items() if key in logs]
        self.report(state.global_step, state.max_steps, "  ".join(figures))


Seen = Callable[[Sequence[Completion], Mapping[str, Any], Mapping[str, Sequence[float]]], None]
"""Takes the completions of a step, their columns, and their rewards by name."""


class CompletionLog:
    """Stores a few completions of every step with all their rewards.

    It stands between the trainer and each reward, since only rewards see completions with their
    samples. `watch` the rewards in the order the trainer gets them.

    Args:
        path: where they are stored.
        weights: of the rewards.
        per_step: how many.
        seen: called with all completions of a step, their columns, and their rewards by name.
    """

    def __init__(
        self, path: Path, weights: Sequence[float], per_step: int = 8, seen: Seen | None = None
    ) -> None:
        self.path = path
        self.weights = list(weights)
        self.per_step = per_step
        self.seen = seen
        self.pending: dict[str, list[float]] = {}

    def watch(self, reward: Reward) -> Callable[..., list[float | None]]:
        """The same reward, whose values are recorded."""

        def watched(completions: Any, **columns: Any) -> list[float | None]:
            values = reward(completions, **columns)
            self.pending[reward.__name__] = values
            if len(self.pending) == len(self.weights):
                self._write(completions, columns)
                if self.seen:
                    self.seen(completions, columns, self.pending)
                self.pending = {}
            return [*values]

        watched.__name__ = reward.__name__
        return watched

    def _write(self, completions: Any, columns: Mapping[str, Any]) -> None:
        state: TrainerState = columns["trainer_state"]
        if not state.is_world_process_zero:
            return
        with open(self.path, "a", encoding="utf-8") as file:
            for index in range(min(self.per_step, len(completions))):
                rewards = {key: values[index] for key, values in self.pending.items()}
                total = sum(w * r for w, r in zip(self.weights, rewards.values(), strict=True))
                record = SampledCompletion(
                    step=state.global_step,
                    id=columns["id"][index],
                    completion=completions[index][0]["content"],
                    reward=total,
                    rewards=rewards,
                )
                file.write(to_line(record))
