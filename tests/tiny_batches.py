"""Tiny models of the families that share, and batches as TRL makes them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlamaConfig,
    LlavaConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen3VLConfig,
)
from trl.trainer.utils import add_fused_lm_head

BOUNDS, IMAGE = 1, 2
TEXT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
TOKENS = {"image_token_id": IMAGE, "video_token_id": 3, "vision_start_token_id": 4}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
PATCH = 14
SIDE = 2
"""Patches along a side of a LLaVA's image, all of which are of one size."""


def vision(**more: Any) -> dict[str, Any]:
    return {"depth": 2, "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": 2, **more}


CONFIGS = {
    "qwen2.5-vl": Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": ROPE},
        vision_config=vision(hidden_size=16, intermediate_size=24, out_hidden_size=32),
        **TOKENS,
    ),
    "qwen2-vl": Qwen2VLConfig(
        text_config={**TEXT, "rope_parameters": ROPE},
        vision_config=vision(embed_dim=16, hidden_size=32, mlp_ratio=2),
        **TOKENS,
    ),
    "qwen3-vl": Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 16, "rope_parameters": ROPE},
        vision_config=vision(
            hidden_size=16,
            intermediate_size=24,
            out_hidden_size=32,
            deepstack_visual_indexes=[0],
            num_position_embeddings=64,
        ),
        **TOKENS,
    ),
    "llava-vl": LlavaConfig(
        text_config={**TEXT, "model_type": "llama"},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE * PATCH,
            "patch_size": PATCH,
        },
        image_token_index=IMAGE,
        image_seq_length=SIDE**2,
        tie_word_embeddings=True,
    ),
    "llama": LlamaConfig(**TEXT),
    "qwen2": Qwen2Config(**TEXT),
}


def model_of(family: str, attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    config = deepcopy(CONFIGS[family])
    auto = AutoModelForImageTextToText if family.endswith("vl") else AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation=attention).eval()
    add_fused_lm_head(model, 0.7, outputs=("log_probs", "entropy"))
    return model


def batch_of(family: str, groups: list[int], sizes: list[int]) -> dict[str, Any]:
    """A batch as TRL makes it; `groups` says whose prompt a sample has, `sizes` its tokens.

    Prompt n has n + 1 words, and on its second image size; even ones have two images.
    """
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randint(5, 40, shape, generator=generator)  # noqa: E731
    prompts, pixels, grids = {}, {}, {}
    square = family.startswith("llava")
    for n in sorted(set(groups)):
        grids[n] = torch.tensor([[1, 4, 4 + 2 * (n % 2)]] * (1 + (n % 2 == 0)))
        patches = int(grids[n].prod(dim=1).sum())
        shape = (
            (len(grids[n]), 3, SIDE * PATCH, SIDE * PATCH)
            if square
            else (patches, 3 * 2 * PATCH * PATCH)
        )
        pixels[n] = torch.randn(shape, generator=generator)
        tokens = [SIDE**2 if square else int(g.prod()) // 4 for g in grids[n]]
        images = [torch.full((count + 2,), IMAGE) for count in tokens]
        for image in images:
            image[0], image[-1] = 4, BOUNDS
        words = [draw(n + 1)] if not family.endswith("vl") else [*images, draw(n + 1)]
        prompts[n] = torch.cat([draw(2), *words])
    width = max(sizes)
    left = max(map(len, prompts.values()))
    ids, mask = [], []
    for n, size in zip(groups, sizes, strict=True):
        blank = left - len(prompts[n])
        ids.append(
            torch.cat([torch.zeros(blank), prompts[n], draw(size), torch.zeros(width - size)])
        )
        mask.append(
            torch.tensor([0] * blank + [1] * (len(prompts[n]) + size) + [0] * (width - size))
        )
    batch = {"input_ids": torch.stack(ids).long(), "attention_mask": torch.stack(mask)}
    if family.endswith("vl"):
        batch |= {
            "pixel_values": torch.cat([pixels[n] for n in groups]),
            "num_images": [len(grids[n]) for n in groups],
        }
    if family.endswith("vl") and not square:
        batch |= {
            "image_grid_thw": torch.cat([grids[n] for n in groups]),
            "mm_token_type_ids": (batch["input_ids"] == IMAGE).int(),
        }
    return batch | {"logits_to_keep": width}
