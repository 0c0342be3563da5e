"""Generation in which completions that have ended cost nothing more."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_BY_ROW = {"input_ids", "attention_mask", "position_ids", "mm_token_type_ids", "token_type_ids"}

_SHRUNK = 7 / 8
"""A batch is made smaller once this share of it, or less, goes on; the cache is copied then."""


@contextmanager
def only_unfinished(model: Any, ends: Sequence[int]) -> Generator[None]:
    """Lets `model.generate` compute only the rows that have not ended, inside the block.

    Transformers computes all rows until the last has ended and writes padding over the surplus.
    Tokens stay those it gives otherwise, up to rounding: every row, ended or not, still takes its
    share of the random numbers. A model that is called with more than tokens, their mask and
    positions, or keeps its past in another way than key by key, computes all rows as before.

    Args:
        model: under its adapter, if it has one: what the loop of `generate` calls.
        ends: the tokens that end a completion.
    """
    generate = model.generate

    def ending(*args: Any, **options: Any) -> Any:
        with mock.patch.object(model, "forward", _of_unfinished(model.forward, ends)):
            return generate(*args, **options)

    with mock.patch.object(model, "generate", ending):
        yield


def _of_unfinished(forward: Callable[..., Any], ends: Sequence[int]) -> Callable[..., Any]:
    """A forward pass for all rows of one generation that computes those that go on."""
    rows: Tensor | None = None  # which rows the cache holds
    ended: Tensor | None = None  # (B,)

    # The signature is what `generate` checks its arguments against.
    @wraps(forward)
    def of_unfinished(*args: Any, **inputs: Any) -> Any:
        nonlocal rows, ended
        if rows is None or ended is None:  # the prompt, whose last token may be one that ends
            output = forward(*args, **inputs)
            rows = torch.arange(len(output.logits), device=output.logits.device)
            ended = torch.zeros_like(rows, dtype=torch.bool)
            return output
        tokens = inputs["input_ids"][:, -1]
        ended |= torch.isin(tokens, torch.tensor(ends, device=tokens.device))
        on = ~ended[rows]
        if 0 < on.sum() <= _SHRUNK * len(rows) and _divisible(inputs):
            inputs["past_key_values"].batch_select_indices(on.nonzero()[:, 0])
            rows = rows[on]
        if len(rows) == len(ended):
            return forward(*args, **inputs)
        output = forward(*args, **{name: _of(value, name, rows) for name, value in inputs.items()})
        logits = output.logits.new_zeros(len(ended), *output.logits.shape[1:])
        output.logits = logits.index_copy(0, rows, output.logits)
        return output

    return of_unfinished


def _divisible(inputs: Mapping[str, Any]) -> bool:
    """Whether it is known how to take rows out of what a model is called with."""
    cache = inputs.get("past_key_values")
    if type(cache) is not DynamicCache:
        return False
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        return False
    given = {name for name, value in inputs.items() if isinstance(value, Tensor | dict | list)}
    mask = inputs.get("attention_mask")
    return given <= _BY_ROW and isinstance(mask, Tensor) and mask.ndim == 2


def _of(value: Any, name: str, rows: Tensor) -> Any:
    """The rows of an argument; positions may have an axis before them, one for each rotary axis."""
    if name not in _BY_ROW or value is None:
        return value
    return value.index_select(value.ndim - 2 if name == "position_ids" else 0, rows)
