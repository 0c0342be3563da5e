"""What of a recipe's `[srl]` memory and time depend on, with the defaults that training gives it.

`tests/test_plan_training.py` compares the defaults with the configuration that training makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrg_r1.config import engine_settings
from mrg_r1.errors import ConfigError
from mrg_r1.trainers.batches import divided

_EIGHT_BIT = ("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit")
_FULL = ("adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "paged_adamw")
_BUCKET = 500_000_000


@dataclass(frozen=True, slots=True)
class Sharding:
    """What of training is spread over the GPUs.

    `stage` as in ZeRO: 0 nothing, 1 the optimizer's states, 2 gradients too, 3 weights too.
    `bucket` is DeepSpeed's buffer, in numbers; 0 without DeepSpeed.
    """

    engine: str = "DDP"
    stage: int = 0
    optimizer_on_cpu: bool = False
    weights_on_cpu: bool = False
    bucket: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One SRL on some GPUs.

    `each` completions of `completion` tokens at most go through the policy at once on a GPU,
    `parts` times a step; a generation lasts for `reuse` such parts, each learnt from `iterations`
    times. `sampler` is 'transformers' or vLLM's 'colocate' or 'server', of which the former takes
    `vllm_share` of a GPU's memory. `share` is `share_prompts`, but for false.
    """

    gpus: int
    each: int
    parts: int
    group: int
    reuse: int
    iterations: int
    completion: int
    epochs: float
    max_steps: int
    eight_bit: bool
    bf16: bool
    checkpointing: bool
    reference: bool
    corrected: bool
    gather: bool
    sampler: str
    vllm_share: float
    vllm_sleeps: bool
    share: bool
    tower_cached: bool
    sharding: Sharding

    @property
    def batch(self) -> int:
        """Completions a step learns from, over all GPUs."""
        return self.gpus * self.each * self.parts

    @property
    def sampled(self) -> int:
        """Completions that a GPU samples at once."""
        return self.each * self.reuse

    @property
    def prompts(self) -> int:
        """Prompts of a generation, over all GPUs."""
        return self.gpus * self.sampled // self.group

    @property
    def old_policy(self) -> bool:
        """Whether the policy that sampled is asked for its log-probabilities."""
        aligned = self.parts % (self.reuse * self.iterations) == 0
        return not aligned or (self.sampler != "transformers" and self.corrected)

    @property
    def generations_a_step(self) -> float:
        """How many generations a step needs, below 1 where they are used again."""
        return self.parts / (self.reuse * self.iterations)

    def steps(self, samples: int) -> int:
        """Optimizer steps of the whole SRL, as TRL's sampler and trainer count them."""
        if self.max_steps > 0:
            return self.max_steps
        batches = samples // self.prompts * self.iterations * self.reuse
        return math.ceil(self.epochs * max(1, math.ceil(batches / self.parts)))


def job_of(srl: Mapping[str, Any], gpus: int) -> Job:
    """The job of an `[srl]` table; what it leaves out has the defaults of training.

    Raises:
        ConfigError: the effective batch does not come out, groups are torn apart by a generation,
            or an option cannot be planned.
    """
    table = divided("srl", srl, gpus)
    each = table.get("per_device_train_batch_size", 8)
    parts = table.get("gradient_accumulation_steps", 1)
    group = table.get("num_generations", 4)
    reuse = _reuse(table, each * gpus, parts)
    if each * gpus * reuse % group:
        raise ConfigError(
            f"srl.num_generations: a generation of {each * gpus * reuse} completions holds no "
            f"whole groups of {group}; change per_device_train_batch_size or --gpus"
        )
    return Job(
        *(gpus, each, parts, group, reuse),
        iterations=table.get("num_iterations", 1),
        completion=table.get("max_completion_length", 256),
        epochs=table.get("num_train_epochs", 3.0),
        max_steps=table.get("max_steps", -1),
        eight_bit=_eight_bit(table.get("optim", _FULL[1])),
        bf16=bool(table.get("bf16", not table.get("fp16"))),
        checkpointing=table.get("gradient_checkpointing", True),
        reference=table.get("beta", 0.04) != 0,
        corrected=table.get("vllm_importance_sampling_correction", True),
        gather=table.get("ds3_gather_for_generation", True),
        sampler=table.get("vllm_mode", "colocate") if table.get("use_vllm") else "transformers",
        vllm_share=table.get("vllm_gpu_memory_utilization", 0.3),
        vllm_sleeps=table.get("vllm_enable_sleep_mode", False),
        share=table.get("share_prompts", "auto") is not False,
        tower_cached=table.get("tower_cache", "memory") != "off",
        sharding=_sharding(table),
    )


def _reuse(table: Mapping[str, Any], at_once: int, parts: int) -> int:
    if whole := table.get("generation_batch_size"):
        if whole % at_once:
            raise ConfigError(
                f"srl.generation_batch_size: {whole} is no multiple of {at_once}, what all GPUs "
                "take at once"
            )
        return whole // at_once
    return table.get("steps_per_generation") or parts


def _eight_bit(optimizer: str) -> bool:
    if optimizer not in (*_EIGHT_BIT, *_FULL):
        known = ", ".join((*_FULL, *_EIGHT_BIT))
        raise ConfigError(f"srl.optim: the states of '{optimizer}' are not planned; {known} are")
    return optimizer in _EIGHT_BIT


def _sharding(table: Mapping[str, Any]) -> Sharding:
    if deepspeed := table.get("deepspeed"):
        return _zero(engine_settings("srl.deepspeed", deepspeed).get("zero_optimization") or {})
    if table.get("fsdp"):
        config = engine_settings("srl.fsdp_config", table.get("fsdp_config"))
        return _fsdp(str(table["fsdp"]), config)
    return Sharding()


def _zero(zero: Mapping[str, Any]) -> Sharding:
    stage, bucket = zero.get("stage", 0), zero.get("reduce_bucket_size", _BUCKET)
    return Sharding(
        engine=f"ZeRO-{stage}",
        stage=stage,
        optimizer_on_cpu=_on_cpu(zero, "offload_optimizer"),
        weights_on_cpu=stage == 3 and _on_cpu(zero, "offload_param"),
        # 'auto' is a number once the model is known; as large for widths in the thousands.
        bucket=_BUCKET if bucket == "auto" else int(bucket),
    )


def _on_cpu(zero: Mapping[str, Any], key: str) -> bool:
    settings: Mapping[str, Any] = zero.get(key) or {}
    return settings.get("device") in ("cpu", "nvme")


def _fsdp(words: str, config: Mapping[str, Any]) -> Sharding:
    options = {key.removeprefix("fsdp_"): value for key, value in config.items()}
    kept = "shard_grad_op" in words or options.get("reshard_after_forward") is False
    offload = "offload" in words or bool(options.get("offload_params"))
    return Sharding(
        "FSDP", stage=2 if kept else 3, optimizer_on_cpu=offload, weights_on_cpu=offload
    )
