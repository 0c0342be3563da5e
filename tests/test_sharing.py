"""What a group shares is computed once, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import use_adapter

import tiny_runs
from mrg_r1.config import Recipe
from mrg_r1.errors import ConfigError
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.records import StepMetrics, read_jsonl
from mrg_r1.trainers import sharing
from mrg_r1.trainers.packing import IGNORED, pack
from mrg_r1.trainers.prompting import prompts_once
from mrg_r1.trainers.sharing import Samples, SharingTrainer, trainer_for, why_not
from tiny_batches import CONFIGS, batch_of, model_of
from tiny_runs import tiny_recipe


def trainer_of(cls: type[GRPOTrainer]) -> Any:
    """As much of a trainer as log-probabilities need."""
    trainer = cls.__new__(cls)
    trainer.accelerator = Accelerator(cpu=True)
    trainer.model = SimpleNamespace(training=False)
    trainer.pays_from = 0.0
    return trainer


def scores_and_gradients(
    cls: type[GRPOTrainer], model: PreTrainedModel, batch: dict[str, Any], **options: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    model.zero_grad()
    logps, entropies, _ = trainer_of(cls)._get_per_token_logps_and_entropies(
        model, compute_entropy=True, **batch, **options
    )
    weights = torch.linspace(-1, 1, logps.numel()).view_as(logps)
    # TRL's values at padding are not used; ours are 0 there.
    width = logps.shape[1]
    kept = batch["attention_mask"][:, -width:]
    (logps * weights * kept).sum().backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return logps * kept, entropies * kept, torch.cat(gradients)


BATCHES = {
    "one group": ([0, 0, 0, 0], [3, 5, 1, 4]),
    "groups of two prompts": ([0, 0, 1, 1], [2, 2, 6, 1]),
    "scattered": ([1, 0, 2, 0, 1, 1], [4, 4, 2, 1, 5, 3]),
    "one left alone": ([0, 0, 0, 1], [1, 1, 1, 1]),
    "a completion masked whole": ([0, 0, 1, 1], [0, 4, 2, 0]),
}


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("case", BATCHES)
def test_log_probabilities_and_gradients_are_those_of_rows(family: str, case: str) -> None:
    model = model_of(family)
    batch = batch_of(family, *BATCHES[case])
    expected = scores_and_gradients(GRPOTrainer, model, batch)
    shared = scores_and_gradients(SharingTrainer, model, batch)
    for ours, theirs in zip(shared, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 4, 6])
def test_a_batch_in_chunks_keeps_its_order(chunk: int) -> None:
    model = model_of("qwen2.5-vl")
    batch = batch_of("qwen2.5-vl", *BATCHES["scattered"])
    expected = scores_and_gradients(GRPOTrainer, model, batch)
    shared = scores_and_gradients(SharingTrainer, model, batch, batch_size=chunk)
    for ours, theirs in zip(shared, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_computes_the_same_again() -> None:
    model = model_of("qwen2.5-vl")
    batch = batch_of("qwen2.5-vl", *BATCHES["scattered"])
    expected = scores_and_gradients(SharingTrainer, model, batch)
    with quiet():
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    again = scores_and_gradients(SharingTrainer, model, batch)
    for ours, theirs in zip(again, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


ADAPTER = LoraConfig(r=2, lora_alpha=4, target_modules=r".*language_model.*(q_proj|up_proj)")


def test_an_adapter_switched_off_is_its_base() -> None:
    batch = batch_of("qwen2.5-vl", *BATCHES["scattered"])
    base = scores_and_gradients(SharingTrainer, model_of("qwen2.5-vl"), batch)[0]
    with quiet():
        model = get_peft_model(model_of("qwen2.5-vl"), ADAPTER)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight)
    expected = scores_and_gradients(GRPOTrainer, model, batch)
    adapted = scores_and_gradients(SharingTrainer, model, batch)
    for ours, theirs in zip(adapted, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(adapted[0], base, atol=1e-2)
    trainer = trainer_of(SharingTrainer)
    with use_adapter(model, adapter_name=None), torch.no_grad():
        reference, _, _ = trainer._get_per_token_logps_and_entropies(model, **batch)
    torch.testing.assert_close(reference, base, rtol=1e-4, atol=1e-5)


def test_what_does_not_pay_is_left_to_trl(capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of("qwen2")
    tokens: list[int] = []
    model.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: tokens.append(inputs[0].shape[:2].numel())
    )
    batch = batch_of("qwen2", [0, 0], [20, 20])  # 2 x 23 tokens alone, 42 as a row
    trainer = trainer_of(SharingTrainer)
    trainer.pays_from = 1.1
    for _ in range(2):
        trainer._get_per_token_logps_and_entropies(model, **batch)
    told = capsys.readouterr().err
    assert told.count("would spare 9% of the tokens, which does not pay") == 1
    trainer.pays_from = 1.0
    trainer._get_per_token_logps_and_entropies(model, **batch)
    assert tokens == [2 * 23, 2 * 23, 42]


def test_the_tower_sees_each_groups_images_once() -> None:
    model = model_of("qwen2.5-vl")
    batch = batch_of("qwen2.5-vl", *BATCHES["scattered"])
    seen: list[int] = []
    model.model.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    scores_and_gradients(SharingTrainer, model, batch)
    of_sample = [int(grid.prod()) for grid in batch["image_grid_thw"]]
    assert seen == [16 * 2 + 24 + 16 * 2]
    assert sum(of_sample) == 2 * 16 * 2 + 3 * 24 + 16 * 2


def test_samples_of_one_prompt_about_other_images_are_no_group() -> None:
    batch = batch_of("qwen2.5-vl", [0, 0, 0], [1, 1, 1])
    batch["pixel_values"][-1, -1] += 1
    width = batch.pop("logits_to_keep")
    ids, mask = batch.pop("input_ids"), batch.pop("attention_mask")
    assert Samples(ids, mask, width, **batch).groups() == [[0, 1], [2]]


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("sample", [False, True])
def test_a_prompt_read_once_is_continued_alike(family: str, sample: bool) -> None:
    model = model_of(family)
    batch = batch_of(family, [1, 1, 0, 0, 2, 2], [0] * 6)
    del batch["logits_to_keep"]
    counts = batch.pop("num_images", None)
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": sample, "pad_token_id": 0}
    torch.manual_seed(3)
    expected = model.generate(**batch, **options)
    torch.manual_seed(3)
    with prompts_once(model, 2, counts):
        given = model.generate(**batch, **options)
    assert given.tolist() == expected.tolist()
    if sample:
        assert given[0].tolist() != given[1].tolist()


def test_each_prompt_and_image_is_read_once() -> None:
    model = model_of("qwen2.5-vl")
    batch = batch_of("qwen2.5-vl", [1, 1, 0, 0], [0] * 4)
    del batch["logits_to_keep"]
    counts = batch.pop("num_images")
    patches: list[int] = []
    tokens: list[int] = []
    model.model.visual.register_forward_pre_hook(lambda _, inputs: patches.append(len(inputs[0])))
    model.lm_head.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].numel()))
    with prompts_once(model, 2, counts):
        model.generate(**batch, max_new_tokens=2, do_sample=False, pad_token_id=0)
    assert patches == [24 + 16 * 2]
    assert tokens == [2 * 32, 4 * 32, 4 * 32]


def test_prompts_that_are_not_repeated_are_left_alone() -> None:
    model = model_of("qwen2.5-vl")
    batch = batch_of("qwen2.5-vl", [1, 0, 1, 0], [0] * 4)
    del batch["logits_to_keep"]
    counts = batch.pop("num_images")
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    expected = model.generate(**batch, **options)
    with prompts_once(model, 2, counts):
        assert model.generate(**batch, **options).tolist() == expected.tolist()


def test_a_packed_row() -> None:
    packed = pack(
        [torch.tensor([7, 8])],
        [torch.tensor([[0, 1]])],
        [[torch.tensor([10, 11]), torch.tensor([20])]],
        width=3,
    )
    assert packed.input_ids.tolist() == [[7, 8, 10, 8]]
    assert packed.position_ids.tolist() == [[[0, 1, 2, 1]]]
    assert packed.labels.tolist() == [[IGNORED, 10, 11, 20]]
    values = torch.tensor([[0.0, 0.1, 0.2, 0.3]])
    torch.testing.assert_close(
        packed.unpacked(values), torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.0, 0.0]])
    )


def test_another_trl_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing.trl, "__version__", "1.17.0")
    assert trainer_for(model_of("llama"), share=False) is GRPOTrainer
    for share in ("auto", True):
        with pytest.raises(ConfigError, match=r"TRL is 1.17.0, and sharing was tested with 1.16.x"):
            trainer_for(model_of("llama"), share=share)


def test_a_model_that_cannot_share_is_trained_by_trl(capsys: pytest.CaptureFixture[str]) -> None:
    windowed = model_of("qwen2")
    assert trainer_for(windowed, share="auto") is SharingTrainer
    windowed.config.layer_types = ["full_attention", "sliding_attention"]
    assert trainer_for(windowed, share=True) is GRPOTrainer
    assert "for each completion: some layers see only a window" in capsys.readouterr().err


def test_why_a_model_cannot_share() -> None:
    assert all(why_not(model_of(family)) is None for family in CONFIGS)
    flash = model_of("llama")
    flash.config._attn_implementation = "flash_attention_2"
    assert why_not(flash) is None
    assert why_not(model_of("llama", "eager")) == (
        "attention 'eager' knows no groups; use policy.attention=sdpa"
    )
    windowed = model_of("qwen2")
    windowed.config.layer_types = ["full_attention", "sliding_attention"]
    assert why_not(windowed) == "some layers see only a window"


STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as shipped": ({}, {}),
    "accumulated": ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, {}),
    "groups torn apart": ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, {}),
    "reused": ({"num_iterations": 2}, {}),
    "LoRA": ({"learning_rate": 1e-2}, {"lora": LoraSettings(rank=2, alpha=4, dropout=0.0)}),
    "of eight": ({"num_generations": 8}, {}),
    "truncated completions masked": ({"mask_truncated_completions": True}, {}),
}


def metrics_of(recipe: Recipe, options: dict[str, Any], root: Path) -> list[dict[str, float]]:
    """What SRL records, step by step."""
    srl = {**recipe.srl, "beta": 0.1, **options}
    tiny_runs.train(replace(recipe, srl=srl), root)
    lines = read_jsonl(root / "metrics.jsonl", StepMetrics)
    return [line.values for line in lines if line.stage == "srl"]


@pytest.mark.slow
@pytest.mark.parametrize("case", STEPS)
def test_training_is_step_by_step_that_of_trl(tmp_path: Path, case: str) -> None:
    options, policy = STEPS[case]
    recipe = tiny_recipe(**policy)
    options = {**options, "max_steps": 6}
    shared, plain = (
        metrics_of(recipe, {**options, "share_prompts": share}, tmp_path / str(share))
        for share in (True, False)
    )
    assert len(shared) == 6
    assert any(line["grad_norm"] > 0 for line in shared)
    # Which samples are a part of an accumulated batch differs, and TRL takes the mean over a part's
    # tokens for what it tells of the KL and for the bonus on entropy that these gradients are of.
    accumulated = "gradient_accumulation_steps" in options
    for ours, theirs in zip(shared, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=0.03 if accumulated else 2e-3, abs=2e-5)


@pytest.mark.slow
def test_fifty_steps_are_those_of_trl(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    options = {"max_steps": 50, "save_steps": 50}
    shared, plain = (
        metrics_of(recipe, {**options, "share_prompts": share}, tmp_path / str(share))
        for share in (True, False)
    )
    assert len(shared) == 50
    assert shared[-1]["kl"] > 1e-3  # it has moved
    for ours, theirs in zip(shared, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
