"""A plan: what a recipe's SRL needs on given GPUs, and what would make it fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from mrg_r1.config import Recipe
from mrg_r1.errors import ConfigError
from mrg_r1.plan.duration import (
    Gpu,
    Part,
    Rates,
    decode,
    parts,
    prompt_flops,
    tokens_of_step,
)
from mrg_r1.plan.job import Job, job_of
from mrg_r1.plan.memory import Line, Load, Weights, is_shared, lines, peak
from mrg_r1.plan.sources import Data, Model, data_of, gpus_of, images_each, model_of

_TURNS, _FRAME, _LETTERS = 19, 2, 4


@dataclass(frozen=True, slots=True)
class Given:
    """What is said beside the recipe; 0, '' and None leave it to the recipe or to assumptions.

    `prompt` is the text's tokens, `completion` the mean length of completions (for time only),
    `image` a width and a height in pixels.
    """

    model: str = ""
    image: tuple[int, int] | None = None
    samples: int = 0
    prompt: int = 0
    completion: float = 0
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe's SRL on GPUs."""

    recipe: str
    gpu: Gpu
    model: Model
    data: Data
    weights: Weights
    job: Job
    load: Load
    completion: float
    lines: tuple[Line, ...]
    parts: tuple[Part, ...]
    judging: Part

    @property
    def peak(self) -> float:
        """Bytes of a GPU at the worst moment."""
        return max(peak(self.lines).values())

    @property
    def fits(self) -> bool:
        """Whether that is what a GPU has, or less."""
        return self.peak <= self.gpu.memory

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.job.steps(self.data.train)

    @property
    def step_seconds(self) -> float:
        """Seconds of a step."""
        return sum(part.seconds for part in self.parts)

    @property
    def hours(self) -> float:
        """Hours of SRL and of judging before and after it."""
        return (self.steps * self.step_seconds + self.judging.seconds) / 3600

    @property
    def shared(self) -> bool:
        """Whether a group's prompt goes through the policy once."""
        return is_shared(self.job, self.load)

    @property
    def tokens(self) -> float:
        """Tokens of a step's update, over all GPUs."""
        return tokens_of_step(self.job, self.load, self.completion, shared=self.shared)

    @property
    def learning(self) -> int:
        """Weights that learn."""
        shape, lora = self.model.shape, self.weights.lora
        return sum(shape.lora_matrices(lora)) if lora else shape.weights


def make_plan(recipe: Recipe, gpus: str, given: Given) -> Plan:
    """The plan of a recipe's SRL; nothing is loaded, and no GPU is needed.

    Raises:
        ConfigError: the GPUs, the model, or an option of the recipe is unknown, or its effective
            batch does not come out on so many GPUs.
        DataError: the recipe's data are here and cannot be read.
    """
    count, gpu = gpus_of(gpus)
    job = job_of(recipe.srl, count)
    model, data = model_of(recipe.policy, given.model), _data(recipe, given)
    weights = _weights(recipe, job, model.four_bit)
    load = _load(recipe, model, data, given.prompt)
    completion = given.completion or job.completion
    chexbert = recipe.labeler.name == "chexbert" and recipe.labeler.device != "cpu"
    shape = model.shape
    return Plan(
        *(recipe.name, gpu, model, data, weights, job, load, completion),
        lines=tuple(lines(shape, weights, job, load, capacity=gpu.memory, chexbert=chexbert)),
        parts=tuple(parts(shape, weights, job, load, gpu, given.rates, completion=completion)),
        judging=_judging(recipe, model, data, weights, job, load, gpu, given),
    )


def _data(recipe: Recipe, given: Given) -> Data:
    if given.samples and given.image:
        images = images_each(recipe.data)
        letters = None if recipe.data.context else 0
        return Data(given.samples, recipe.data.test, images, *given.image, "as given", letters)
    data = data_of(recipe.data)
    width, height = given.image or (data.width, data.height)
    return replace(data, train=given.samples or data.train, width=width, height=height)


def _weights(recipe: Recipe, job: Job, four_bit: bool) -> Weights:
    policy = recipe.policy
    # DeepSpeed casts what it is given.
    narrow = policy.dtype != "float32" or (job.sharding.bucket and job.bf16)
    four_bit = four_bit or policy.quantization == "4bit"
    return Weights(2 if narrow else 4, four_bit, policy.lora, eager=policy.attention == "eager")


def _load(recipe: Recipe, model: Model, data: Data, text: int) -> Load:
    """A prompt: images, the instruction (four letters a token), and the chat's turns."""
    image = data.images * model.resolution.tokens(data.width, data.height)
    if not text and data.letters is None:
        raise ConfigError(
            "data.context: how long it is only the data tell, and they are not here; add "
            "--prompt-tokens"
        )
    letters = len(recipe.policy.instruction) + (data.letters or 0)
    words = text or _TURNS + math.ceil(letters / _LETTERS)
    framed = image + data.images * _FRAME
    return Load(framed + words, image, image * model.shape.tower.merge**2)


def _judging(
    recipe: Recipe,
    model: Model,
    data: Data,
    weights: Weights,
    job: Job,
    load: Load,
    gpu: Gpu,
    given: Given,
) -> Part:
    """Reports of the evaluation samples, before SRL and after it; each GPU writes its share."""
    decoding = recipe.evaluation.decoding
    length = min(given.completion or decoding.max_new_tokens, decoding.max_new_tokens)
    batches = math.ceil(data.judged / job.gpus / decoding.batch_size)
    token, formula = decode(
        *(model.shape, weights, load, gpu, given.rates),
        *(decoding.batch_size, length, given.rates.token),
    )
    work = decoding.batch_size * prompt_flops(model.shape, weights, load)
    reading = work / (gpu.flops * given.rates.mfu)
    return Part(
        "judging, twice",
        2 * batches * (length * token + reading),
        f"2 x {batches} batches of {decoding.batch_size} x ({length:g} tokens x {formula} + "
        f"{reading:.1f} s reading)",
    )
