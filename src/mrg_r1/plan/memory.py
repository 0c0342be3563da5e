"""Memory of a GPU during SRL, line by line.

What always stays (weights, states) follows from counts and is exact. What comes and goes
(activations, cache, buffers) is computed from the tensors that transformers' layers keep for the
backward pass, and estimated: allocators round up, and libraries differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mrg_r1.plan.job import Job
from mrg_r1.plan.shape import CHANNELS, FRAMES, Shape
from mrg_r1.policy.settings import LoraSettings

GIB = 2**30

CONTEXT = 1.5 * GIB
"""CUDA's context, its libraries' workspaces, and NCCL: an estimate."""

CHEXBERT_WEIGHTS = 109_523_766
"""BERT-base and CheXbert's 14 heads."""

_TILE_TOKENS, _TILE_WORDS = 4096, 32768
_BLOCK, _SMALL = 256, 4096
_FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)


@dataclass(frozen=True, slots=True)
class Line:
    """One item: bytes on a GPU, the formula they come from, and when they are there.

    `when` is 'always', 'sampling' or 'update'; the last two do not meet.
    """

    name: str
    size: float
    formula: str
    when: str = "always"
    estimate: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """How the policy's weights are kept: bytes of each, or 4 bits, and its adapter."""

    size: int
    four_bit: bool = False
    lora: LoraSettings | None = None
    eager: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens of a prompt (of which its images are `image`), and patches of its images."""

    prompt: int
    image: int
    patches: int


def peak(lines: Sequence[Line]) -> dict[str, float]:
    """Bytes on a GPU while sampling and while updating."""
    return {
        phase: sum(line.size for line in lines if line.when in ("always", phase))
        for phase in ("sampling", "update")
    }


def rows(job: Job, load: Load, shared: bool) -> tuple[int, int]:
    """Rows that go through the policy at once, and tokens of each (`trainers.packing`)."""
    if not shared:
        return job.each, load.prompt + job.completion
    members = min(job.each, job.group)
    return math.ceil(job.each / job.group), load.prompt - 1 + members * job.completion


def is_shared(job: Job, load: Load) -> bool:
    """Whether a group is one row, which it is where that spares 5 % of the tokens."""
    count, length = rows(job, load, shared=True)
    return job.share and job.each * (load.prompt + job.completion) >= 1.05 * count * length


def state_bytes(matrices: Sequence[int], eight_bit: bool, size: int) -> int:
    """Bytes of AdamW's two states for weights in matrices of these sizes.

    torch's have the width of their weights, `size`, and a step count of 4 bytes a matrix. Those of
    bitsandbytes are one byte with a 4-byte scale for each 256, and 4 bytes in matrices of less than
    4096 weights.
    """
    if not eight_bit:
        return sum(2 * size * n + 4 for n in matrices)
    return sum(8 * n if n < _SMALL else 2 * n + 8 * math.ceil(n / _BLOCK) for n in matrices)


def lines(
    shape: Shape, weights: Weights, job: Job, load: Load, *, capacity: float, chexbert: bool
) -> list[Line]:
    """Everything that lies in the memory of a GPU of `capacity` bytes."""
    return [
        *_policy(shape, weights, job),
        *_training(shape, weights, job),
        *_sampling(shape, weights, job, load, capacity),
        *_update(shape, weights, job, load),
        *_rest(shape, job, load, chexbert),
    ]


def _policy(shape: Shape, weights: Weights, job: Job) -> Iterator[Line]:
    spread = job.gpus if job.sharding.stage == 3 else 1
    over = f" / {spread} GPUs" if spread > 1 else ""
    if weights.four_bit:
        quantized = shape.linear_weights
        rest = shape.weights - quantized
        size = quantized * _FOUR_BITS + rest * weights.size
        formula = f"{quantized:,} x {_FOUR_BITS:.4f} B + {rest:,} x {weights.size} B{over}"
    else:
        size = shape.weights * weights.size
        formula = f"{shape.weights:,} x {weights.size} B{over}"
    if job.sharding.weights_on_cpu:
        yield Line("weights", 0, "in main memory")
    else:
        yield Line("weights", size / spread, formula)
    if weights.lora is None and job.reference:
        yield Line("reference", size / spread, formula)
    if spread > 1:
        layer = max(shape.text.embeddings, 2 * _layer(shape)) * weights.size
        yield Line(
            "gathered layers", layer, "the larger of embeddings and two layers", estimate=True
        )


def _layer(shape: Shape) -> int:
    return sum(linear.weights for linear in shape.text.linears)


def _training(shape: Shape, weights: Weights, job: Job) -> Iterator[Line]:
    """The adapter (or nothing, where all weights learn), gradients, and the optimizer's states."""
    matrices = shape.lora_matrices(weights.lora) if weights.lora else [shape.weights]
    count, sharding = sum(matrices), job.sharding
    zero = sharding.bucket > 0
    size = _learning(weights, job)
    spread = {stage: job.gpus if sharding.stage >= stage else 1 for stage in (1, 2, 3)}
    over = {stage: f" / {n} GPUs" if n > 1 else "" for stage, n in spread.items()}
    if weights.lora:
        yield Line("LoRA weights", count * size / spread[3], f"{count:,} x {size} B{over[3]}")
    yield Line("gradients", count * size / spread[2], f"{count:,} x {size} B{over[2]}")
    if sharding.engine == "DDP" and job.gpus > 1:
        yield Line("DDP's buckets", count * size, "as large as the gradients")
    if sharding.optimizer_on_cpu:
        yield Line("optimizer states", 0, "in main memory")
        return
    if zero and size < 4:
        yield Line(
            "32-bit copy and gradient",
            count * 8 / spread[1],
            f"{count:,} x (4 + 4) B{over[1]}",
        )
    # An engine that shards lays all learning weights end to end, in 32 bits; without one,
    # transformers keeps the states of embeddings in 32 bits.
    embedded = shape.text.vocabulary * shape.text.width
    wide = embedded if job.eight_bit and weights.lora is None and not zero else 0
    rest = [count] if zero else [matrices[0] - wide, *matrices[1:]]
    states = 8 * wide + state_bytes(rest, job.eight_bit, 4 if zero else size)
    each = "2 x (1 + 4/256) B" if job.eight_bit else f"2 x {4 if zero else size} B"
    also = f" + {wide:,} x 8 B of embeddings" if wide else ""
    yield Line("optimizer states", states / spread[1], f"{count - wide:,} x {each}{also}{over[1]}")


