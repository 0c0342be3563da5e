"""A frozen image tower encodes each image once, whichever passes and epochs ask for it."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from mrg_r1.policy.load import base_of_adapter
from mrg_r1.policy.tower_cache import (
    FAMILIES,
    InMemory,
    OnDisk,
    Store,
    remember_images,
    remember_maps,
)
from mrg_r1.trainers.engines import weights_apart
from mrg_r1.trainers.processes import processes
from mrg_r1.trainers.progress import say
from mrg_r1.trainers.savings import Savings


def remember_tower(trainer: Trainer, savings: Savings, section: str) -> None:
    """Lets a trainer's policy keep the features of images, if its tower is frozen.

    The reference of full finetuning encodes as ever: it asks for an image once an epoch, which is
    too seldom to pay for encoding images one by one.

    Args:
        trainer: with its adapter in place, and not yet training.
        savings: where features are kept, and how many.
        section: of the recipe, which messages name.
    """
    model: Any = base_of_adapter(trainer.model)
    # Where weights lie apart, all processes must run the tower at the same time.
    apart = weights_apart(trainer.args) or trainer.args.n_gpu > 1
    if savings.tower_cache == "off" or apart:
        return
    if model.config.model_type in FAMILIES and _frozen(model.model.visual):
        remember_images(model, _store(savings, section))
    elif model.config.model_type == _OF_MAPS and _frozen(model.model.vision_tower):
        remember_maps(model.model.vision_tower, _store(savings, section))


_OF_MAPS = "fast_vlm"


def _frozen(tower: Any) -> bool:
    return not any(weight.requires_grad for weight in tower.parameters())


def _store(savings: Savings, section: str) -> Store:
    limit = savings.tower_cache_gb * 1e9
    if savings.tower_cache == "memory":
        return InMemory(limit)

    def full() -> None:
        say(
            f"{savings.folder}: {savings.tower_cache_gb:g} GB are full, further images are encoded "
            f"in each step; raise {section}.tower_cache_gb, or empty the folder"
        )

    return OnDisk(savings.folder, limit, processes(), full)
