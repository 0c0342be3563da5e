"""Loads a policy from a folder: a run, a saved adapter, or any local vision-language model.

Beside weights and processor a saved policy keeps in `mrg_r1.json` its instruction, and whether it
was trained on weights in 4 bits: asked with other words, or on other weights, it writes other
reports.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from mrg_r1.completion import INSTRUCTION
from mrg_r1.data.context import Context
from mrg_r1.errors import DataError
from mrg_r1.policy.four_bit import four_bit_options, is_four_bit, learns_after_sampling, plain
from mrg_r1.policy.pixels import limit_pixels
from mrg_r1.policy.quiet import quiet
from mrg_r1.records import read_json, write_json

_OURS = "mrg_r1.json"

_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    UnpicklingError,
    SafetensorError,
    UserWarning,
)


@dataclass(frozen=True)
class Policy:
    """A vision-language model with its processor and the instruction it follows.

    `words` are the lines in which its prompts give context, by kind, as it was trained; empty
    where it was trained without, or elsewhere.
    """

    model: Any  # PreTrainedModel or PeftModel
    processor: Any  # a ProcessorMixin; its subclasses share no typed call
    instruction: str = INSTRUCTION
    words: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def adapted(self) -> bool:
        """Whether the model is an adapter on a frozen base."""
        return isinstance(self.model, PeftModel)

    @property
    def four_bit(self) -> bool:
        """Whether the weights, of the base if there is an adapter, are in 4 bits."""
        return is_four_bit(self.model)

    def forbidden_tokens(self) -> list[int]:
        """Control tokens that must never be sampled.

        An image placeholder inside a completion has no image to stand for and breaks the next
        forward pass; the other control tokens decode to nothing. Tokens that end a completion
        stay allowed.
        """
        config = self.model.config
        placeholders = {
            getattr(config, name, None) for name in ("image_token_id", "video_token_id")
        }
        control = {*self.processor.tokenizer.all_special_ids, *placeholders} - {None}
        return sorted(control - set(self.end_tokens()))

    def end_tokens(self) -> list[int]:
        """Tokens that end a completion."""
        declared = self.model.generation_config.eos_token_id
        declared = [declared] if isinstance(declared, int) else list(declared or [])
        return sorted({*declared, self.processor.tokenizer.eos_token_id})

    def save(self, folder: Path) -> None:
        """Writes weights (or adapter) and processor under a temporary name, then renames."""
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            self.model.save_pretrained(temporary)
            self.processor.save_pretrained(temporary)
            how: dict[str, Any] = {"quantization": "4bit"} if self.four_bit else {}
            if self.words:
                how["context"] = dict(self.words)
            write_json(temporary / _OURS, {"instruction": self.instruction, **how})
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def base_of_adapter(model: Any) -> Any:
    """The model under its adapter; one without an adapter as it is."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def policy_folder(path: Path) -> Path:
    """The folder that holds the weights: `path` itself, or `policy/` of a run.

    Raises:
        DataError: `path` holds no policy.
    """
    for folder in (path, path / "policy"):
        if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
            return folder
    if (path / "recipe.json").is_file():
        raise DataError(
            f"{path}: this run has no policy yet; "
            f"finish it with: mrg-r1 train {path}/recipe.json --out {path} --resume"
        )
    raise DataError(
        f"{path}: no policy here (config.json or adapter_config.json); give a run folder, a saved "
        "policy or a local model folder"
    )


