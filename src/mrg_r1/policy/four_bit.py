"""Frozen weights in 4 bits under an adapter (QLoRA), by bitsandbytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from accelerate import PartialState
from transformers import BitsAndBytesConfig

from mrg_r1.errors import MissingExtra


def four_bit_options(dtype: str) -> dict[str, Any]:
    """Options of `from_pretrained` that keep linear layers, but for the head, in 4 bits.

    NF4 with double quantization (section 3 of the QLoRA paper), on the device that computes.

    Args:
        dtype: in which layers compute; 'auto' is bfloat16.

    Raises:
        MissingExtra: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise MissingExtra(
            "policy.quantization: 4 bits need bitsandbytes; type: pip install 'mrg-r1[qlora]'"
        )
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else getattr(torch, dtype),
    )
    return {"quantization_config": config, "device_map": {"": PartialState().device}}


def learns_after_sampling(model: Any) -> None:
    """Keeps layers in the form that gradients pass through.

    On CPUs with AVX512-BF16, bitsandbytes (0.50.2) packs weights anew at the first pass in
    evaluation mode, which SRL samples in, and back-propagates nothing through them from then on.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def learns_small_steps(model: Any) -> None:
    """Puts an adapter that is to learn on 4-bit weights back into 32 bits.

    TRL (1.16) casts it to bfloat16, which rounds a step of 5e-6 away, but resumes it in 32 bits.
    """
    for weight in model.parameters() if is_four_bit(model) else ():
        if weight.requires_grad:
            weight.data = weight.data.float()


def plain(model: Any) -> Any:
    """The model with the values of its 4-bit weights written out, as a model of its own."""
    model = model.dequantize()
    model.is_loaded_in_4bit = False  # transformers leaves it
    return model


def is_four_bit(model: Any) -> bool:
    """Whether a model, or what is under its adapter, was loaded in 4 bits."""
    return getattr(model, "is_loaded_in_4bit", False)
