"""A policy answers several who ask at once, each with its own sampling, limit and listener.

Rows of a batch share the forward pass and nothing else: a row's text is its own whatever stands
beside it (but for rounding), and it ends when its own limit is reached or its listener is gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from mrg_r1.data.context import prompt_of
from mrg_r1.policy.asks import Ask, Written
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import Decoding
from mrg_r1.policy.writing import Gumbel, encode, generation_options

_PAUSE = 0.05
"""Seconds between two words to listeners: decoding text at every token would cost more."""


@torch.inference_mode()
def answer(policy: Policy, asks: Sequence[Ask]) -> list[Written]:
    """The completions of one batch, in order; those of rows nobody waits for are cut short."""
    policy.model.eval()
    pictures = [[image.convert("RGB") for image in ask.images] for ask in asks]
    asked = [
        prompt_of(ask.instruction or policy.instruction, policy.words, ask.context) for ask in asks
    ]
    inputs = encode(policy, pictures, asked)
    length = inputs["input_ids"].shape[1]
    longest = Decoding(max_new_tokens=max(ask.max_tokens for ask in asks))
    options = generation_options(policy, longest)
    if any(ask.temperature > 0 for ask in asks):
        options["logits_processor"] = LogitsProcessorList([_Draw(asks)])
    options["stopping_criteria"] = StoppingCriteriaList([_Watch(policy, asks, length)])
    tokens = policy.model.generate(**inputs, **options)  # (B, prompt + completion)
    prompts = inputs["attention_mask"].sum(dim=1).tolist()
    rows = tokens[:, length:].tolist()
    return [
        _written(policy, ask, row, prompt)
        for ask, row, prompt in zip(asks, rows, prompts, strict=True)
    ]


def _written(policy: Policy, ask: Ask, row: list[int], prompt: int) -> Written:
    ends = set(policy.end_tokens())
    end = next((i for i, token in enumerate(row) if token in ends), len(row))
    whole = end < min(len(row), ask.max_tokens)
    text = row[: min(end, ask.max_tokens)]
    completion = policy.processor.tokenizer.decode(text, skip_special_tokens=True)
    return Written(completion, len(text), prompt, whole)


class _Draw(LogitsProcessor):
    """Noise and shaping for the rows that sample, each with its own numbers."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self.sampled = [ask.temperature > 0 for ask in asks]
        self.temperatures = [ask.temperature or 1.0 for ask in asks]
        self.masses = [ask.top_p for ask in asks]
        self.noise = Gumbel([ask.seed for ask in asks])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, vocabulary), the largest of which are the next tokens."""
        shaped = scores / _column(self.temperatures, scores)
        if min(self.masses) < 1:
            shaped = _likeliest(shaped, _column(self.masses, scores))
        drawn = self.noise(input_ids, shaped)
        return torch.where(_column(self.sampled, scores) > 0, drawn, scores)


def _likeliest(scores: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
    """Rules out, per row, all but the fewest tokens whose probability reaches its mass (B, 1)."""
    ranked, order = scores.sort(descending=True)
    shares = ranked.softmax(dim=-1)
    beyond = shares.cumsum(dim=-1) - shares >= masses
    beyond[:, 0] = False
    return scores.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]  # (B, 1)


class _Watch(StoppingCriteria):
    """Ends rows that are long enough or that nobody waits for, and tells listeners the text."""

    def __init__(self, policy: Policy, asks: Sequence[Ask], prompt: int) -> None:
        self.tokenizer = policy.processor.tokenizer
        self.asks = asks
        self.prompt = prompt
        self.told = time.monotonic()

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        """Which rows (B,) are done."""
        if time.monotonic() - self.told > _PAUSE:
            self._tell(input_ids[:, self.prompt :].tolist())
            self.told = time.monotonic()
        length = input_ids.shape[1] - self.prompt
        done = [length >= ask.max_tokens or ask.gone.is_set() for ask in self.asks]
        return torch.tensor(done, device=input_ids.device)

    def _tell(self, rows: list[list[int]]) -> None:
        for ask, row in zip(self.asks, rows, strict=True):
            if ask.listener is not None and not ask.gone.is_set():
                text = self.tokenizer.decode(row[: ask.max_tokens], skip_special_tokens=True)
                ask.listener(text.rstrip("\ufffd"))  # half a character, so far
