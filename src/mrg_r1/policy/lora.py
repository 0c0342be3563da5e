"""Low-rank adaptation of a policy."""

from __future__ import annotations

import re

from peft import LoraConfig
from torch import nn

from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import LoraSettings


def lora_config(model: nn.Module, settings: LoraSettings) -> LoraConfig:
    """PEFT's configuration, which adapts the projections of the language model by full path.

    Raises:
        ConfigError: a target is no layer of this model.
    """
    # Qwen2.5-VL's image tower reuses the names of the MLP projections.
    tower = "" if settings.vision else r"(?!.*\b(visual|vision_tower|vision_model)\b)"
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in settings.targets:
        if not any(re.fullmatch(rf"{tower}.*\.{re.escape(target)}", name) for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise ConfigError(
                f"policy.lora.targets: no layer '{target}' to adapt; this model has {known}"
            )
    names = "|".join(map(re.escape, settings.targets))
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=rf"{tower}.*\.({names})",
        task_type="CAUSAL_LM",
    )
