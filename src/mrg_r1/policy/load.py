"""Loads a policy from a folder: a run, a saved adapter, or any local vision-language model.

Beside weights and processor a saved policy keeps its instruction in `mrg_r1.json`: a policy asked
with other words than it was trained on writes other reports.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

from mrg_r1.completion import INSTRUCTION
from mrg_r1.errors import DataError
from mrg_r1.records import read_json, write_json

_OURS = "mrg_r1.json"


@dataclass(frozen=True)
class Policy:
    """A vision-language model with its processor and the instruction it follows."""

    model: Any  # PreTrainedModel or PeftModel
    processor: Any  # a ProcessorMixin; its subclasses share no typed call
    instruction: str = INSTRUCTION

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def weights(self) -> int:
        """How many weights the model has, adapters included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def placeholder_tokens(self) -> list[int]:
        """Special tokens that must never be sampled.

        An image placeholder inside a completion has no image to stand for and breaks the next
        forward pass; the other control tokens decode to nothing. Tokens that end a completion
        stay allowed.
        """
        tokenizer = self.processor.tokenizer
        image = getattr(self.model.config, "image_token_id", None)
        forbidden = {*tokenizer.all_special_ids} | ({image} if image is not None else set())
        return sorted(forbidden - set(self.end_tokens()))

    def end_tokens(self) -> list[int]:
        """Tokens that end a completion."""
        declared = self.model.generation_config.eos_token_id
        declared = [declared] if isinstance(declared, int) else list(declared or [])
        return sorted({*declared, self.processor.tokenizer.eos_token_id})

    def save(self, folder: Path) -> None:
        """Writes weights (or adapter) and processor under a temporary name, then renames."""
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        self.model.save_pretrained(temporary)
        self.processor.save_pretrained(temporary)
        write_json(temporary / _OURS, {"instruction": self.instruction})
        temporary.rename(folder)


def policy_folder(path: Path) -> Path:
    """The folder that holds the weights: `path` itself, or `policy/` of a run.

    Raises:
        DataError: `path` holds no policy.
    """
    for folder in (path, path / "policy"):
        if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
            return folder
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
) -> Policy:
    """Loads a model or an adapter on its base, with the processor saved beside it.

    Nothing is fetched, no code from the folder is run, and weights load as tensors only.

    Args:
        path: a run folder, a saved policy, or a local model folder.
        dtype: 'float32', 'bfloat16', or 'auto' (as stored).
        attention: the attention implementation of transformers.
        trainable: whether an adapter's weights take gradients.
        instruction: replaces the one saved with the policy.

    Raises:
        DataError: there is no policy, or its base model is not where its adapter says.
    """
    folder = policy_folder(path)
    adapter = folder / "adapter_config.json"
    base = (
        policy_folder(Path(read_json(adapter)["base_model_name_or_path"]))
        if adapter.is_file()
        else folder
    )
    model = AutoModelForImageTextToText.from_pretrained(
        base, dtype=dtype, attn_implementation=attention, local_files_only=True, weights_only=True
    )
    if adapter.is_file():
        model = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    processor.tokenizer.padding_side = "left"
    ours = folder / _OURS
    saved = read_json(ours)["instruction"] if ours.is_file() else INSTRUCTION
    return Policy(model, processor, instruction or saved)
