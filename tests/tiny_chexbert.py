"""A CheXbert small enough for tests: random weights under the published names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig

from mrg_r1.labelers.chexbert.model import Chexbert

WORDS = ["no", "edema", "pleural", "effusion", "heart", "is", "normal", "large", "small", "the"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", ",", "##s"]
BERT = BertConfig(
    vocab_size=len(PIECES),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
)
REPORTS = [
    "No edema.",
    "",
    "The heart is normal. No pleural effusion, no edema.",
    "Large pleural effusions.",
    "small " * 300,
    "xyz",
    "No edema.",
]


def network(seed: int = 0) -> Chexbert:
    """Weights wide enough that reports differ in their labels."""
    torch.manual_seed(seed)
    model = Chexbert(BERT).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_()
    return model


def published(model: Chexbert) -> dict[str, Any]:
    """What the authors' training saved: a model inside `DataParallel`."""
    return {f"module.{key}": value for key, value in model.state_dict().items()}


def write_files(folder: Path) -> tuple[Path, Path]:
    """A checkpoint and its vocabulary."""
    weights, vocabulary = folder / "chexbert.pth", folder / "vocab.txt"
    torch.save({"epoch": 1, "model_state_dict": published(network())}, weights)
    vocabulary.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return weights, vocabulary
