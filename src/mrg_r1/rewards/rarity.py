"""Weights of findings by how rarely reports state them: an option of MCCS, not in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.metrics.arrays import classes_of

Rarity: TypeAlias = tuple[tuple[float, float], ...]
"""For each of the 13 findings: the weight of affirming it (or hedging), and of denying it."""


def rarity_weights(labels: Sequence[Labels], cap: float) -> Rarity:
    """Inverse frequencies of what training references state, relative to the most frequent.

    A statement that most reports make ('no pneumothorax') weighs 1, one that is k times as rare
    weighs k, but no more than the cap: without it a finding seen once would rule the reward.
    Affirming and denying are counted apart, so that denying a rare finding gains nothing.

    Args:
        labels: of the training references, at least one.
        cap: the largest weight, above 1.

    Raises:
        ConfigError: the cap is not above 1, or there are no labels.
    """
    if not cap > 1:
        raise ConfigError(f"rarity: the cap is {cap}; use a number above 1, such as 5")
    if not labels:
        raise ConfigError("rarity: weights come from training references, and there are none")
    classes = classes_of(labels)[:, : len(DISEASES)]  # (n, 13)
    affirmed = (classes == Status.POSITIVE) | (classes == Status.UNCERTAIN)
    counts = np.stack([affirmed.sum(axis=0), (classes == Status.NEGATIVE).sum(axis=0)], axis=1)
    weights = np.minimum(counts.max() / np.maximum(counts, 1), cap)  # (13, 2)
    weights[counts == 0] = cap
    return tuple((float(positive), float(negative)) for positive, negative in weights)