def _learning(weights: Weights, job: Job) -> int:
    """Bytes of a weight that learns: PEFT keeps an adapter in 32 bits where nothing else asks."""
    if job.sharding.bucket and job.bf16:
        return 2
    return weights.size if weights.lora is None else 4


def _sampling(
    shape: Shape, weights: Weights, job: Job, load: Load, capacity: float
) -> Iterator[Line]:
    if job.sampler == "colocate":
        yield Line(
            "vLLM",
            job.vllm_share * capacity,
            f"{job.vllm_share:g} x {capacity / GIB:.1f} GiB, its weights and cache included",
            "sampling" if job.vllm_sleeps else "always",
        )
    if job.sampler != "transformers":
        return
    text, number = shape.text, 2 if job.bf16 else weights.size
    tokens = load.prompt + job.completion
    yield Line(
        "KV cache",
        job.sampled * tokens * text.cache_per_token * number,
        f"{job.sampled} x ({load.prompt:,} + {job.completion}) tokens x 2 x {text.layers} layers x "
        f"{text.kv_heads} heads x {text.head} x {number} B",
        "sampling",
    )
    read = job.sampled // (job.group if job.share else 1) or 1
    wide = 3 * text.inner + 4 * text.width
    yield Line(
        "reading prompts",
        read * load.prompt * wide * number,
        f"{read} x {load.prompt:,} tokens x (3 x {text.inner:,} + 4 x {text.width:,}) x {number} B",
        "sampling",
        estimate=True,
    )
    yield Line(
        "logits, sampling",
        job.sampled * text.vocabulary * 4 * 4,
        f"{job.sampled} x {text.vocabulary:,} words x 4 B x 4 copies",
        "sampling",
        estimate=True,
    )
    if job.sharding.stage == 3 and job.sharding.bucket and job.gather:
        yield Line(
            "weights, gathered",
            shape.weights * weights.size,
            f"{shape.weights:,} x {weights.size} B, all of them on each GPU",
            "sampling",
        )


def _update(shape: Shape, weights: Weights, job: Job, load: Load) -> Iterator[Line]:
    text, number = shape.text, 2 if job.bf16 else weights.size
    count, length = rows(job, load, is_shared(job, load))
    tokens = count * length
    kept = text.layers * text.width * number
    layer = kept_by_layer(shape, weights, job)
    shown = f"{count} x {length:,} tokens"
    if job.checkpointing:
        yield Line(
            "activations, kept",
            tokens * kept,
            f"{shown} x {text.layers} layers x {text.width:,} x {number} B",
            "update",
        )
        yield Line(
            "activations, one layer",
            tokens * layer,
            f"{shown} x {layer:,} B (see docs/plan.md)",
            "update",
            estimate=True,
        )
    else:
        yield Line(
            "activations",
            tokens * layer * text.layers,
            f"{shown} x {text.layers} layers x {layer:,} B (see docs/plan.md)",
            "update",
            estimate=True,
        )
    if weights.eager:
        yield Line(
            "attention scores",
            count * length**2 * text.heads * (4 + 2 * number),
            f"{count} x {length:,} x {length:,} x {text.heads} heads x {4 + 2 * number} B",
            "update",
            estimate=True,
        )
    yield _logits(shape, weights, job, number)
    yield _tower(shape, weights, job, load, count if is_shared(job, load) else job.each)


