"""Plans against what transformers, PEFT, torch, bitsandbytes and TRL make of tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from trl.trainer.utils import RepeatSampler

from mrg_r1.data.study import Sample
from mrg_r1.plan.duration import tokens_of_step
from mrg_r1.plan.images import Resolution
from mrg_r1.plan.job import job_of
from mrg_r1.plan.memory import Load, Weights, kept_by_layer, state_bytes
from mrg_r1.plan.shape import shape_of, tiny_shape
from mrg_r1.policy.load import Policy
from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.rewards.format import FormatReward
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.options import grpo_config
from mrg_r1.trainers.rows import rows
from mrg_r1.trainers.sharing import trainer_for
from tiny_batches import CONFIGS, batch_of, model_of
from tiny_families import FAMILIES
from tiny_runs import INSTRUCTION, SIZE, TINY

VISION = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl")
LORA = LoraSettings(rank=4, alpha=8)


def learning(model: nn.Module) -> list[int]:
    return [weight.numel() for weight in model.parameters() if weight.requires_grad]


@pytest.mark.slow
@pytest.mark.parametrize("family", VISION)
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_those_of_a_model(family: str, tied: bool) -> None:
    config = deepcopy(CONFIGS[family])
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
    model = AutoModelForImageTextToText.from_config(config)
    assert shape_of(config.to_dict()).weights == sum(w.numel() for w in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_weights_are_those_of_other_widths(family: str) -> None:
    model, _ = FAMILIES[family]()
    assert shape_of(model.config.to_dict()).weights == sum(w.numel() for w in model.parameters())


@pytest.mark.slow
def test_weights_of_a_tiny_policy(policy: Policy) -> None:
    words = len(policy.processor.tokenizer)
    assert words <= TINY.vocabulary
    shape = tiny_shape(replace(TINY, vocabulary=words))
    assert shape.weights == sum(w.numel() for w in policy.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "lora"),
    [
        *((family, LORA) for family in VISION),
        *((family, replace(LORA, vision=True)) for family in VISION),
        ("qwen2.5-vl", replace(LORA, targets=("q_proj", "v_proj"))),
        ("qwen2.5-vl", replace(LORA, targets=("qkv", "proj", "mlp.0", "mlp.2"), vision=True)),
        ("qwen2-vl", replace(LORA, targets=("fc1", "fc2", "qkv"), vision=True)),
        ("qwen3-vl", replace(LORA, targets=("linear_fc1", "linear_fc2", "proj"), vision=True)),
    ],
)
def test_an_adapters_matrices_are_those_that_peft_makes(family: str, lora: LoraSettings) -> None:
    model = model_of(family)
    with quiet():
        adapted = get_peft_model(model, lora_config(model, lora))
    matrices = shape_of(CONFIGS[family].to_dict()).lora_matrices(lora)
    assert sorted(matrices) == sorted(learning(adapted))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(width=st.integers(30, 4000), height=st.integers(30, 4000), most=st.integers(4000, 10**7))
def test_tokens_are_those_of_the_processor(width: int, height: int, most: int) -> None:
    rows, columns = smart_resize(height, width, 28, 3136, most)
    assert Resolution(28, 3136, most).tokens(width, height) == rows * columns // 28**2


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3},
        {"steps_per_generation": 2, "num_iterations": 2},
        {"generation_batch_size": 24, "num_generations": 3, "beta": 0.0, "optim": "adamw_torch"},
        {"num_train_epochs": 1, "max_completion_length": 64, "gradient_checkpointing": False},
        {"effective_batch_size": 32, "bf16": False},
    ],
)
def test_a_job_is_what_training_makes_of_the_options(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    given_to_trl = {"bf16": False, "save_steps": 12, **options}
    with faults_named(tmp_path):
        config = grpo_config(given_to_trl, tmp_path, 0, reward_weights=[])
    job = job_of({"bf16": False, **options}, 1)
    assert (job.each, job.parts, job.group, job.reuse, job.iterations) == (
        config.per_device_train_batch_size,
        config.gradient_accumulation_steps,
        config.num_generations,
        config.steps_per_generation,
        config.num_iterations,
    )
    assert job.gpus * job.each * job.reuse == config.generation_batch_size
    assert (job.completion, job.epochs) == (config.max_completion_length, config.num_train_epochs)
    assert (job.max_steps, job.checkpointing) == (config.max_steps, config.gradient_checkpointing)
    assert (job.reference, job.eight_bit) == (config.beta != 0, False)
    assert (job.bf16, job.gather) == (config.bf16, config.ds3_gather_for_generation)
    assert job.vllm_share == config.vllm_gpu_memory_utilization
    assert (job.sampler, job.corrected, job.vllm_sleeps) == (
        "transformers",
        config.vllm_importance_sampling_correction,
        config.vllm_enable_sleep_mode,
    )
    assert job_of({**options, "use_vllm": True}, 1).sampler == config.vllm_mode


@pytest.mark.slow
@pytest.mark.parametrize("samples", [8, 17, 64])
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("iterations", [1, 2])
def test_steps_are_as_trls_sampler_and_trainer_count(
    samples: int, parts: int, iterations: int
) -> None:
    options = {"gradient_accumulation_steps": parts, "num_iterations": iterations}
    job = job_of({**options, "num_train_epochs": 1, "per_device_train_batch_size": 4}, 2)
    sampler = RepeatSampler(
        range(samples), job.group, job.prompts, repeat_count=job.iterations * job.reuse
    )
    # Of a generation, each process takes a share, which it hands out in parts.
    batches = len(sampler) // (job.gpus * job.each * job.reuse)
    assert job.steps(samples) == max(1, -(-batches // job.parts))


@pytest.mark.slow
def test_a_real_run_takes_the_steps_tokens_and_bytes_that_are_planned(
    policy: Policy, drawn: Sequence[Sample], tmp_path: Path
) -> None:
    srl = {
        "bf16": False,
        "gradient_checkpointing": False,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "save_steps": 100,
        "max_completion_length": 8,
        "optim": "adamw_torch",
    }
    job = job_of(srl, 1)
    with faults_named(tmp_path):
        trainer = trainer_for(policy.model, "auto")(
            model=policy.model,
            reward_funcs=[FormatReward()],
            args=grpo_config(srl, tmp_path, 0, reward_weights=[1.0]),
            train_dataset=rows(drawn, INSTRUCTION),
            processing_class=policy.processor,
            peft_config=lora_config(policy.model, LORA),
        )
        trainer.train()
    assert trainer.state.global_step == job.steps(len(drawn))

    shape = tiny_shape(replace(TINY, vocabulary=len(policy.processor.tokenizer)))
    matrices = shape.lora_matrices(LORA)
    states: Any = trainer.optimizer.state
    kept = [tensor for state in states.values() for tensor in state.values()]
    assert sum(tensor.nbytes for tensor in kept) == state_bytes(matrices, False, 4)
    gradients = [w for w in trainer.model.parameters() if w.requires_grad]
    assert sum(w.nbytes for w in gradients) == 4 * sum(matrices)

    image = Resolution(28, TINY.pixels**2, TINY.pixels**2).tokens(SIZE, SIZE)
    prompt = trainer.train_dataset[0]["prompt"]
    turns = policy.processor.apply_chat_template(prompt, add_generation_prompt=True)
    words = len(policy.processor.tokenizer(turns)["input_ids"]) + 2  # around the image
    load = Load(image + words, image, 4 * image)
    log = trainer.state.log_history[0]
    mean = log["completions/mean_length"]
    assert log["num_tokens"] == pytest.approx(tokens_of_step(job, load, mean, shared=False))


@pytest.mark.slow
@pytest.mark.parametrize("size", [4095, 4096, 70_001])
def test_bytes_of_8_bit_states_are_those_of_bitsandbytes(size: int) -> None:
    optim = pytest.importorskip("bitsandbytes.optim", reason="bitsandbytes is not installed")
    weight = nn.Parameter(torch.randn(size))
    optimizer = optim.AdamW8bit([weight])
    weight.sum().backward()
    optimizer.step()
    # The two maps of 256 codes are one for all matrices.
    kept = [v for k, v in optimizer.state[weight].items() if k[:4] != "qmap" and torch.is_tensor(v)]
    assert sum(tensor.nbytes for tensor in kept) == state_bytes([size], True, 4)


@pytest.mark.slow
@pytest.mark.parametrize("family", VISION)
@pytest.mark.parametrize("lora", [LORA, None])
def test_activations_are_about_those_that_a_model_keeps(
    family: str, lora: LoraSettings | None
) -> None:
    """Tensors saved for the backward pass by the language model, without its weights."""
    model: Any = model_of(family).train()
    if lora:
        with quiet():
            model = get_peft_model(model, lora_config(model, lora))
    batch = batch_of(family, [0, 0, 0, 0], [6, 6, 6, 6])
    embedded = torch.randn(*batch["input_ids"].shape, 32, requires_grad=True)
    weights = {weight.data_ptr() for weight in model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    text = (model.get_base_model() if lora else model).model.language_model
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        text(inputs_embeds=embedded, attention_mask=batch["attention_mask"], use_cache=False)
    shape = shape_of(CONFIGS[family].to_dict())
    job = job_of({"bf16": False}, 1)
    layer = kept_by_layer(shape, Weights(4, lora=lora), job)
    planned = layer * batch["input_ids"].numel() * shape.text.layers
    assert 0.75 < sum(saved.values()) / planned < 1.25


@pytest.mark.slow
def test_8_bit_adamw_takes_steps_in_as_many_bytes_as_planned(
    drawn: Sequence[Sample], tmp_path: Path
) -> None:
    """Of rank 32 on widths of 96 and 288: matrices of 3,072 weights stay in 32 bits, larger not."""
    pytest.importorskip("bitsandbytes", reason="pip install 'mrg-r1[qlora]'")
    wide, lora = replace(TINY, text_width=96), LoraSettings(rank=32, alpha=64)
    policy = build_tiny([*(sample.reference for sample in drawn), INSTRUCTION], wide, seed=0)
    srl = {
        "bf16": False,
        "gradient_checkpointing": False,
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "max_completion_length": 4,
        "optim": "adamw_bnb_8bit",
        "learning_rate": 1e-2,
        "entropy_coef": 0.01,  # gradients even where all rewards are 0
    }
    with faults_named(tmp_path):
        trainer = trainer_for(policy.model, "auto")(
            model=policy.model,
            reward_funcs=[FormatReward()],
            args=grpo_config(srl, tmp_path, 0, reward_weights=[1.0]),
            train_dataset=rows(drawn, INSTRUCTION),
            processing_class=policy.processor,
            peft_config=lora_config(policy.model, lora),
        )
        learning = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        before = [weight.detach().clone() for weight in learning]
        trainer.train()
    assert trainer.state.global_step == 2
    assert not any(torch.equal(*pair) for pair in zip(before, learning, strict=True))
    states: dict[Any, dict[str, Any]] = trainer.optimizer.state
    kept = [
        value
        for state in states.values()
        for name, value in state.items()
        if torch.is_tensor(value) and name not in ("qmap1", "qmap2")  # one for all matrices
    ]
    assert {value.dtype for value in kept} == {torch.uint8, torch.float32}
    shape = tiny_shape(replace(wide, vocabulary=len(policy.processor.tokenizer)))
    matrices = shape.lora_matrices(lora)
    assert {size < 4096 for size in matrices} == {True, False}
    assert sum(value.nbytes for value in kept) == state_bytes(matrices, True, 4)
