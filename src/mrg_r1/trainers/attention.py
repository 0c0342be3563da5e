"""Attention over rows that hold a group: nothing is computed between positions that do not meet.

A mask over a whole row would cost the square of its length. Here a row's prompt attends to itself,
and each completion to prompt and itself, in two calls of the model's own attention function; both
are causal and aligned at their ends, which flash attention does without a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

ATTENTIONS = ("sdpa", "flash_attention_2", "flash_attention_3")
"""The attention functions of transformers that learn to take `groups`."""

_MASKED = "sdpa"


@dataclass(frozen=True, slots=True)
class Block:
    """Rows whose prompts have one length, and their completions, filled up to the longest.

    Attributes:
        prompt: tokens of each prompt, without its last.
        rows: (R,), which rows.
        owners: (M,), which of these rows each completion belongs to.
        places: (M, C), where its tokens stand in all rows laid end to end.
        seen: (1, 1, C, prompt + C), which keys each of its tokens sees.
    """

    prompt: int
    rows: Tensor
    owners: Tensor
    places: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True)
class Groups:
    """Where prompts and completions stand in rows of L positions.

    Attributes:
        blocks: by the length of the prompts.
        back: (rows x L,), where a position's output stands among those of the blocks, one after
            the other, prompts before completions; 0 for padding, whose output nobody uses.
    """

    blocks: tuple[Block, ...]
    back: Tensor


def groups_of(
    prompts: Sequence[int],
    spans: Sequence[Sequence[tuple[int, int]]],
    length: int,
    device: torch.device,
) -> Groups:
    """Describes rows of groups.

    Args:
        prompts: of each row, how many tokens all its completions see.
        spans: of each row, where its completions start and how many tokens they have.
        length: of a row, L.
        device: where the rows are.
    """
    blocks: list[Block] = []
    back = torch.zeros(len(prompts) * length, dtype=torch.long)
    done = 0
    by_length = sorted(range(len(prompts)), key=lambda row: prompts[row])
    for prompt, members in groupby(by_length, key=lambda row: prompts[row]):
        rows = list(members)
        owners, starts, sizes = _completions(rows, spans, length)
        width = max(sizes.tolist(), default=0)
        steps = torch.arange(width)
        given = steps < sizes[:, None]  # (M, C)
        places = (starts[:, None] + steps).where(given, 0)
        of_prompts = torch.tensor(rows)[:, None] * length + torch.arange(prompt)
        back[of_prompts.flatten()] = done + torch.arange(of_prompts.numel())
        done += of_prompts.numel()
        back[places[given]] = done + torch.arange(given.numel()).view(given.shape)[given]
        done += given.numel()
        seen = torch.ones(width, prompt + width, dtype=torch.bool).tril(prompt)[None, None]
        tensors = (torch.tensor(rows), owners, places, seen)
        blocks.append(Block(prompt, *(tensor.to(device) for tensor in tensors)))
    return Groups(tuple(blocks), back.to(device))


def _completions(
    rows: Sequence[int], spans: Sequence[Sequence[tuple[int, int]]], length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the M completions that are not empty: row, start in all rows laid end to end, size."""
    found = [
        (owner, row * length + start, size)
        for owner, row in enumerate(rows)
        for start, size in spans[row]
        if size
    ]
    owners, starts, sizes = torch.tensor(found, dtype=torch.long).view(-1, 3).unbind(1)
    return owners, starts, sizes


@cache
def learn_groups() -> None:
    """Lets transformers' attention functions take `groups`; without it they are what they were."""
    functions = AttentionInterface()
    for name in ATTENTIONS:
        AttentionInterface.register(name, _by_groups(functions[name], masked=name == _MASKED))


def _by_groups(attention: Callable[..., Any], *, masked: bool) -> Callable[..., Any]:
    @wraps(attention)
    def of_groups(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *rest: Any,
        groups: Groups | None = None,
        **options: Any,
    ) -> Any:
        # Image towers, which are not causal, get the arguments of the language model too.
        if groups is None or not getattr(module, "is_causal", True):
            return attention(module, query, key, value, attention_mask, *rest, **options)
        # From positions that start anew, flash attention would guess at packed sequences.
        options["position_ids"] = None
        whole = (query, key, value)  # (rows, heads, L, channels)
        flat = [states.transpose(1, 2).flatten(0, 1) for states in whole]
        outputs: list[Tensor] = []
        for block in groups.blocks:
            of_rows = [states[block.rows, :, : block.prompt] for states in whole]
            if block.prompt:
                outputs.append(attention(module, *of_rows, None, *rest, **options)[0])
            if len(block.owners):
                own = [states[block.places].transpose(1, 2) for states in flat]  # (M, heads, C, .)
                keys, values = (
                    torch.cat([of_prompt[block.owners], of_own], dim=2)
                    for of_prompt, of_own in zip(of_rows[1:], own[1:], strict=True)
                )
                mask = block.seen if masked else None
                outputs.append(attention(module, own[0], keys, values, mask, *rest, **options)[0])
        joined = torch.cat([output.flatten(0, 1) for output in outputs])  # (positions, heads, .)
        return joined[groups.back].unflatten(0, (len(query), -1)), None

    return of_groups
