"""What TRL's options of SRL compute, pinned: docs/training-options.md says it in words."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from mrg_r1.data.study import Sample
from mrg_r1.policy.load import load_policy
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.options import forbid, grpo_config
from mrg_r1.trainers.rows import rows
from tiny_runs import INSTRUCTION, tiny_policy

ONE = [0.0, 0.25, 0.5, 1.0, 0.3, 0.3, 0.3, 0.9]
OTHER = [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0]
WEIGHTS = [0.75, 0.25]


def one(completions: Sequence[Any], **columns: Any) -> list[float]:
    return ONE


def other(completions: Sequence[Any], **columns: Any) -> list[float]:
    return OTHER


@pytest.fixture(scope="module")
def start(drawn: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy on disk from which every training of this file starts."""
    folder = tmp_path_factory.mktemp("start") / "policy"
    tiny_policy(drawn).save(folder)
    return folder


def trained(drawn: list[Sample], start: Path, folder: Path, **options: Any) -> GRPOTrainer:
    """TRL's trainer after one step of two groups of four, on fixed rewards."""
    policy = load_policy(start, trainable=True)
    # A policy of random weights hardly ever ends by itself; lengths should differ.
    ends = [[[policy.processor.tokenizer.eos_token_id], 4.5]]
    table = {
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 8,
        "max_steps": 1,
        "max_completion_length": 6,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "generation_kwargs": {"sequence_bias": ends},
        **options,
    }
    with faults_named(folder):
        config = grpo_config(table, folder / "out", 0, reward_weights=WEIGHTS)
        forbid(config, policy.forbidden_tokens())
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=[one, other],
            args=config,
            train_dataset=rows(drawn, INSTRUCTION),
            processing_class=policy.processor,
        )
        trainer.train()
    shutil.rmtree(folder / "out")
    return trainer


def groups() -> tuple[torch.Tensor, torch.Tensor]:
    """Both rewards, and their weighted sum, by group: (2, 2, 4) and (2, 4)."""
    both = torch.tensor([ONE, OTHER]).view(2, 2, 4)
    return both, (both * torch.tensor(WEIGHTS).view(2, 1, 1)).sum(dim=0)


def centred(rewards: torch.Tensor) -> torch.Tensor:
    return rewards - rewards.mean(dim=-1, keepdim=True)


def by_group() -> torch.Tensor:
    _, total = groups()
    return centred(total) / (total.std(dim=-1, keepdim=True) + 1e-4)


def undivided() -> torch.Tensor:
    return centred(groups()[1])


def by_batch() -> torch.Tensor:
    _, total = groups()
    return centred(total) / (total.std() + 1e-4)


def each_reward() -> torch.Tensor:
    both, _ = groups()
    scaled = centred(both) / (both.std(dim=-1, keepdim=True) + 1e-4)
    total = (scaled * torch.tensor(WEIGHTS).view(2, 1, 1)).sum(dim=0)
    return (total - total.mean()) / (total.std() + 1e-4)


ADVANTAGES = {
    "eq. 2": ({}, by_group),
    "Dr. GRPO": ({"scale_rewards": "none"}, undivided),
    "batch": ({"scale_rewards": "batch"}, by_batch),
    "GDPO": ({"multi_objective_aggregation": "normalize_then_sum"}, each_reward),
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "expected"), ADVANTAGES.values(), ids=ADVANTAGES)
def test_advantages(
    drawn: list[Sample],
    start: Path,
    tmp_path: Path,
    options: dict[str, Any],
    expected: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = trained(drawn, start, tmp_path, **options)
    taken = torch.tensor(list(trainer._logs["advantages"])).view(2, 4)
    assert torch.allclose(taken, expected(), atol=1e-5)


# Options, those they are compared with, and whether one step ends in the same weights.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "GSPO, on completions of the policy itself": (
        {"importance_sampling_level": "sequence"},
        {},
        True,
    ),
    "clip-higher, on completions of the policy itself": ({"epsilon_high": 0.28}, {}, True),
    "GSPO, on completions used twice": (
        {"importance_sampling_level": "sequence", "num_iterations": 2, "max_steps": 2},
        {"num_iterations": 2, "max_steps": 2},
        False,
    ),
    "clip-higher, on completions used twice": (
        {"epsilon_high": 5.0, "epsilon": 1e-4, "num_iterations": 2, "max_steps": 2},
        {"epsilon": 1e-4, "num_iterations": 2, "max_steps": 2},
        False,
    ),
    "Dr. GRPO's loss": ({"loss_type": "dr_grpo"}, {}, False),
}


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs", "same"), STEPS.values(), ids=STEPS)
def test_where_an_option_changes_nothing(
    drawn: list[Sample],
    start: Path,
    tmp_path: Path,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    same: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Plain descent: Adam would hide a factor, and blow up rounding where a gradient is 0.
    plain = {"optim": "sgd", "save_steps": 2, "max_grad_norm": 1e9}
    one, other = (trained(drawn, start, tmp_path, **plain, **table) for table in (ours, theirs))
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    alike = [torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in pairs]
    assert all(alike) is same
