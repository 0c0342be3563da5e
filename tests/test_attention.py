"""Attention by groups is attention under the mask of who sees whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mrg_r1.trainers.attention import _by_groups, groups_of

HEADS, CHANNELS = 4, 8
TEXT = SimpleNamespace(is_causal=True, num_key_value_groups=2)
TOWER = SimpleNamespace(is_causal=False)


def without_mask(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **options: Any
) -> tuple[Tensor, None]:
    """Causal and aligned at the end, as flash attention is where there are more keys."""
    assert mask is None
    key, value = (states.repeat_interleave(2, dim=1) for states in (key, value))
    queries, keys = query.shape[2], key.shape[2]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    output = scaled_dot_product_attention(query, key, value, attn_mask=seen)
    return output.transpose(1, 2), None


ATTENTIONS = {
    "masked": _by_groups(sdpa_attention_forward, masked=True),
    "unmasked": _by_groups(without_mask, masked=False),
}

Rows = list[tuple[int, list[int]]]
"""Of each row, the tokens of its prompt and of its completions."""


def spans_of(rows: Rows) -> list[list[tuple[int, int]]]:
    spans = []
    for prompt, sizes in rows:
        starts = [prompt + sum(sizes[:n]) for n in range(len(sizes))]
        spans.append(list(zip(starts, sizes, strict=True)))
    return spans


def segments_of(rows: Rows, length: int) -> Tensor:
    """0 in a prompt, k in the k-th completion, -1 in padding."""
    segments = torch.full((len(rows), length), -1)
    for row, ((prompt, _), spans) in enumerate(zip(rows, spans_of(rows), strict=True)):
        segments[row, :prompt] = 0
        for number, (start, size) in enumerate(spans, 1):
            segments[row, start : start + size] = number
    return segments


def under_a_mask(states: list[Tensor], segments: Tensor) -> Tensor:
    of, seen = segments[:, :, None], segments[:, None, :]
    earlier = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool).tril()
    mask = earlier & ((seen == of) | ((seen == 0) & (of > 0)))
    query, key, value = states
    key, value = (some.repeat_interleave(2, dim=1) for some in (key, value))
    output = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None])
    return output.transpose(1, 2)


@pytest.mark.parametrize("name", ATTENTIONS)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.integers(0, 4), min_size=1, max_size=4)),
        min_size=1,
        max_size=4,
    ).filter(lambda rows: any(prompt + sum(sizes) for prompt, sizes in rows))
)
def test_it_is_attention_under_a_mask(name: str, rows: Rows) -> None:
    length = max(prompt + sum(sizes) for prompt, sizes in rows)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(rows), heads, length, CHANNELS) for heads in (HEADS, HEADS // 2, HEADS // 2)]
    states = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    groups = groups_of([prompt for prompt, _ in rows], spans_of(rows), length, torch.device("cpu"))
    segments = segments_of(rows, length)
    weights = torch.randn(len(rows), length, HEADS, CHANNELS, generator=generator)
    weights[segments < 0] = 0
    ours = ATTENTIONS[name](TEXT, *states, None, groups=groups, position_ids=None)[0]
    theirs = under_a_mask(states, segments)
    torch.testing.assert_close(ours * weights, theirs * weights)
    for mine, expected in zip(
        torch.autograd.grad((ours * weights).sum(), states),
        torch.autograd.grad((theirs * weights).sum(), states),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def test_a_tower_sees_no_groups() -> None:
    states = [torch.randn(1, HEADS, 3, CHANNELS) for _ in range(3)]
    groups = groups_of([1], [[(1, 2)]], 3, torch.device("cpu"))
    plain = sdpa_attention_forward(TOWER, *states, None)[0]
    assert torch.equal(ATTENTIONS["masked"](TOWER, *states, None, groups=groups)[0], plain)
