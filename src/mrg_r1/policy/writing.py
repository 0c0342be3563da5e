"""A policy writes reports: batched, seeded, greedy or sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from mrg_r1.completion import parse
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import Prediction


def conversation(instruction: str, images: int) -> list[dict[str, object]]:
    """The prompt as chat messages: the images, then the instruction."""
    content: list[dict[str, str]] = [{"type": "image"}] * images
    return [{"role": "user", "content": [*content, {"type": "text", "text": instruction}]}]


def write_reports(
    policy: Policy, samples: Sequence[Sample], decoding: Decoding
) -> Iterator[Prediction]:
    """Yields one prediction per sample, in order.

    Each batch is seeded with its own index, so that a prediction depends on its batch only and
    not on what was written before it.
    """
    policy.model.eval()
    for start in range(0, len(samples), decoding.batch_size):
        batch = samples[start : start + decoding.batch_size]
        torch.manual_seed(decoding.seed + start)
        completions = complete(policy, batch, decoding)
        for sample, completion in zip(batch, completions, strict=True):
            parsed = parse(completion)
            yield Prediction(
                id=sample.id,
                study_id=sample.study_id,
                completion=completion,
                think=parsed.think,
                report=parsed.report,
                reference=sample.reference,
                images=tuple(str(path) for path in sample.images),
            )


@torch.inference_mode()
def complete(policy: Policy, samples: Sequence[Sample], decoding: Decoding) -> list[str]:
    """The raw completions of one batch."""
    processor = policy.processor
    prompts = [
        processor.apply_chat_template(
            conversation(policy.instruction, len(sample.images)),
            add_generation_prompt=True,
            tokenize=False,
        )
        for sample in samples
    ]
    inputs = processor(
        images=[[read_image(path) for path in sample.images] for sample in samples],
        text=prompts,
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    ).to(policy.device, policy.model.dtype)
    sampling = decoding.temperature > 0
    tokens = policy.model.generate(
        **inputs,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=sampling,
        temperature=decoding.temperature if sampling else None,
        top_p=decoding.top_p if sampling else None,
        top_k=0 if sampling else None,
        # Some models ship a penalty; it would make greedy decoding another thing for each.
        repetition_penalty=1.0,
        eos_token_id=policy.end_tokens(),
        pad_token_id=processor.tokenizer.pad_token_id,
        suppress_tokens=policy.forbidden_tokens(),
    )  # (B, prompt + completion)
    written = tokens[:, inputs["input_ids"].shape[1] :]
    return processor.batch_decode(written, skip_special_tokens=True)