def load_policy(
    path: Path,
    *,
    dtype: str = "auto",
    attention: str = "sdpa",
    trainable: bool = False,
    instruction: str = "",
    words: Mapping[str, str] | None = None,
    quantization: str = "",
    max_pixels: int = 0,
    dequantized: bool = False,
) -> Policy:
    """Loads a model or an adapter on its base, with the processor saved beside it.

    Nothing is fetched, no code from the folder is run, and weights load as tensors only.

    Args:
        path: a run folder, a saved policy, or a local model folder.
        dtype: 'float32', 'bfloat16', or 'auto' (as stored).
        attention: the attention implementation of transformers.
        trainable: leaves the model to a trainer: an adapter's weights take gradients, and nothing
            is placed yet. Otherwise the model is placed on the accelerator, if there is one.
        instruction: replaces the one saved with the policy.
        words: replace those saved with the policy.
        quantization: '4bit' or 'none'; else as saved with the policy.
        max_pixels: what an image is shrunk to at most; 0 is what the processor says.
        dequantized: writes the values of weights in 4 bits out, under an adapter too.

    Raises:
        ConfigError: images of this model have a fixed size, so that `max_pixels` does not apply.
        DataError: there is no policy, it is damaged, it is no vision-language model, or its base
            model is not where its adapter says.
        MissingExtra: weights in 4 bits need bitsandbytes.
    """
    folder = policy_folder(path)
    adapter = folder / "adapter_config.json"
    with _errors_naming(folder):
        ours = folder / _OURS
        saved: dict[str, Any] = read_json(ours) if ours.is_file() else {"instruction": INSTRUCTION}
        kept_words: Mapping[str, str] = words if words is not None else saved.get("context", {})
        kept = four_bit_options(dtype) if _in_four_bits(quantization, saved) else {}
        base = _base_of(adapter) if adapter.is_file() else folder
        model = _load_model(base, dtype, attention, kept)
        if is_four_bit(model):
            learns_after_sampling(model)
            model = plain(model) if dequantized else model
        if adapter.is_file():
            model = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
        processor = _processor(folder, model.config, max_pixels)
        instruction = instruction or saved["instruction"]
    if not trainable:
        model = model.to(PartialState().device)
    return Policy(model, processor, instruction, kept_words)


def trained_context(path: Path) -> tuple[Context, ...] | None:
    """The kinds of context a policy was trained with; None where its folder does not tell.

    Raises:
        DataError: `path` holds no policy.
    """
    ours = policy_folder(path) / _OURS
    return tuple(read_json(ours).get("context", {})) if ours.is_file() else None


def _in_four_bits(asked: str, saved: Mapping[str, Any]) -> bool:
    return (asked or saved.get("quantization")) == "4bit"


def load_processor(folder: Path, *, max_pixels: int = 0) -> Any:
    """The processor of a model folder, as `load_policy` has it, without the weights.

    Raises:
        ConfigError: images of this model have a fixed size, so that `max_pixels` does not apply.
        DataError: it is damaged.
    """
    with _errors_naming(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return _processor(folder, config, max_pixels)


def _processor(folder: Path, config: Any, max_pixels: int) -> Any:
    processor = AutoProcessor.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    _fill(processor, config)
    if max_pixels:
        limit_pixels(processor.image_processor, max_pixels)
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:  # as of Mistral: padding is masked anyway
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _fill(processor: Any, config: Any) -> None:
    """Gives a LLaVA processor what early conversions left to the model's configuration."""
    if getattr(processor, "patch_size", 0) is not None:
        return
    tower, strategy = config.vision_config, config.vision_feature_select_strategy
    processor.patch_size = tower.patch_size
    processor.vision_feature_select_strategy = strategy
    patches = (tower.image_size // tower.patch_size) ** 2
    left_out = 1 if strategy == "default" else 0
    processor.num_additional_image_tokens = config.image_seq_length - patches + left_out


def _load_model(folder: Path, dtype: str, attention: str, kept: Mapping[str, Any]) -> Any:
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        # An adapter records this path as its base's: absolute, it holds from any directory.
        folder.resolve(),
        dtype=dtype,
        attn_implementation=attention,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        output_loading_info=True,
        **kept,
    )
    model, loading = loaded
    if absent := sorted(loading["missing_keys"]):
        # They would be random, without a word.
        raise DataError(
            f"{folder}: {len(absent)} weights are not in its files, such as {absent[0]}; "
            "copy or download it again"
        )
    return model


def _base_of(adapter: Path) -> Path:
    base = Path(read_json(adapter)["base_model_name_or_path"])
    if not (base / "config.json").is_file():
        raise DataError(
            f"{adapter.parent}: an adapter of {base}, which is no model folder; put its base "
            f"model there, or change base_model_name_or_path in {adapter}"
        )
    return base


@contextmanager
def _errors_naming(folder: Path) -> Generator[None]:
    """Turns what libraries raise on a damaged or foreign folder into one line that names it."""
    try:
        with quiet():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            yield
    except (torch.OutOfMemoryError, ImportError):
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        shown = "".join(filter(str.isprintable, reason))[:300]
        raise DataError(
            f"{folder}: cannot be loaded as a vision-language model ({shown}); "
            "check that the folder is whole, and that it is not a text-only model"
        ) from error
