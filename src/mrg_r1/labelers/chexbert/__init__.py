"""CheXbert, the labeler of the paper's reward and evaluation, from local files.

Neither its weights nor its vocabulary ship with this package; `docs/labelers.md` says where they
come from. Loading runs no code of a checkpoint and asks no hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig

from mrg_r1.errors import ConfigError
from mrg_r1.findings import FINDINGS, Labels, Status
from mrg_r1.labelers.chexbert.arrays import DIGITS, Floats, Ints, Network
from mrg_r1.labelers.chexbert.checkpoint import load_weights, read_checkpoint
from mrg_r1.labelers.chexbert.model import BERT_BASE_UNCASED, Chexbert
from mrg_r1.labelers.chexbert.packed import pack
from mrg_r1.labelers.chexbert.tokens import BERT_BASE_UNCASED_SHA256, Vocabulary

__all__ = ["ChexbertLabeler", "Network", "TorchNetwork", "load_network"]

_BUDGET = {"cpu": 512, "cuda": 16_384}
"""Padded tokens of a batch. On a CPU longer batches leave the cache; a GPU must be kept busy."""


class TorchNetwork:
    """The published checkpoint in PyTorch, in 32-bit floats.

    Args:
        weights: the checkpoint.
        device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.
        bert: the sizes of the checkpoint's BERT.

    Raises:
        ConfigError: there is no such device.
        DataError: the file is not there, or not CheXbert's.
    """

    def __init__(
        self, weights: Path, device: str = "auto", bert: BertConfig = BERT_BASE_UNCASED
    ) -> None:
        self.device = _device(device)
        checkpoint = read_checkpoint(weights)
        self.sha256 = checkpoint.sha256
        self.model = Chexbert(bert)
        load_weights(self.model, checkpoint)
        self.model.to(self.device).eval()
        if self.device.type == "cpu":
            pack(self.model)
        self.identity = f"chexbert@{self.sha256[:DIGITS]}"
        self.pieces = bert.vocab_size
        self.budget = _BUDGET[self.device.type]

    @torch.inference_mode()
    def logits(self, ids: Ints, mask: Ints) -> Floats:
        """Logits, (B, 14, 4), of token ids and their mask, both (B, T)."""
        tokens, seen = (torch.as_tensor(array, device=self.device) for array in (ids, mask))
        return self.model(tokens, seen).cpu().numpy()


def load_network(weights: Path, device: str = "auto") -> Network:
    """The network in a file: `*.onnx` is int8, made by `mrg-r1 chexbert int8`.

    Raises:
        ConfigError: there is no such device.
        DataError: the file is not there, or not CheXbert's.
        MissingExtra: int8 needs a package that is not installed.
    """
    if weights.suffix != ".onnx":
        return TorchNetwork(weights, device)
    from mrg_r1.labelers.chexbert.int8 import Int8Network

    return Int8Network(weights)


class ChexbertLabeler:
    """Reads the 14 findings with CheXbert. An empty report is read as [CLS] [SEP].

    Reports are batched with others of their length, so that little is spent on padding; labels
    come in the order of the reports.

    Args:
        network: turns token ids into logits.
        vocabulary: the vocab.txt of bert-base-uncased.
        budget: padded tokens of a batch; else what suits the network.

    Raises:
        DataError: the vocabulary is not there, or not the network's.
    """

    def __init__(self, network: Network, vocabulary: Path, budget: int | None = None) -> None:
        self.network = network
        self.vocabulary = Vocabulary(vocabulary, network.pieces)
        self.budget = budget or network.budget

    @property
    def identity(self) -> str:
        """Name and digest of the weights; that of the vocabulary if it is not the usual one."""
        sha256 = self.vocabulary.sha256
        usual = sha256 == BERT_BASE_UNCASED_SHA256
        return self.network.identity + ("" if usual else f"+vocabulary-{sha256[:DIGITS]}")

    def label(self, reports: Sequence[str]) -> list[Labels]:
        """Labels of each report, in order. Never raises on a report's content."""
        return [Labels.from_classes(row) for row in self._logits(reports).argmax(axis=2).tolist()]

    def probabilities(self, reports: Sequence[str]) -> Floats:
        """Probabilities, (n, 14, 4), of each finding's `Status` values in each report.

        The findings are in the order of `FINDINGS`. No Finding is never negative or uncertain.
        """
        logits = self._logits(reports)
        powers = np.exp(logits - logits.max(axis=2, keepdims=True))
        return powers / powers.sum(axis=2, keepdims=True)

    def _logits(self, reports: Sequence[str]) -> Floats:
        tokens = self.vocabulary.ids(reports)
        logits = np.empty((len(reports), len(FINDINGS), len(Status)), dtype=np.float32)
        for batch in batches([len(ids) for ids in tokens], self.budget):
            logits[batch] = self.network.logits(*_padded([tokens[index] for index in batch]))
        return logits


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, each at most `budget` tokens when padded.

    Short ones come first. A length beyond the budget is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _padded(tokens: Sequence[list[int]]) -> tuple[Ints, Ints]:
    """Token ids, 0 beyond each end, and the mask that hides those, both (B, T)."""
    longest = max(map(len, tokens))
    ids = [row + [0] * (longest - len(row)) for row in tokens]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in tokens]
    return np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)


def _device(name: str) -> torch.device:
    """The device of a name; under a launcher of several processes, the GPU of this one."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"labeler.device: no '{name}' here; use cpu or auto")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
