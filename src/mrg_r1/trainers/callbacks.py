"""What a trainer tells while it runs: metrics on disk, progress on screen, whole checkpoints."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mrg_r1.records import SampledCompletion, StepMetrics, to_line

_WHOLE = "whole"
"""Name of the empty file that marks a checkpoint as completely written."""


class RunRecorder(TrainerCallback):
    """Appends a line per logged step to `metrics.jsonl`, and marks whole checkpoints."""

    def __init__(self, stage: str, metrics: Path) -> None:
        self.stage = stage
        self.metrics = metrics

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Records the numbers of a step; wall-clock figures differ between equal runs."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        values = {
            key: float(value)
            for key, value in logs.items()
            if isinstance(value, int | float) and math.isfinite(value) and key != "step_time"
        }
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(to_line(StepMetrics(self.stage, state.global_step, values)))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Marks the checkpoint that was just written."""
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE).touch()


class ProgressBar(TrainerCallback):
    """Steps done, time left, and the figures that matter, on one line."""

    def __init__(self, progress: Progress, title: str, shown: Sequence[tuple[str, str]]) -> None:
        self.progress = progress
        self.title = title
        self.shown = shown
        self.task: TaskID | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Opens the bar, at the resumed step if there is one."""
        self.task = self.progress.add_task(
            self.title, total=state.max_steps, completed=state.global_step, figures=""
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Moves the bar."""
        if self.task is not None:
            self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Shows the latest figures."""
        figures = [f"{name} {logs[key]:.3g}" for key, name in self.shown if logs and key in logs]
        if self.task is not None and figures:
            self.progress.update(self.task, figures="  ".join(figures))


class CompletionLog:
    """Stores a few completions of every step with all their rewards.

    It stands between the trainer and each reward, since only rewards see completions with their
    samples. `watch` the rewards in the order the trainer gets them.
    """

    def __init__(self, path: Path, weights: Sequence[float], per_step: int = 8) -> None:
        self.path = path
        self.weights = list(weights)
        self.per_step = per_step
        self.pending: dict[str, list[float]] = {}

    def watch(self, reward: Any) -> Callable[..., list[float]]:
        """The same reward, whose values are recorded."""

        def watched(completions: Any, **columns: Any) -> list[float]:
            values = reward(completions=completions, **columns)
            self._add(reward.__name__, values, completions, columns)
            return values

        watched.__name__ = reward.__name__
        return watched

    def _add(
        self, name: str, values: list[float], completions: Any, columns: dict[str, Any]
    ) -> None:
        self.pending[name] = values
        if len(self.pending) < len(self.weights):
            return
        with open(self.path, "a", encoding="utf-8") as file:
            for index in range(min(self.per_step, len(completions))):
                rewards = {key: value[index] for key, value in self.pending.items()}
                total = sum(w * r for w, r in zip(self.weights, rewards.values(), strict=True))
                record = SampledCompletion(
                    step=columns["trainer_state"].global_step,
                    id=columns["id"][index],
                    completion=completions[index][0]["content"],
                    reward=total,
                    rewards=rewards,
                )
                file.write(to_line(record))
        self.pending = {}


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was completely written; removes any that was not."""
    whole: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / _WHOLE).exists():
            whole.append((int(checkpoint.name.removeprefix("checkpoint-")), checkpoint))
        else:
            shutil.rmtree(checkpoint)
    return max(whole)[1] if whole else None
