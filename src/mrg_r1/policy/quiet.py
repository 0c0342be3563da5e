"""Warnings of libraries about themselves, which no user of ours can heed."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet() -> Generator[None]:
    """Silences them while the block runs; every other warning passes."""
    with warnings.catch_warnings():
        # TRL 1.16 and PEFT still use the names that transformers 5.23 replaced.
        warnings.filterwarnings(
            "ignore", r"`(is_)?gradient_checkpointing` is deprecated", FutureWarning
        )
        # DeepSpeed 0.19 still uses names that torch 2.14 replaced.
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
        yield
