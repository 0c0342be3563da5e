"""The training image that looks most like another: what retrieval without learning finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mrg_r1.data.images import read_image

SIDE = 32
"""Images are compared as grey squares of this many pixels a side."""

_ROWS = 4096


def nearest(queries: Sequence[Path], among: Sequence[Path]) -> NDArray[np.int64]:
    """Index of the image among which correlates best with each query, pixel by pixel, (n,).

    Args:
        queries: n images.
        among: at least one image; of equally near ones the first is taken.

    Raises:
        DataError: an image cannot be read.
    """
    known = _pixels(among)
    found = [
        (_pixels(queries[start : start + _ROWS]) @ known.T).argmax(axis=1)
        for start in range(0, len(queries), _ROWS)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _pixels(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Pixels of each image without its mean, of length 1; an empty image is all 0."""
    rows = [_grey(path) for path in paths]
    centred = np.stack(rows) - np.mean(rows, axis=1, keepdims=True)  # (n, SIDE * SIDE)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)


def _grey(path: Path) -> NDArray[np.float32]:
    small = read_image(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()
