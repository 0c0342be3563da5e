"""A model of its true size without its weights, to find what an adapter would be put on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForImageTextToText

from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import LoraSettings

_OUTER = ("model_type", "vision_config", "tie_word_embeddings")


def outline_of_folder(folder: Path) -> Any:
    """The model of a folder's `config.json`, on the meta device."""
    return _on_meta(
        AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    )


def outline_of_numbers(numbers: Mapping[str, Any]) -> Any:
    """The model of a published configuration (`plan/models.toml`), on the meta device."""
    outer = {key: numbers[key] for key in _OUTER}
    text = {key: value for key, value in numbers.items() if key not in _OUTER}
    return _on_meta(AutoConfig.for_model(**outer, text_config=text))


def _on_meta(config: Any) -> Any:
    with quiet(), torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def adapted(model: Any, lora: LoraSettings) -> tuple[list[str], int]:
    """Full paths of the layers that an adapter is put on, and how many weights then learn.

    Raises:
        ConfigError: a target is no layer of this model.
    """
    with quiet():
        model = get_peft_model(model, lora_config(model, lora), low_cpu_mem_usage=True)
    prefix = "base_model.model."
    layers = [
        name.removeprefix(prefix)
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    ]
    return layers, sum(w.numel() for w in model.parameters() if w.requires_grad)
