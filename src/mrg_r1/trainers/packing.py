"""A group in one row: its prompt once, then each completion, which does not see the others.

Row: prompt without its last token | last prompt token, completion 1 | ... | last, completion G.
Each completion starts with its own copy of the last prompt token, whose output predicts its first
token; its last token is left out, since nothing is predicted from it. Positions go on from the
prompt in every completion, and `trainers.attention` lets each token meet what it would meet in a
row of its own: the log-probabilities and gradients are those of G rows, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mrg_r1.trainers.attention import Groups, groups_of

IGNORED = -100
"""The label of a position that predicts no completion token."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Groups as rows, padded at the right to the longest, L tokens.

    Attributes:
        input_ids: (rows, L).
        position_ids: (axes, rows, L), one axis in text models, three in Qwen-VL's.
        groups: which positions see which.
        labels: (rows, L), the token that a position predicts, or `IGNORED`.
        places: (samples, tokens), where in the flattened rows a completion's token is predicted;
            0 where it has no such token.
        given: (samples, tokens), true where it has one.
    """

    input_ids: Tensor
    position_ids: Tensor
    groups: Groups
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
    places = [
        _filled(start + n * length + torch.arange(size, device=input_ids.device), width, 0)
        for n, row in enumerate(rows)
        for start, size in row.spans
    ]
    sizes = torch.tensor([size for row in rows for _, size in row.spans], device=input_ids.device)
    return Packed(
        input_ids,
        torch.stack([_filled(row.positions, length, 0) for row in rows], dim=1),
        groups_of(
            [prompt.numel() - 1 for prompt in prompts],
            [row.spans for row in rows],
            length,
            input_ids.device,
        ),
        torch.stack([_filled(row.labels, length, IGNORED) for row in rows]),
        torch.stack(places),
        torch.arange(width, device=input_ids.device) < sizes[:, None],
    )


@dataclass(frozen=True, slots=True)
class _Row:
    tokens: Tensor
    positions: Tensor
    labels: Tensor
    spans: list[tuple[int, int]]
    """Where each completion starts, and how many tokens it predicts."""


def _row(prompt: Tensor, positions: Tensor, completions: Sequence[Tensor]) -> _Row:
    start = prompt.numel() - 1
    tokens, places = [prompt[:-1]], [positions[:, :-1]]
    labels = [torch.full_like(prompt[:-1], IGNORED)]
    spans: list[tuple[int, int]] = []
    for completion in completions:
        size = completion.numel()
        spans.append((start, size))
        start += size
        tokens += [prompt[-1:], completion[:-1]] if size else []
        places.append(positions[:, -1:] + torch.arange(size, device=prompt.device))
        labels.append(completion)
    return _Row(torch.cat(tokens), torch.cat(places, dim=1), torch.cat(labels), spans)


def _filled(values: Tensor, length: int, filling: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, length - values.shape[-1]), value=filling)
