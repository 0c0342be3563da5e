"""The shape of a Qwen-VL model: its weights, counted from the numbers of its configuration.

Matrices are those of transformers' Qwen2-VL, Qwen2.5-VL and Qwen3-VL; `tests/test_plan_models.py`
compares every count with models built by transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import LoraSettings, TinyConfig

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Values of `model_type` whose weights can be counted."""

CHANNELS, FRAMES = 3, 2
"""Of a patch: an image is a film of two frames that are alike."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: its name inside a block, and its widths."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """How many it has."""
        return self.inputs * self.outputs + self.outputs * self.bias


@dataclass(frozen=True, slots=True)
class Text:
    """The language model. Widths are of the residual stream, the MLP, and one attention head."""

    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool
    normed_heads: bool

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The projections of one layer."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        return (
            Linear("q_proj", self.width, queries, self.bias),
            Linear("k_proj", self.width, keys, self.bias),
            Linear("v_proj", self.width, keys, self.bias),
            Linear("o_proj", queries, self.width),
            Linear("gate_proj", self.width, self.inner),
            Linear("up_proj", self.width, self.inner),
            Linear("down_proj", self.inner, self.width),
        )

    @property
    def embeddings(self) -> int:
        """Weights of the embedding, and of the head where it is not the same matrix."""
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def weights(self) -> int:
        """All of them."""
        norms = 2 * self.width + 2 * self.head * self.normed_heads
        layer = sum(linear.weights for linear in self.linears) + norms
        return self.embeddings + self.layers * layer + self.width

    @property
    def cache_per_token(self) -> int:
        """Keys and values of a token in all layers."""
        return 2 * self.layers * self.kv_heads * self.head


@dataclass(frozen=True, slots=True)
class Tower:
    """The image tower.

    `merge` by `merge` patches become one token; `whole` blocks let every patch see all others, the
    rest only a window of `window` pixels; `taps` are the deeper features of Qwen3-VL.
    """

    family: str
    depth: int
    width: int
    inner: int
    out: int
    patch: int
    merge: int
    whole: int
    window: int = 0
    positions: int = 0
    taps: int = 0

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The projections of one block."""
        attention = (
            Linear("qkv", self.width, 3 * self.width, bias=True),
            Linear("proj", self.width, self.width, bias=True),
        )
        if self.family == "qwen2_5_vl":
            names = (("gate_proj", True), ("up_proj", True), ("down_proj", False))
        else:
            first = "linear_fc" if self.family == "qwen3_vl" else "fc"
            names = ((f"{first}1", True), (f"{first}2", False))
        widths = {True: (self.width, self.inner), False: (self.inner, self.width)}
        return attention + tuple(Linear(name, *widths[up], bias=True) for name, up in names)

    @property
    def patches(self) -> Linear:
        """What makes patches of pixels: a convolution without overlap."""
        values = CHANNELS * FRAMES * self.patch**2
        return Linear("proj", values, self.width, bias=self.family == "qwen3_vl")

    @property
    def mergers(self) -> tuple[Linear, ...]:
        """The layers that make tokens of patches, those of the taps included."""
        wide = self.width * self.merge**2
        names = ("linear_fc1", "linear_fc2") if self.family == "qwen3_vl" else ("mlp.0", "mlp.2")
        one = (
            Linear(names[0], wide, wide, bias=True),
            Linear(names[1], wide, self.out, bias=True),
        )
        return one * (1 + self.taps)

    @property
    def weights(self) -> int:
        """All of them."""
        norm = self.width if self.family == "qwen2_5_vl" else 2 * self.width
        block = sum(linear.weights for linear in self.linears) + 2 * norm
        mergers = sum(linear.weights for linear in self.mergers) + norm
        mergers += self.taps * 2 * self.width * self.merge**2
        embedded = self.patches.weights + self.positions * self.width
        return embedded + self.depth * block + mergers


