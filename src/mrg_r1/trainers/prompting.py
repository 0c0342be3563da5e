"""Sampling that reads each prompt once, and continues it as often as a group has completions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

_BY_ROW = ("input_ids", "attention_mask", "mm_token_type_ids")
_BY_IMAGE = ("pixel_values", "image_grid_thw")


@contextmanager
def prompts_once(model: Any, copies: int, num_images: Sequence[int] | None) -> Generator[None]:
    """Lets `model.generate` compute the cache of each prompt once, inside the block.

    Tokens are those it gives otherwise, up to rounding: greedily the same, and sampled with the
    same random numbers from the same distributions.

    Args:
        model: of the families that `trainers.sharing` knows, under any adapter.
        copies: how often each prompt stands in a row.
        num_images: how many images each row has; None for text.
    """
    generate = model.generate

    def once(**arguments: Any) -> Tensor:
        fields = {name: given for name, given in arguments.items() if isinstance(given, Tensor)}
        images = images_by_row(fields, num_images)
        if not _repeated(fields, images, copies):
            return generate(**arguments)
        options = {name: given for name, given in arguments.items() if name not in fields}
        rows = {name: fields[name] for name in ("input_ids", "attention_mask")}
        return generate(**rows, **options, past_key_values=_cache(model, fields, images, copies))

    with mock.patch.object(model, "generate", once):
        yield


def _cache(
    model: Any, inputs: dict[str, Tensor], images: list[dict[str, Tensor]], copies: int
) -> Any:
    """The cache of all rows, without the last prompt token, from one pass of each prompt."""
    prompts = {name: inputs[name][::copies] for name in _BY_ROW if name in inputs}
    firsts = images[::copies]
    if firsts:
        prompts |= of_rows(firsts)
    if "image_grid_thw" not in prompts:
        mask = prompts["attention_mask"]
        prompts["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    cache = model(**prompts, use_cache=True, logits_to_keep=1).past_key_values
    cache.crop(-1)
    cache.batch_repeat_interleave(copies)
    if "image_grid_thw" in prompts:
        # How far a Qwen-VL's positions lag behind the count of its tokens.
        model.model.rope_deltas = model.model.rope_deltas.repeat_interleave(copies, dim=0)
    return cache


def _repeated(inputs: dict[str, Tensor], images: list[dict[str, Tensor]], copies: int) -> bool:
    """Whether every prompt stands there `copies` times in a row, with the same images."""
    ids = inputs["input_ids"]
    if copies < 2 or len(ids) % copies or not inputs.keys() <= {*_BY_ROW, *_BY_IMAGE}:
        return False
    same = all(_equal(values, copies, torch.equal) for values in (ids, inputs["attention_mask"]))
    return same and _equal(images, copies, same_images)


def _equal(values: Any, copies: int, same: Callable[[Any, Any], bool]) -> bool:
    return all(same(values[n], values[n - n % copies]) for n in range(len(values)))


def images_by_row(
    fields: Mapping[str, Any], num_images: Sequence[int] | None
) -> list[dict[str, Tensor]]:
    """The images of each row, as the fields of a batch of that row; none where there are none."""
    if num_images is None or fields.get("pixel_values") is None:
        return []
    if fields.get("image_grid_thw") is None:
        images = fields["pixel_values"].split(list(num_images))
        return [{"pixel_values": values} for values in images]
    grids = fields["image_grid_thw"].split(list(num_images))
    pixels = fields["pixel_values"].split([int(grid.prod(dim=-1).sum()) for grid in grids])
    return [
        {"pixel_values": values, "image_grid_thw": grid}
        for values, grid in zip(pixels, grids, strict=True)
    ]


def of_rows(images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The images of some rows, as the fields of one batch."""
    return {name: torch.cat([image[name] for image in images]) for name in images[0]}


def same_images(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two rows have the same images, pixel by pixel."""
    return all(torch.equal(one[name], other[name]) for name in one)
