"""A group in one row: its prompt once, then each completion, which does not see the others.

Row: prompt without its last token | last prompt token, completion 1 | ... | last, completion G.
Each completion starts with its own copy of the last prompt token, whose output predicts its first
token; its last token is left out, since nothing is predicted from it. Positions go on from the
prompt in every completion, so each token meets what it would meet in a row of its own: the
log-probabilities and gradients are those of G rows, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100
"""The label of a position that predicts no completion token."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Groups as rows, padded at the right to the longest, L tokens.

    Attributes:
        input_ids: (rows, L).
        position_ids: (axes, rows, L), one axis in text models, three in Qwen-VL's.
        visible: (rows, 1, L, L), true where a position (third axis) sees another (fourth).
        labels: (rows, L), the token that a position predicts, or `IGNORED`.
        places: (samples, tokens), where in the flattened rows a completion's token is predicted;
            0 where it has no such token.
        given: (samples, tokens), true where it has one.
    """

    input_ids: Tensor
    position_ids: Tensor
    visible: Tensor
    labels: Tensor
    places: Tensor
    given: Tensor

    def unpacked(self, values: Tensor) -> Tensor:
        """Values (rows, L) by position as values (samples, tokens) by completion token, else 0."""
        return values.reshape(-1)[self.places].masked_fill(~self.given, 0)


def pack(
    prompts: Sequence[Tensor],
    positions: Sequence[Tensor],
    completions: Sequence[Sequence[Tensor]],
    width: int,
) -> Packed:
    """Packs each group's prompt and completions into a row.

    Args:
        prompts: of each group, its tokens, at least one.
        positions: of each prompt token, (axes, tokens).
        completions: of each group, the tokens of its members, none of a member left out.
        width: tokens of the longest completion that `unpacked` is to give.
    """
    rows = [_row(*group) for group in zip(prompts, positions, completions, strict=True)]
    length = max(row.tokens.numel() for row in rows)
    input_ids = torch.stack([_filled(row.tokens, length, 0) for row in rows])
    segments = torch.stack([_filled(row.segments, length, -1) for row in rows])
    places = [
        _filled(start + n * length + torch.arange(size, device=input_ids.device), width, 0)
        for n, row in enumerate(rows)
        for start, size in row.spans
    ]
    sizes = torch.tensor([size for row in rows for _, size in row.spans], device=input_ids.device)
    return Packed(
        input_ids,
        torch.stack([_filled(row.positions, length, 0) for row in rows], dim=1),
        _sight(segments),
        torch.stack([_filled(row.labels, length, IGNORED) for row in rows]),
        torch.stack(places),
        torch.arange(width, device=input_ids.device) < sizes[:, None],
    )


@dataclass(frozen=True, slots=True)
class _Row:
    tokens: Tensor
    positions: Tensor
    labels: Tensor
    segments: Tensor
    """0 in the prompt, k in the k-th completion."""
    spans: list[tuple[int, int]]
    """Where each completion starts, and how many tokens it predicts."""


def _row(prompt: Tensor, positions: Tensor, completions: Sequence[Tensor]) -> _Row:
    start = prompt.numel() - 1
    tokens, places = [prompt[:-1]], [positions[:, :-1]]
    labels, segments = [torch.full_like(prompt[:-1], IGNORED)], [torch.zeros_like(prompt[:-1])]
    spans: list[tuple[int, int]] = []
    for number, completion in enumerate(completions, 1):
        size = completion.numel()
        spans.append((start, size))
        start += size
        tokens += [prompt[-1:], completion[:-1]] if size else []
        places.append(positions[:, -1:] + torch.arange(size, device=prompt.device))
        labels.append(completion)
        segments.append(torch.full_like(completion, number))
    return _Row(
        torch.cat(tokens), torch.cat(places, dim=1), torch.cat(labels), torch.cat(segments), spans
    )


def _filled(values: Tensor, length: int, filling: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, length - values.shape[-1]), value=filling)


def _sight(segments: Tensor) -> Tensor:
    """Who sees whom, from the segments (rows, L); padding, -1, sees only its own kind."""
    of, seen = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (earlier & ((seen == of) | ((seen == 0) & (of > 0))))[:, None]