@dataclass(frozen=True, slots=True)
class Shape:
    """A vision-language model."""

    family: str
    text: Text
    tower: Tower

    @property
    def weights(self) -> int:
        """All of them."""
        return self.text.weights + self.tower.weights

    @property
    def linear_weights(self) -> int:
        """Those of linear layers but the head, which QLoRA keeps in 4 bits; biases not counted."""
        layers = [
            *(self.text.linears * self.text.layers),
            *(self.tower.linears * self.tower.depth),
            *self.tower.mergers,
        ]
        return sum(linear.inputs * linear.outputs for linear in layers)

    def adapted(self, lora: LoraSettings) -> list[Linear]:
        """The linear layers that an adapter is put on, each as often as there are such.

        Raises:
            ConfigError: a target is no layer of this model.
        """
        found = [*(self.text.linears * self.text.layers)]
        if lora.vision:
            tower = self.tower
            found += [tower.patches, *(tower.linears * tower.depth), *tower.mergers]
        if unknown := sorted(set(lora.targets) - {linear.name for linear in found}):
            known = ", ".join(sorted({linear.name for linear in found}))
            raise ConfigError(
                f"policy.lora.targets: no layer '{unknown[0]}' to adapt; this model has {known}"
            )
        return [linear for linear in found if linear.name in lora.targets]

    def lora_matrices(self, lora: LoraSettings) -> list[int]:
        """Sizes of the adapter's matrices: A (rank x inputs) and B (outputs x rank) of each layer.

        Raises:
            ConfigError: a target is no layer of this model.
        """
        return list(_matrices(self.adapted(lora), lora.rank))


def _matrices(linears: Iterable[Linear], rank: int) -> Iterator[int]:
    for linear in linears:
        yield rank * linear.inputs
        yield linear.outputs * rank


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a model's `config.json` describes, in its old, flat form or the new one.

    Raises:
        ConfigError: it is of another family, or lacks a number.
    """
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ConfigError(
            f"a model of type '{family}' cannot be planned; those of {', '.join(FAMILIES)} can"
        )
    text: Mapping[str, Any] = config.get("text_config") or config
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings")))
    try:
        return Shape(family, _text(family, text, tied), _tower(family, config["vision_config"]))
    except KeyError as error:
        raise ConfigError(f"the model's config.json has no {error}, which a plan needs") from None


def _text(family: str, text: Mapping[str, Any], tied: bool) -> Text:
    heads = text["num_attention_heads"]
    return Text(
        width=text["hidden_size"],
        inner=text["intermediate_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        kv_heads=text["num_key_value_heads"],
        head=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        tied=tied,
        bias=bool(text.get("attention_bias")) if family == "qwen3_vl" else True,
        normed_heads=family == "qwen3_vl",
    )


def _tower(family: str, vision: Mapping[str, Any]) -> Tower:
    depth, patch = vision["depth"], vision["patch_size"]
    merge = vision.get("spatial_merge_size", 2)
    if family == "qwen2_vl":
        width = vision["embed_dim"]
        inner = int(width * vision.get("mlp_ratio", 4))
        return Tower(family, depth, width, inner, vision["hidden_size"], patch, merge, whole=depth)
    width, inner, out = (
        vision[key] for key in ("hidden_size", "intermediate_size", "out_hidden_size")
    )
    if family == "qwen2_5_vl":
        whole = len(vision["fullatt_block_indexes"])
        window = vision.get("window_size", 112)
        return Tower(family, depth, width, inner, out, patch, merge, whole, window)
    return Tower(
        family,
        *(depth, width, inner, out, patch, merge),
        whole=depth,
        positions=vision["num_position_embeddings"],
        taps=len(vision["deepstack_visual_indexes"]),
    )


def tiny_shape(tiny: TinyConfig) -> Shape:
    """The shape of a tiny policy whose tokenizer finds as many words as it may."""
    head = tiny.text_width // tiny.heads
    return Shape(
        "qwen2_5_vl",
        Text(
            width=tiny.text_width,
            inner=3 * tiny.text_width,
            layers=tiny.text_layers,
            heads=tiny.heads,
            kv_heads=tiny.heads,
            head=head,
            vocabulary=tiny.vocabulary,
            tied=True,
            bias=True,
            normed_heads=False,
        ),
        Tower(
            "qwen2_5_vl",
            depth=tiny.vision_depth,
            width=tiny.vision_width,
            inner=3 * tiny.vision_width,
            out=tiny.text_width,
            patch=tiny.patch,
            merge=2,
            whole=tiny.vision_depth,
            window=112,
        ),
    )
