"""How large an image may be when a policy sees it."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2VLImageProcessor, Qwen2VLImageProcessorPil

from mrg_r1.errors import ConfigError


def limit_pixels(images: Any, most: int) -> None:
    """Makes an image processor shrink what has more pixels than `most`, sides in proportion.

    Only that of the Qwen-VL models, whose `size` bounds the area; it is saved with the processor.

    Raises:
        ConfigError: the processor is another one.
    """
    if not isinstance(images, Qwen2VLImageProcessor | Qwen2VLImageProcessorPil):
        raise ConfigError(
            f"policy.max_pixels: {type(images).__name__} makes images of its own sizes; "
            "leave the key out"
        )
    least = min(images.size["shortest_edge"], most)
    images.size = type(images.size)(shortest_edge=least, longest_edge=most)
