"""Hours of SRL: multiplications over what a GPU does of them, and bytes over what it reads.

Counts are exact for given lengths. The rates are assumptions (`Rates`), which `mrg-r1 plan` takes
as options: nothing here was measured on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mrg_r1.plan.job import Job
from mrg_r1.plan.memory import Load, Weights, frozen_tower, is_shared
from mrg_r1.plan.shape import Shape


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: memory (bytes), multiplications (2 operations, per second), reading (bytes/s)."""

    name: str
    memory: float
    flops: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Rates:
    """What is assumed: shares of a GPU's flops and bandwidth, and the least time of a token (s).

    The last is what Python and kernel launches take in transformers' generation; vLLM has none.
    """

    mfu: float = 0.4
    bandwidth: float = 0.6
    token: float = 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds of a step, and the formula they come from."""

    name: str
    seconds: float
    formula: str


def tokens_of_step(job: Job, load: Load, completion: float, *, shared: bool) -> float:
    """Tokens that go through the policy in the update of a step, over all GPUs.

    With `shared` the members of a group that are on one GPU are one row, whose prompt counts once
    and less its last token (`trainers.packing`).
    """
    if not shared:
        return job.batch * (load.prompt + completion)
    return rows_of_step(job) * (load.prompt - 1) + job.batch * completion


def rows_of_step(job: Job) -> int:
    """Groups, or parts of groups, that are a row of a step."""
    return job.gpus * job.parts * math.ceil(job.each / job.group)


def parts(
    shape: Shape,
    weights: Weights,
    job: Job,
    load: Load,
    gpu: Gpu,
    rates: Rates,
    *,
    completion: float,
) -> list[Part]:
    """What a step takes on each GPU, for completions of this length on average.

    Forward is 1 pass. An update is a forward, a backward of 1 pass (2 where all weights learn,
    whose own gradients are another), and 1 more with gradient checkpointing.
    """
    one = forward(shape, weights, job, load, completion) * job.parts
    passes = 2 + (weights.lora is None) + job.checkpointing
    again = job.generations_a_step
    found = [
        *_sampling(shape, weights, job, load, gpu, rates, completion),
        _computing("update", passes, one, gpu, rates),
    ]
    asked = again * job.reuse / job.parts
    if job.reference:
        found.append(_computing("reference", asked, one, gpu, rates))
    if job.old_policy:
        found.append(_computing("old policy", asked, one, gpu, rates))
    copies = 1 if is_shared(job, load) else job.group
    looks = 1 if frozen_tower(weights, job) else copies * (1 + passes + job.reference)
    images = job.sampled / job.group * again
    look = tower_flops(shape, load.patches)
    return [*found, _computing("image tower", images * looks, look, gpu, rates)]


def _computing(name: str, times: float, work: float, gpu: Gpu, rates: Rates) -> Part:
    return Part(
        name,
        times * work / (gpu.flops * rates.mfu),
        f"{times:g} x {work / 1e12:,.1f} TFLOP / ({gpu.flops / 1e12:g} TFLOP/s x {rates.mfu:g})",
    )


def _sampling(
    shape: Shape,
    weights: Weights,
    job: Job,
    load: Load,
    gpu: Gpu,
    rates: Rates,
    completion: float,
) -> list[Part]:
    again = job.generations_a_step
    read = math.ceil(job.sampled / job.group) if job.share else job.sampled
    launch = rates.token if job.sampler == "transformers" else 0.0
    each, formula = decode(shape, weights, load, gpu, rates, job.sampled, completion, launch)
    return [
        _computing("reading prompts", again * read, prompt_flops(shape, weights, load), gpu, rates),
        Part(
            "writing", again * completion * each, f"{again:g} x {completion:g} tokens x {formula}"
        ),
    ]


def prompt_flops(shape: Shape, weights: Weights, load: Load) -> float:
    """Operations of reading one prompt, the image tower not counted."""
    return _tokens(shape, weights, load.prompt) + _attention(shape, load.prompt, 0, 0)


def decode(
    shape: Shape,
    weights: Weights,
    load: Load,
    gpu: Gpu,
    rates: Rates,
    at_once: int,
    completion: float,
    launch: float,
) -> tuple[float, str]:
    """Seconds in which each of some completions gets its next token, and how they come about.

    All weights of the language model and the cache are read once. Launches take `launch` seconds,
    during which that goes on.
    """
    text = shape.text
    width = 0.5 if weights.four_bit else min(2, weights.size)
    model = text.weights * width
    cache = at_once * (load.prompt + completion / 2) * text.cache_per_token * 2
    reading = (model + cache) / (gpu.bandwidth * rates.bandwidth)
    if launch > reading:
        return launch, f"{launch * 1e3:.0f} ms (assumed; reading takes {reading * 1e3:.0f} ms)"
    return reading, (
        f"({model / 1e9:.1f} + {cache / 1e9:.1f} GB) / ({gpu.bandwidth / 1e9:g} GB/s x "
        f"{rates.bandwidth:g})"
    )


def forward(shape: Shape, weights: Weights, job: Job, load: Load, completion: float) -> float:
    """Operations of one forward pass of what a GPU takes at once, the image tower not counted."""
    text = shape.text
    shared = is_shared(job, load)
    members = min(job.each, job.group) if shared else 1
    count = job.each / members
    tokens = load.prompt - shared + members * completion
    row = _tokens(shape, weights, tokens) + _attention(shape, load.prompt, completion, members)
    scored = 2 * text.vocabulary * text.width * members * completion
    return count * (row + scored)


def _tokens(shape: Shape, weights: Weights, tokens: float) -> float:
    """Two operations for each weight of a layer's projections, and of their adapters."""
    text = shape.text
    used = text.layers * sum(linear.inputs * linear.outputs for linear in text.linears)
    if weights.lora:
        used += sum(shape.lora_matrices(weights.lora))
    return 2 * used * tokens


def _attention(shape: Shape, prompt: float, completion: float, members: float) -> float:
    """Scores and sums: 4 operations for each pair of tokens that see each other, and channel."""
    text = shape.text
    pairs = prompt**2 / 2 + members * (prompt * completion + completion**2 / 2)
    return 4 * text.layers * text.heads * text.head * pairs


def tower_flops(shape: Shape, patches: int) -> float:
    """Operations of the image tower for one sample's images."""
    tower = shape.tower
    blocks = tower.depth * sum(linear.inputs * linear.outputs for linear in tower.linears)
    merged = sum(linear.inputs * linear.outputs for linear in tower.mergers) / tower.merge**2
    windowed = (tower.window // tower.patch) ** 2 if tower.window else 0
    seen = tower.whole * patches + (tower.depth - tower.whole) * windowed
    return patches * (2 * (blocks + merged) + 4 * tower.width * seen)
