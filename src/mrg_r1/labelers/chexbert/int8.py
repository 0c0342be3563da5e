"""CheXbert with 8-bit weights on a CPU, by ONNX Runtime: faster, and not quite the same.

`write_int8` makes the file once, from the checkpoint, where the user says. Some labels change:
`agreement` tells how many, which is worth knowing of one's own reports.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertConfig

from mrg_r1.errors import DataError, MissingExtra
from mrg_r1.findings import FINDINGS, Finding, Labels
from mrg_r1.labelers.chexbert.arrays import DIGITS, Floats, Ints
from mrg_r1.labelers.chexbert.checkpoint import load_weights, opened, read_checkpoint
from mrg_r1.labelers.chexbert.model import BERT_BASE_UNCASED, Chexbert

_CHECKPOINT, _PIECES = "mrg_r1.checkpoint", "mrg_r1.pieces"
"""What the file tells of where it comes from."""


class Int8Network:
    """A file that `write_int8` made, on the CPU.

    Args:
        path: the file.
        threads: of the CPU; else as many as torch takes.

    Raises:
        DataError: the file is not there, or was not made by `write_int8`.
        MissingExtra: ONNX Runtime is not installed.
    """

    budget = 512

    def __init__(self, path: Path, threads: int | None = None) -> None:
        with opened(path) as file:
            content = file.read()
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            made_from = self._session.get_modelmeta().custom_metadata_map
            checkpoint, self.pieces = made_from[_CHECKPOINT], int(made_from[_PIECES])
        # ONNX Runtime raises classes of its own, which it does not export.
        except Exception:
            raise DataError(
                f"{path}: not made by 'mrg-r1 chexbert int8'; type that to make it"
            ) from None
        own = hashlib.sha256(content).hexdigest()
        self.identity = f"chexbert@{checkpoint[:DIGITS]}+int8-{own[:DIGITS]}"

    def logits(self, ids: Ints, mask: Ints) -> Floats:
        """Logits, (B, 14, 4), of token ids and their mask, both (B, T)."""
        return self._session.run(None, {"ids": ids, "mask": mask})[0]


def write_int8(weights: Path, out: Path, bert: BertConfig = BERT_BASE_UNCASED) -> None:
    """Writes a checkpoint with 8-bit weights, whole or not at all.

    Matrices become 8-bit integers with a scale per channel; what they are multiplied with is
    made so as it comes (dynamic quantisation). Needs about 600 MB beside `out` for a moment.

    Raises:
        DataError: the checkpoint is not there, or not CheXbert's.
        MissingExtra: a package that makes the file is not installed.
    """
    onnx, _ = _package("onnx"), _package("onnxscript")
    quantization = _package("onnxruntime.quantization")
    checkpoint = read_checkpoint(weights)
    model = Chexbert(bert).eval()
    load_weights(model, checkpoint)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}-") as folder, _quiet():
        exact, small = Path(folder) / "exact.onnx", Path(folder) / "int8.onnx"
        _export(model, exact)
        document = onnx.load(exact)
        # Quantisation transposes the heads' weights, whose shapes were noted before.
        del document.graph.value_info[:]
        onnx.save(document, exact)
        quantization.quantize_dynamic(
            exact, small, weight_type=quantization.QuantType.QInt8, per_channel=True
        )
        document = onnx.load(small)
        facts = {_CHECKPOINT: checkpoint.sha256, _PIECES: str(bert.vocab_size)}
        onnx.helper.set_model_props(document, facts)
        onnx.save(document, small)
        os.replace(small, out)


def agreement(first: Sequence[Labels], second: Sequence[Labels]) -> dict[Finding, float]:
    """The share of reports, in [0, 1], of which both say the same, per finding."""
    equal = _classes(first) == _classes(second)  # (n, 14)
    return dict(zip(FINDINGS, equal.mean(axis=0).tolist(), strict=True))


def _classes(labels: Sequence[Labels]) -> NDArray[np.int8]:
    return np.array([found.statuses for found in labels], dtype=np.int8)


def _export(model: Chexbert, path: Path) -> None:
    """Writes the network as ONNX, for any number of reports and tokens."""
    ids = torch.zeros((2, 8), dtype=torch.int64)
    any_size = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    _package("torch.onnx").export(
        model,
        (ids, torch.ones_like(ids)),
        path,
        input_names=["ids", "mask"],
        output_names=["logits"],
        dynamic_shapes={"ids": any_size, "mask": any_size},
        external_data=False,
        verbose=False,
    )


@contextmanager
def _quiet() -> Generator[None]:
    """Both exporters tell their developers' worries to whoever uses them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _package(name: str) -> Any:
    """An optional package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"chexbert: int8 needs {error.name}; type: pip install 'mrg-r1[onnx]'"
        ) from None
