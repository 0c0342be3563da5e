"""Weights and image tokens of published models, against sums made by hand and their own totals."""

import json
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.config import PolicyRecipe
from mrg_r1.errors import ConfigError
from mrg_r1.plan.images import Resolution, resolution_of
from mrg_r1.plan.shape import shape_of
from mrg_r1.plan.sources import gpus_of, model_of, table
from mrg_r1.policy.settings import LoraSettings

MODELS = table("models")
SEVEN = shape_of(MODELS["qwen2.5-vl-7b"])

# Qwen2.5-VL-7B, matrix by matrix: rows x columns, and biases.
LAYER = {
    "q_proj": 3584 * 3584 + 3584,
    "k_proj": 3584 * 512 + 512,
    "v_proj": 3584 * 512 + 512,
    "o_proj": 3584 * 3584,
    "gate_proj": 3584 * 18944,
    "up_proj": 3584 * 18944,
    "down_proj": 18944 * 3584,
}
BLOCK = {
    "qkv": 1280 * 3840 + 3840,
    "proj": 1280 * 1280 + 1280,
    "gate_proj": 1280 * 3420 + 3420,
    "up_proj": 1280 * 3420 + 3420,
    "down_proj": 3420 * 1280 + 1280,
}
EMBEDDING = 152_064 * 3584
PATCHES = 3 * 2 * 14 * 14 * 1280
MERGER = 1280 + (5120 * 5120 + 5120) + (5120 * 3584 + 3584)


def test_the_sum_of_the_papers_model_by_hand() -> None:
    assert {linear.name: linear.weights for linear in SEVEN.text.linears} == LAYER
    assert {linear.name: linear.weights for linear in SEVEN.tower.linears} == BLOCK
    text = 2 * EMBEDDING + 28 * (sum(LAYER.values()) + 2 * 3584) + 3584
    tower = PATCHES + 32 * (sum(BLOCK.values()) + 2 * 1280) + MERGER
    assert (SEVEN.text.weights, SEVEN.tower.weights) == (text, tower) == (7615616512, 676550144)
    assert SEVEN.weights == 8_292_166_656


@pytest.mark.parametrize("name", MODELS)
def test_published_configurations_come_to_their_published_total(name: str) -> None:
    assert shape_of(MODELS[name]).weights == MODELS[name]["weights"]


def test_the_papers_adapter_by_hand() -> None:
    """Rank 128 on q and o (3584 to 3584), k and v (3584 to 512), and three of 3584 and 18944."""
    attention = 2 * (3584 + 3584) + 2 * (3584 + 512)
    mlp = 3 * (3584 + 18944)
    matrices = SEVEN.lora_matrices(LoraSettings())
    assert sum(matrices) == 28 * 128 * (attention + mlp) == 322_961_408
    assert len(matrices) == 28 * 7 * 2


def test_the_image_tower_adds_what_shares_the_names() -> None:
    added = sum(SEVEN.lora_matrices(LoraSettings(vision=True))) - 322_961_408
    assert added == 32 * 128 * 3 * (1280 + 3420)


def test_what_qlora_keeps_in_four_bits_leaves_out_embeddings_head_and_biases() -> None:
    biases = 28 * (3584 + 2 * 512) + 32 * (3840 + 2 * 1280 + 2 * 3420) + 5120 + 3584
    norms = 28 * 2 * 3584 + 3584 + 32 * 2 * 1280 + 1280
    assert SEVEN.linear_weights == 8_292_166_656 - 2 * EMBEDDING - PATCHES - biases - norms


def test_a_target_that_is_no_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^policy.lora.targets: no layer 'wq' to adapt; this mo"):
        SEVEN.lora_matrices(LoraSettings(targets=("q_proj", "wq")))


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("HuatuoGPT-Vision-7B-Qwen2.5VL", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct"),
        ("qwen2-vl-7b", "Qwen/Qwen2-VL-7B-Instruct"),
        ("Qwen3-VL-4B-Thinking", "Qwen/Qwen3-VL-4B-Instruct"),
    ],
)
def test_a_folder_that_is_not_here_is_known_by_its_name(folder: str, source: str) -> None:
    model = model_of(PolicyRecipe(path=f"models/{folder}"))
    assert model.source == f"the published configuration of {source}"


def test_a_name_of_no_known_model_asks_for_one() -> None:
    with pytest.raises(ConfigError, match=r"^policy.path: models/mine is not here, .* add --model"):
        model_of(PolicyRecipe(path="models/mine"))
    with pytest.raises(ConfigError, match=r"^--model gpt: use one of qwen2.5-vl-7b, "):
        model_of(PolicyRecipe(path="models/mine"), "gpt")


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A configuration as transformers 5 writes it."""
    outer = {key: flat[key] for key in ("model_type", "vision_config", "tie_word_embeddings")}
    return outer | {"text_config": {k: v for k, v in flat.items() if k not in outer}}


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_that_is_here_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(nested(MODELS[name])))
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"longest_edge": 50176}}')
    model = model_of(PolicyRecipe(path=str(tmp_path)))
    assert (model.shape, model.source) == (shape_of(MODELS[name]), f"{tmp_path}/config.json")
    assert model.resolution.most == 50176
    assert not model.four_bit


def test_weights_that_are_stored_in_4_bits_are_planned_so(tmp_path: Path) -> None:
    quantized = MODELS["qwen2.5-vl-7b"] | {"quantization_config": {"load_in_4bit": True}}
    (tmp_path / "config.json").write_text(json.dumps(quantized))
    assert model_of(PolicyRecipe(path=str(tmp_path))).four_bit


def test_configurations_that_cannot_be_planned_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a model of type 'llava' cannot be planned"):
        shape_of({"model_type": "llava"})
    with pytest.raises(ConfigError, match=r"config.json has no 'vision_config', which a plan"):
        shape_of({k: v for k, v in MODELS["qwen2-vl-7b"].items() if k != "vision_config"})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config.json: cannot be read"):
        model_of(PolicyRecipe(path=str(tmp_path)))


QWEN = resolution_of(MODELS["qwen2.5-vl-7b"], 28)


@pytest.mark.parametrize(
    ("resolution", "width", "height", "tokens"),
    [
        (QWEN, 2048, 2496, 73 * 89),
        (QWEN, 2544, 3056, 91 * 109),
        (QWEN, 512, 420, 18 * 15),
        (QWEN, 28, 28, 2 * 2),  # 56 x 56 pixels at least
        (Resolution(28, 3136, 28 * 28 * 1280), 2048, 2496, 32 * 39),
        (Resolution(28, 112**2, 112**2), 100, 100, 4 * 4),
        (resolution_of({}, 28), 10_000, 10_000, 35 * 35),
    ],
)
def test_tokens_of_an_image(resolution: Resolution, width: int, height: int, tokens: int) -> None:
    assert resolution.tokens(width, height) == tokens


@pytest.mark.parametrize("text", ["2xA100-80GB", "2 x a100-80gb", "2XA100-80"])
def test_gpus_are_counted_and_named(text: str) -> None:
    count, gpu = gpus_of(text)
    assert (count, gpu.name, gpu.flops) == (2, "A100-80GB", 312e12)
    assert gpus_of("L4-24GB")[0] == 1


@pytest.mark.parametrize("text", ["", "0xA100-80GB", "2xA100", "two", "-1xA100-80GB"])
def test_gpus_that_are_not_known_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--gpus .*: write it as 2xA100-80GB, with one of A100"):
        gpus_of(text)