def _logits(shape: Shape, weights: Weights, job: Job, number: int) -> Line:
    """TRL's head computes logits in tiles, of completions only."""
    text, scored = shape.text, job.each * job.completion
    tile = min(scored, _TILE_TOKENS) * min(text.vocabulary, _TILE_WORDS) * number
    head = 0 if weights.lora else text.vocabulary * text.width * 4
    return Line(
        "logits, update",
        tile + scored * text.width * 4 + head,
        f"{min(scored, _TILE_TOKENS):,} tokens x {min(text.vocabulary, _TILE_WORDS):,} words x "
        f"{number} B + {scored:,} x {text.width:,} x 4 B"
        + (f" + {text.vocabulary:,} x {text.width:,} x 4 B" if head else ""),
        "update",
    )


def kept_by_layer(shape: Shape, weights: Weights, job: Job) -> int:
    """Bytes that a layer of the language model keeps of a token for its backward pass.

    Norms 6 (a 32-bit and a narrow copy) and residuals 2 of the width each, twice; queries, keys and
    values after rotation and the attention's output; gate, its SiLU and up. An adapted layer keeps
    its input after dropout, with the mask; one that learns itself keeps its input.
    """
    text, number = shape.text, 2 if job.bf16 else weights.size
    queries, keys = text.heads * text.head, text.kv_heads * text.head
    norms = 2 * text.width * (4 + 2 * number)
    attention = number * (2 * queries + 2 * keys)
    mlp = number * 3 * text.inner
    inputs = sum(linear.inputs for linear in text.linears)
    if weights.lora is None:
        return norms + attention + mlp + number * inputs
    adapted = [linear for linear in text.linears if linear.name in weights.lora.targets]
    dropped = number + 1 if weights.lora.dropout else number
    inputs = sum(linear.inputs for linear in adapted)
    return norms + attention + mlp + dropped * inputs + number * weights.lora.rank * len(adapted)


def _tower(shape: Shape, weights: Weights, job: Job, load: Load, images: int) -> Line:
    """What patches leave behind: no gradient flows through a frozen tower that is remembered."""
    tower, number = shape.tower, 2 if job.bf16 else weights.size
    block = number * (8 * tower.width + 3 * tower.inner)
    if frozen_tower(weights, job):
        return Line(
            "image tower",
            load.patches * block,
            f"{load.patches:,} patches x {block:,} B, one sample's images at a time",
            "sampling",
            estimate=True,
        )
    # Checkpointing with an adapter asks for gradients of all inputs, those of the tower included.
    if job.checkpointing:
        kept = tower.depth * tower.width * number
    else:
        kept = tower.depth * block if tower_learns(weights) else 0
    return Line(
        "image tower",
        images * load.patches * (kept + block),
        f"{images} x {load.patches:,} patches x ({kept:,} + {block:,}) B",
        "update",
        estimate=True,
    )


def tower_learns(weights: Weights) -> bool:
    """Whether weights of the image tower, or adapters on it, learn."""
    return weights.lora is None or weights.lora.vision


def frozen_tower(weights: Weights, job: Job) -> bool:
    """Whether the tower runs once for each image and without gradients (`trainers.towers`)."""
    apart = job.sharding.stage == 3 or job.sharding.engine == "FSDP"
    return job.tower_cached and not tower_learns(weights) and not apart


def _rest(shape: Shape, job: Job, load: Load, chexbert: bool) -> Iterator[Line]:
    values = CHANNELS * FRAMES * shape.tower.patch**2
    yield Line(
        "pixels",
        job.sampled * load.patches * values * 4,
        f"{job.sampled} x {load.patches:,} patches x {values:,} x 4 B",
    )
    if bucket := job.sharding.bucket:
        yield Line("DeepSpeed's bucket", bucket * 2, f"{bucket:,} x 2 B", estimate=True)
    if chexbert:
        yield Line("CheXbert", CHEXBERT_WEIGHTS * 4, f"{CHEXBERT_WEIGHTS:,} x 4 B")
    yield Line("CUDA", CONTEXT, "context, workspaces, NCCL", estimate=True)
