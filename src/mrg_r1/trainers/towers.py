"""A frozen image tower encodes each image once, whichever passes and epochs ask for it."""

from __future__ import annotations

from typing import Any

from transformers import Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from mrg_r1.policy.load import base_of_adapter
from mrg_r1.policy.tower_cache import FAMILIES, InMemory, OnDisk, Store, remember_images
from mrg_r1.trainers.processes import processes
from mrg_r1.trainers.progress import say
from mrg_r1.trainers.savings import Savings


def remember_towers(trainer: Trainer, savings: Savings, section: str) -> None:
    """Lets a trainer's models keep the features of images, as far as their towers are frozen.

    Args:
        trainer: with its adapter in place, and not yet training.
        savings: where features are kept, and how many.
        section: of the recipe, which messages name.
    """
    models = [base_of_adapter(model) for model in _frozen(trainer)]
    if savings.tower_cache == "off" or not models or _apart(trainer):
        return
    store = _store(savings, section)
    for model in models:
        remember_images(model, store)


def _frozen(trainer: Any) -> list[Any]:
    """The models whose towers no step changes: the reference's never does, unless it follows."""
    model, reference = trainer.model, getattr(trainer, "ref_model", None)
    models = [model] if _has_tower(model) and not _learns(_tower(model)) else []
    if reference is not None and _has_tower(reference) and not trainer.args.sync_ref_model:
        models.append(reference)
    return models


def _has_tower(model: Any) -> bool:
    return base_of_adapter(model).config.model_type in FAMILIES


def _tower(model: Any) -> Any:
    return base_of_adapter(model).model.visual


def _learns(tower: Any) -> bool:
    return any(weight.requires_grad for weight in tower.parameters())


def _apart(trainer: Trainer) -> bool:
    """Whether a tower's weights lie apart: all processes must then run it at the same time."""
    return trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled() or trainer.args.n_gpu > 1


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
