"""How many tokens of a prompt an image takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a processor resizes: sides to multiples of `step` pixels, area within two bounds."""

    step: int
    least: int
    most: int

    def tokens(self, width: int, height: int) -> int:
        """Tokens of an image of this size in pixels, one for each square of `step` by `step`.

        As `smart_resize` of transformers' Qwen2VLImageProcessor.
        """
        columns, rows = round(width / self.step), round(height / self.step)
        area = columns * rows * self.step**2
        if area > self.most:
            shrink = math.sqrt(width * height / self.most)
            columns = max(1, math.floor(width / shrink / self.step))
            rows = max(1, math.floor(height / shrink / self.step))
        elif area < self.least:
            grow = math.sqrt(self.least / (width * height))
            columns = math.ceil(width * grow / self.step)
            rows = math.ceil(height * grow / self.step)
        return columns * rows


def resolution_of(preprocessor: Mapping[str, Any], step: int, max_pixels: int = 0) -> Resolution:
    """The resolution that a `preprocessor_config.json` sets, by either pair of its keys.

    `max_pixels`, where given, replaces the upper bound, and the lower one if that is higher.
    """
    size: Mapping[str, Any] = preprocessor.get("size") or {}
    least = preprocessor.get("min_pixels") or size.get("shortest_edge") or 56 * 56
    most = preprocessor.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 1280
    most = max_pixels or most
    return Resolution(step, min(least, most), most)
