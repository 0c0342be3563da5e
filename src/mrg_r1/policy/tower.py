"""The image tower of a policy: where it is, and how it is kept as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.nn import Parameter

from mrg_r1.errors import ConfigError

_NAMES = ("visual", "vision_tower", "vision_model")


def tower_of(model: Any) -> Any:
    """The tower of a model without an adapter.

    Raises:
        ConfigError: it is under none of the names of known families.
    """
    for name in _NAMES:
        if hasattr(model.model, name):
            return getattr(model.model, name)
    raise ConfigError(
        f"policy.freeze_tower: a '{model.config.model_type}' has no tower named "
        f"{', '.join(_NAMES)}; leave the key out"
    )


def seeing(model: Any) -> Iterator[Parameter]:
    """The weights between pixels and the language model: the tower and what projects from it."""
    for name, weight in model.model.named_parameters():
        if not name.startswith("language_model."):
            yield weight


def freeze(tower: Any) -> None:
    """Takes a tower out of training, for good.

    It gets no gradients, and stays in evaluation mode when its model is put into training: a
    normalisation by the statistics of batches would go on changing, and see each image otherwise.
    """
    tower.requires_grad_(False).eval()
    tower.train = lambda mode=True: tower
