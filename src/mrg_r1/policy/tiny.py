"""A Qwen2.5-VL of a few million random weights, with a tokenizer of its own.

The classes are the ones a 7-billion-weight policy uses; only the numbers differ. Once saved it
is an ordinary model folder, so everything after it loads a tiny policy and a real one alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import TinyConfig

# Qwen's control tokens, in the order of its own vocabulary. All are special: skipped in decoding.
_CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# One token each, so that a policy this small spends no capacity on spelling tags. Not special:
# the completion's text must show them.
_TAGS = ("<think>", "</think>", "<report>", "</report>")

_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny(texts: Iterable[str], config: TinyConfig, *, seed: int) -> Policy:
    """A tiny Qwen2.5-VL with random weights, and its processor.

    Args:
        texts: what it will read and write; its byte-level BPE vocabulary is trained on them.
        config: its numbers.
        seed: seed of the weights.
    """
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
        tokenizer=_tokenizer(texts, config.vocabulary),
        video_processor=Qwen2VLVideoProcessor(size=sizes, patch_size=config.patch),
        chat_template=_CHAT_TEMPLATE,
    )


def _tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(_TAGS),
        special_tokens=list(_CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in _TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens=[token for token in _CONTROL[1:] if token != "<|im_end|>"],
        model_max_length=32768,
        padding_side="left",
    )


def _model_config(processor: Qwen2_5_VLProcessor, config: TinyConfig) -> Qwen2_5_VLConfig:
    token = processor.tokenizer.convert_tokens_to_ids
    head = config.text_width // config.heads
    # Rotary positions have three axes (time, height, width) that share half a head's channels.
    time = head // 2 - 2 * (head // 2 * 3 // 8)
    sections = [time, head // 2 * 3 // 8, head // 2 * 3 // 8]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": config.text_width,
            "intermediate_size": 3 * config.text_width,
            "num_hidden_layers": config.text_layers,
            "initializer_range": config.initializer_range,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.heads,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": sections,
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
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
