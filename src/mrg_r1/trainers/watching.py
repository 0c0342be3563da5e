"""The health of a reward while it is trained on, among the figures of the trainer's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrg_r1.rewards import Completion
from mrg_r1.rewards.health import Readers, health, joined, observe, sampled
from mrg_r1.trainers.processes import gathered, processes


class HealthWatch:
    """Computes `rewards.health` of every batch and logs it.

    A group may lie in two processes, and distinct reports cannot be averaged: facts are gathered,
    and every process logs the same figures, of which TRL takes the mean.

    Args:
        weights: of the rewards.
        group: completions of a group.
        readers: of the sample.
        sample: completions of a batch that they read, in all processes together.
    """

    def __init__(self, weights: Sequence[float], group: int, readers: Readers, sample: int) -> None:
        self.weights = list(weights)
        self.group = group
        self.readers = readers
        self.sample = sample

    def __call__(
        self,
        completions: Sequence[Completion],
        columns: Mapping[str, Any],
        rewards: Mapping[str, Sequence[float]],
    ) -> None:
        """Logs the figures by the `log_metric` that TRL gives to rewards."""
        chosen = sampled(len(completions), -(-self.sample // processes()))
        facts = observe(
            completions,
            columns["reference"],
            list(rewards.values()),
            self.weights,
            self.readers,
            chosen,
        )
        judge = self.readers.judge.__name__ if self.readers.judge else ""
        figures = health(joined(gathered([facts])), list(rewards), self.group, judge)
        for name, value in figures.items():
            columns["log_metric"](name, value)
