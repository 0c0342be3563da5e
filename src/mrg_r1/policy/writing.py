"""A policy writes reports: batched, seeded, greedy or sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL.Image import Image
from transformers.generation.logits_process import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from mrg_r1.completion import parse
from mrg_r1.data.context import prompt_of
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError, MrgError
from mrg_r1.policy.control_tokens import check_words
from mrg_r1.policy.decoding import only_unfinished
from mrg_r1.policy.load import Policy, base_of_adapter
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import Prediction

OnBad = Callable[[Sample, MrgError], None]
"""Called with a sample that cannot be read, and why."""


def conversation(instruction: str, images: int) -> list[dict[str, object]]:
    """The prompt as chat messages: the images, then the instruction."""
    content: list[dict[str, str]] = [{"type": "image"}] * images
    return [{"role": "user", "content": [*content, {"type": "text", "text": instruction}]}]


def write_reports(
    policy: Policy, samples: Sequence[Sample], decoding: Decoding
) -> Iterator[Prediction]:
    """Yields one prediction per sample, in order.

    Raises:
        DataError: an image cannot be read.
    """
    for sample, (completion,) in write_drafts(policy, samples, decoding):
        parsed = parse(completion)
        yield Prediction(
            id=sample.id,
            study_id=sample.study_id,
            completion=completion,
            think=parsed.think,
            report=parsed.report,
            reference=sample.reference,
            images=tuple(str(path) for path in sample.images),
            context=dict(sample.context),
        )


def write_drafts(
    policy: Policy,
    samples: Sequence[Sample],
    decoding: Decoding,
    *,
    drafts: int = 1,
    on_bad: OnBad | None = None,
) -> Iterator[tuple[Sample, list[str]]]:
    """Yields each sample with `drafts` completions of it, in order.

    What is drawn for a sample depends on the seed, its id and the number of the draft, and neither
    on the batch it is in nor on its place there. What remains of the batch is the last digits of
    the scores, which decide only between tokens that are as good as equally likely.

    Args:
        policy: who writes.
        samples: what about.
        decoding: how; `batch_size` counts completions.
        drafts: completions per sample, at least 1.
        on_bad: told of samples whose images cannot be read, which are passed over.

    Raises:
        ConfigError: the instruction spells a control token of the policy.
        DataError: so does a sample's context.
        MrgError: an image cannot be read, and `on_bad` is not given.
    """
    check_words(policy, samples)
    policy.model.eval()
    together = max(1, decoding.batch_size // drafts)
    for start in range(0, len(samples), together):
        read = list(_read(samples[start : start + together], on_bad))
        rows = [
            (
                images,
                draw_seed(decoding.seed, sample.id, draft),
                prompt_of(policy.instruction, policy.words, sample.context),
            )
            for sample, images in read
            for draft in range(drafts)
        ]
        completions: list[str] = []
        for at in range(0, len(rows), decoding.batch_size):
            images, seeds, asked = zip(*rows[at : at + decoding.batch_size], strict=True)
            completions += complete(policy, images, decoding, seeds, asked)
        for number, (sample, _) in enumerate(read):
            yield sample, completions[number * drafts : (number + 1) * drafts]


def _read(samples: Sequence[Sample], on_bad: OnBad | None) -> Iterator[tuple[Sample, list[Image]]]:
    for sample in samples:
        try:
            yield sample, [read_image(path) for path in sample.images]
        except MrgError as error:
            if on_bad is None:
                raise
            on_bad(sample, error)


def draw_seed(seed: int, key: str, draft: int = 0) -> int:
    """The seed of one completion: of the run's seed, what is written about, and which draft."""
    digest = hashlib.blake2b(f"{seed} {draft} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # torch takes 63 bits


def complete(
    policy: Policy,
    images: Sequence[Sequence[Image]],
    decoding: Decoding,
    seeds: Sequence[int] = (),
    instructions: Sequence[str] = (),
) -> list[str]:
    """The raw completions of one batch.

    Args:
        policy: who writes.
        images: of each completion, B times at least one.
        decoding: how.
        seeds: of each completion, B; not needed for greedy decoding.
        instructions: of each completion, B; the policy's own where none are given.
    """
    inputs = encode(policy, images, instructions)
    base = base_of_adapter(policy.model)
    with torch.inference_mode(), only_unfinished(base, policy.end_tokens()):
        tokens = policy.model.generate(**inputs, **generation_options(policy, decoding, seeds))
    written = tokens[:, inputs["input_ids"].shape[1] :]  # (B, completion)
    return policy.processor.batch_decode(written, skip_special_tokens=True)


def encode(
    policy: Policy, images: Sequence[Sequence[Image]], instructions: Sequence[str] = ()
) -> Any:
    """What the model takes of a batch of prompts: tokens (B, prompt), padded left, and pixels.

    `instructions` are the policy's own where none are given.

    Raises:
        DataError: the model's chat template is not there.
    """
    processor = policy.processor
    prompts = [
        _prompt(policy, instruction, len(pictures))
        for pictures, instruction in zip(
            images, instructions or [policy.instruction] * len(images), strict=True
        )
    ]
    bos = processor.tokenizer.bos_token
    inputs = processor(
        images=[list(pictures) for pictures in images],
        text=prompts,
        padding=True,
        padding_side="left",
        # Templates of Llama's kin leave the first token to the tokenizer, Gemma's write it.
        add_special_tokens=not (bos and prompts[0].startswith(bos)),
        return_tensors="pt",
    ).to(policy.device, policy.model.dtype)
    inputs.pop("labels", None)  # PaliGemma's processor makes some for training
    return inputs


def _prompt(policy: Policy, instruction: str, images: int) -> str:
    """The prompt in the layout of the model's chat; of PaliGemma, which has none, as a prefix."""
    processor = policy.processor
    if processor.chat_template or getattr(processor.tokenizer, "chat_template", None):
        messages = conversation(instruction, images)
        return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if policy.model.config.model_type != "paligemma":
        raise DataError(
            "this model has no chat template, so it cannot be asked as it was trained; "
            "put its chat_template.jinja into its folder"
        )
    return processor.image_token * images + instruction


def generation_options(
    policy: Policy, decoding: Decoding, seeds: Sequence[int] = ()
) -> dict[str, Any]:
    """Keyword arguments of transformers' `generate`; `seeds` as for `complete`."""
    return {
        "max_new_tokens": decoding.max_new_tokens,
        # Samples are the largest of noisy scores too; `generate` itself would draw for all rows
        # from one generator, and a report would depend on its neighbours.
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "logits_processor": _noise(decoding, seeds) if decoding.temperature > 0 else None,
        # Some models ship a penalty; it would make greedy decoding another thing for each.
        "repetition_penalty": 1.0,
        "eos_token_id": policy.end_tokens(),
        "pad_token_id": policy.processor.tokenizer.pad_token_id,
        "suppress_tokens": policy.forbidden_tokens(),
    }


def _noise(decoding: Decoding, seeds: Sequence[int]) -> LogitsProcessorList:
    shaping: list[LogitsProcessor] = [TemperatureLogitsWarper(float(decoding.temperature))]
    if decoding.top_p < 1:
        shaping.append(TopPLogitsWarper(decoding.top_p))
    return LogitsProcessorList([*shaping, Gumbel(seeds)])


class Gumbel(LogitsProcessor):
    """Adds Gumbel noise, after which the largest score is a sample of the scores' softmax."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, vocabulary) with noise from a generator for each row."""
        if not self.generators:
            self.generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds
            ]
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores - noise.clamp_min_(torch.finfo(noise.dtype).tiny).log()
