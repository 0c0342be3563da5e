"""The numbers of a policy: its size, its adapter, and how it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """The numbers of a tiny policy.

    With the tower 'vit' it is a Qwen2.5-VL of random weights: `pixels` is the side of the square
    whose area every image is resized to, and with patch size p an image becomes about
    (pixels / 2p)^2 tokens of the prompt. With 'efficientnet-lite0' it is a FastVLM whose tower has
    learnt ImageNet (`policy.convolutional`): images are resized to that square and become
    (pixels / 32)^2 tokens; `vision_depth`, `vision_width` and `patch` say nothing of it.
    """

    vision_depth: int = 4
    vision_width: int = 128
    text_layers: int = 4
    text_width: int = 192
    heads: int = 4
    pixels: int = 112
    patch: int = 14
    vocabulary: int = 1024
    # Transformers' default of 0.02 is made for widths in the thousands; narrow layers that start
    # so small learn slowly.
    initializer_range: float = 0.04
    tower: Literal["vit", "efficientnet-lite0"] = "vit"

    def describe(self) -> str:
        """In words: of which architecture, and what it knows."""
        if self.tower == "efficientnet-lite0":
            return "a tiny FastVLM from random weights, its tower an EfficientNet-Lite0 of ImageNet"
        return "a tiny Qwen2.5-VL from random weights"


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How long an image tower of random weights learns to see before the policy learns to write.

    The learning rate is its peak, a tenth of the way in. With `augment` each image is turned,
    shifted, scaled and lit a little otherwise whenever it is seen.
    """

    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    augment: bool = False


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adaptation; the defaults are section IV-B of the paper.

    `targets` are the attention and MLP projections. `vision` also adapts the image tower, whose
    MLP projections carry the same names in Qwen2.5-VL.
    """

    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05
    targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    vision: bool = False


@dataclass(frozen=True, slots=True)
class Decoding:
    """How completions are written outside training; temperature 0 is greedy decoding."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 32
    seed: int = 0

    def describe(self, drafts: int = 1) -> str:
        """In words: 'greedy', or how it is sampled, and of how many drafts the consensus is."""
        most = f"at most {self.max_new_tokens} tokens"
        if self.temperature <= 0:
            return f"greedy, {most}"
        nucleus = f", top-p {self.top_p:g}" if self.top_p < 1 else ""
        sampled = f"temperature {self.temperature:g}{nucleus}, seed {self.seed}, {most}"
        return f"consensus of {drafts}, {sampled}" if drafts > 1 else f"sampled, {sampled}"
