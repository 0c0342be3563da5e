"""A vision-language model of a few million weights, with a tokenizer of its own.

The classes are the ones a 7-billion-weight policy uses; only the numbers differ. Once saved it
is an ordinary model folder, so everything after it loads a tiny policy and a real one alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from mrg_r1.policy.convolutional import build_convolutional
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import TinyConfig
from mrg_r1.policy.tiny_text import CHAT_TEMPLATE, text_config, train_tokenizer


def build_tiny(texts: Iterable[str], config: TinyConfig, *, seed: int) -> Policy:
    """A tiny policy: a Qwen2.5-VL of random weights, or what `config.tower` names.

    Args:
        texts: what it will read and write; its byte-level BPE vocabulary is trained on them.
        config: its numbers.
        seed: seed of the weights.

    Raises:
        ConfigError: the packages of a published tower are not installed.
    """
    if config.tower == "efficientnet-lite0":
        return build_convolutional(texts, config, seed=seed)
    processor = _processor(texts, config)
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_model_config(processor, config))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    return Policy(model, processor)


def _processor(texts: Iterable[str], config: TinyConfig) -> Qwen2_5_VLProcessor:
    area = config.pixels**2
    sizes = {"shortest_edge": area, "longest_edge": area}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=sizes, patch_size=config.patch),
        tokenizer=train_tokenizer(texts, config.vocabulary),
        video_processor=Qwen2VLVideoProcessor(size=sizes, patch_size=config.patch),
        chat_template=CHAT_TEMPLATE,
    )


def _model_config(processor: Qwen2_5_VLProcessor, config: TinyConfig) -> Qwen2_5_VLConfig:
    token = processor.tokenizer.convert_tokens_to_ids
    head = config.text_width // config.heads
    # Rotary positions have three axes (time, height, width) that share half a head's channels.
    time = head // 2 - 2 * (head // 2 * 3 // 8)
    sections = [time, head // 2 * 3 // 8, head // 2 * 3 // 8]
    return Qwen2_5_VLConfig(
        text_config={
            **text_config(processor.tokenizer, config),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": sections,
            },
        },
        vision_config={
            "depth": config.vision_depth,
            "initializer_range": config.initializer_range,
            "hidden_size": config.vision_width,
            "intermediate_size": 3 * config.vision_width,
            "num_heads": config.heads,
            "out_hidden_size": config.text_width,
            "patch_size": config.patch,
            "fullatt_block_indexes": list(range(config.vision_depth)),
        },
        tie_word_embeddings=True,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
