"""Adapters on models of their true size, which have no weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrg_r1.plan.shape import shape_of
from mrg_r1.plan.sources import table
from mrg_r1.policy.outline import adapted, outline_of_folder, outline_of_numbers
from mrg_r1.policy.settings import LoraSettings
from tiny_families import save

pytestmark = pytest.mark.slow

MODELS = table("models")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


def text_layers(count: int) -> set[str]:
    """Paths of the language model's projections."""
    blocks = [f"model.language_model.layers.{index}" for index in range(count)]
    attention = {f"{block}.self_attn.{name}" for block in blocks for name in ATTENTION}
    return attention | {f"{block}.mlp.{name}" for block in blocks for name in MLP}


def test_the_papers_adapter_is_put_on_exactly_the_language_models_projections() -> None:
    """Qwen2.5-VL-7B: 28 layers of width 3584, with 4 of 28 heads for keys, an MLP of 18944.

    Rank 128 of a projection from n to m is 128 x (n + m) weights: q and o from 3584 to 3584, k and
    v from 3584 to 4 x 128, gate and up from 3584 to 18944, down back.
    """
    layers, learning = adapted(outline_of_numbers(MODELS["qwen2.5-vl-7b"]), LoraSettings())
    assert len(layers) == len(set(layers)) == 28 * 7
    assert set(layers) == text_layers(28)
    attention = 2 * 128 * (3584 + 3584) + 2 * 128 * (3584 + 4 * 128)
    mlp = 3 * 128 * (3584 + 18944)
    assert learning == 28 * (attention + mlp) == 322_961_408


def test_the_image_towers_mlp_shares_the_names_and_is_adapted_on_demand() -> None:
    """32 blocks of width 1280 with an MLP of 3420; their attention has other names."""
    both = LoraSettings(vision=True)
    layers, learning = adapted(outline_of_numbers(MODELS["qwen2.5-vl-7b"]), both)
    tower = {f"model.visual.blocks.{i}.mlp.{name}" for i in range(32) for name in MLP}
    assert set(layers) == text_layers(28) | tower
    assert learning == 322_961_408 + 32 * 3 * 128 * (1280 + 3420)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "qwen2.5-vl-7b"])
def test_published_models_have_the_weights_and_adapters_that_are_planned(name: str) -> None:
    model, shape = outline_of_numbers(MODELS[name]), shape_of(MODELS[name])
    assert sum(weight.numel() for weight in model.parameters()) == MODELS[name]["weights"]
    layers, learning = adapted(model, LoraSettings())
    assert set(layers) == text_layers(shape.text.layers)
    assert learning == sum(shape.lora_matrices(LoraSettings()))


def test_a_folder_is_outlined_by_its_configuration(tmp_path: Path) -> None:
    model = outline_of_folder(save("llava", tmp_path / "llava"))
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    layers, _ = adapted(model, LoraSettings(rank=2))
    assert set(layers) == text_layers(2)
