"""The order of SRL's samples, also after a stop.

TRL's sampler draws a new order in each pass over the samples from one generator, which a trainer
that resumes in a later epoch starts anew: the first epoch's order would come back, and the run
would end with other numbers than one that was not stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch.utils.data import Sampler
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler


def keep_order(trainer: GRPOTrainer) -> None:
    """Gives each epoch of a trainer the order it has when nothing stops it."""
    sampler_of = trainer._get_train_sampler
    trainer._get_train_sampler = lambda dataset=None: _InEpoch(
        cast("RepeatSampler", sampler_of(dataset)), trainer
    )


class _InEpoch(Sampler[int]):
    """TRL's sampler, put where it would be in the trainer's epoch whenever a pass begins."""

    def __init__(self, sampler: RepeatSampler, trainer: GRPOTrainer) -> None:
        self.sampler = sampler
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        seed = self.sampler.seed
        if self.sampler.shuffle and seed is not None:
            generator = self.sampler.generator.manual_seed(seed)
            for _ in range(int(self.trainer.state.epoch or 0)):
                torch.randperm(self.sampler.num_samples, generator=generator)
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)
