"""Rows, the warm-up, and the arithmetic of TRL that we rely on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError
from mrg_r1.findings import DISEASES, Finding, Labels, Status
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import WarmUp
from mrg_r1.rewards.format import FormatReward
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.options import forbid, grpo_config, sft_config
from mrg_r1.trainers.rows import rows, supervised_targets
from mrg_r1.trainers.warmup import warm_up
from tiny_runs import INSTRUCTION, SIZE, in_favour_of, tiny_policy

CPU = {"bf16": False, "gradient_checkpointing": False}


def one_step(policy: Policy, drawn: Sequence[Sample], folder: Path, reward: Any) -> GRPOTrainer:
    """TRL's own trainer, unmodified, after one step of two groups of four."""
    with faults_named(folder):
        config = grpo_config(
            {
                **CPU,
                "per_device_train_batch_size": 8,
                "max_steps": 1,
                "max_completion_length": 4,
                "learning_rate": 0.0,
            },
            folder,
            0,
            reward_weights=[1.0],
        )
        forbid(config, policy.forbidden_tokens())
        policy.save(folder / "start")
        policy.model.config._name_or_path = str(folder / "start")
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=[reward],
            args=config,
            train_dataset=rows(drawn, INSTRUCTION),
            processing_class=policy.processor,
        )
        trainer.train()
    return trainer


@pytest.mark.slow
def test_trl_divides_by_the_sample_standard_deviation(
    policy: Policy, drawn: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [0.0, 0.25, 0.5, 1.0, 0.3, 0.3, 0.3, 0.9]

    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        return given

    trainer = one_step(policy, drawn, tmp_path, reward)
    taken = torch.tensor(list(trainer._logs["advantages"])).view(2, 4)
    groups = torch.tensor(given).view(2, 4)
    centred = groups - groups.mean(dim=1, keepdim=True)
    sample = centred / (groups.std(dim=1, keepdim=True) + 1e-4)
    assert torch.allclose(taken, sample)
    population = centred / (groups.var(dim=1, correction=0, keepdim=True) + 1e-8).sqrt()  # eq. 2
    assert torch.allclose(taken, math.sqrt(3 / 4) * population, atol=1e-3)
    assert not torch.allclose(taken, population, atol=0.1)


@pytest.mark.slow
def test_trl_never_samples_control_tokens(
    policy: Policy, drawn: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampled: list[int] = []

    def reward(completions: Sequence[Any], completion_ids: Any, **columns: Any) -> list[float]:
        sampled.extend(token for ids in completion_ids for token in ids)
        return [0.0] * len(completions)

    allowed = policy.processor.tokenizer.convert_tokens_to_ids("a")
    with in_favour_of(policy, [*policy.forbidden_tokens(), allowed]):
        one_step(policy, drawn, tmp_path, reward)
    assert set(sampled) == {allowed}


def test_sft_learns_the_completion_and_its_end_only(
    policy: Policy, drawn: list[Sample], tmp_path: Path
) -> None:
    targets = ["<think>a b</think><report>c</report>", "<think>a</think><report>b</report>"]
    with faults_named(tmp_path):
        trainer = SFTTrainer(
            model=policy.model,
            args=sft_config({**CPU, "per_device_train_batch_size": 2}, tmp_path, 0),
            train_dataset=rows(drawn[:2], INSTRUCTION, targets),
            processing_class=policy.processor,
        )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    for ids, labels, target in zip(batch["input_ids"], batch["labels"], targets, strict=True):
        learnt = policy.processor.tokenizer.decode(labels[labels != -100])
        assert learnt == f"{target}<|im_end|>\n"
        assert INSTRUCTION in policy.processor.tokenizer.decode(ids)
    assert batch["pixel_values"].shape[0] == 2 * 16


def test_rows_read_their_images_when_asked(drawn: list[Sample], tmp_path: Path) -> None:
    gone = replace(drawn[0], images=(tmp_path / "gone.png",))
    data = rows([drawn[1], gone], "Look.", ["one", "two"])
    row = data[0]
    assert row["prompt"] == [{"role": "user", "content": "Look."}]
    assert row["completion"] == [{"role": "assistant", "content": "one"}]
    assert (row["id"], row["reference"]) == (drawn[1].id, drawn[1].reference)
    assert [(image.mode, image.size) for image in row["images"]] == [("RGB", (SIZE, SIZE))]
    with pytest.raises(DataError, match="no such image"):
        data[1]


def test_targets_say_what_is_seen_and_what_may_be(drawn: list[Sample]) -> None:
    labels = [
        Labels.of({Finding.EDEMA: Status.POSITIVE, Finding.PNEUMONIA: Status.UNCERTAIN}),
        Labels.of({Finding.EDEMA: Status.NEGATIVE}),
    ]
    told = supervised_targets(drawn[:2], labels, "labels")
    assert told[0].startswith("<think>Seen: Edema. Possible: Pneumonia.</think><report>")
    assert told[1] == f"<think>Seen: nothing.</think><report>{drawn[1].reference}</report>"
    assert all(FormatReward()(told, [s.reference for s in drawn[:2]]))
    plain = supervised_targets(drawn[:2], labels, "none")
    assert plain[1].startswith("<think>Reading the image.</think><report>")


@pytest.mark.slow
def test_a_warm_up_teaches_the_image_tower_only(policy: Policy, drawn: list[Sample]) -> None:
    before = {name: weights.clone() for name, weights in policy.model.state_dict().items()}
    labels = [Labels.of({finding: Status.POSITIVE}) for finding in DISEASES[: len(drawn)]]
    told: list[tuple[int, int, str]] = []

    def report(done: int, total: int, figures: str = "") -> None:
        told.append((done, total, figures))

    warm_up(policy, drawn, labels, WarmUp(steps=30, batch_size=3), seed=0, report=report)
    after = policy.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".visual." in name}
    assert [step[:2] for step in told] == [(i, 30) for i in range(1, 31)]
    first, last = (float(told[i][2].removeprefix("loss ")) for i in (0, -1))
    assert last < first / 2
    again = tiny_policy(drawn)
    warm_up(again, drawn, labels, WarmUp(steps=30, batch_size=3), seed=0, report=report)
    assert all(torch.equal(w, after[name]) for name, w in again.model.state_dict().items())
