"""Strict and safe reading of CheXbert's checkpoint."""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from mrg_r1.errors import DataError

_NAMED = 3
"""Keys named of each kind that differs."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by their names in `Chexbert`, and the SHA-256 of the file they came from."""

    path: Path
    sha256: str
    weights: Mapping[str, Tensor]


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal.

    Raises:
        DataError: there is no such file.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a file such as the published `chexbert.pth`, and runs nothing that it holds.

    Raises:
        DataError: there is no such file, it is no checkpoint, or it wants to run code.
    """
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        document = _unpickled(file, path)
    try:
        state = dict[str, Any](document["model_state_dict"])
    except (LookupError, TypeError, ValueError):
        raise DataError(
            f"{path}: a checkpoint without model_state_dict; it is not CheXbert's"
        ) from None
    return Checkpoint(path, digest, _renamed(state, path))


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Gives a model exactly the weights of a checkpoint.

    `position_ids`, a constant that some versions of transformers store, is left aside.

    Raises:
        DataError: a key is missing, unknown, of another shape, or holds no finite numbers.
    """
    found = _without_positions(checkpoint.weights)
    wanted = _without_positions(model.state_dict())
    problems = [
        *_listed("missing", wanted.keys() - found.keys()),
        *_listed("unknown", found.keys() - wanted.keys()),
        *_listed(
            "of another shape",
            (
                f"{key} {tuple(found[key].shape)} for {tuple(tensor.shape)}"
                for key, tensor in wanted.items()
                if key in found and found[key].shape != tensor.shape
            ),
        ),
        *_listed("not finite", (key for key, tensor in found.items() if not _is_finite(tensor))),
    ]
    if problems:
        raise DataError(f"{checkpoint.path}: not CheXbert's weights; {'; '.join(problems)}")
    model.load_state_dict(found, strict=False)


def opened(path: Path) -> io.BufferedReader:
    """The file, to be read.

    Raises:
        DataError: there is no such file.
    """
    try:
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{path}: no such file; docs/labelers.md says where to get it") from None


def _unpickled(file: BinaryIO, path: Path) -> Any:
    # What torch raises on bytes that are no checkpoint is anything from KeyError to struct.error.
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        if code := _code_of(error, file):
            raise DataError(
                f"{path}: refused, for its pickle wants to run code ({code}); get CheXbert's "
                "checkpoint from its authors"
            ) from None
        raise DataError(
            f"{path}: no PyTorch checkpoint, or only a part of one; get chexbert.pth again"
        ) from None


def _code_of(error: Exception, file: BinaryIO) -> str:
    """The function that torch refused to call, or ''."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return named[1]
    # A pickle that torch did not write is refused before torch comes to a function in it.
    file.seek(0)
    words: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "STACK_GLOBAL":
                return ".".join(words[-2:])
            if operation.name in ("GLOBAL", "INST"):
                return str(argument).replace(" ", ".")
            words += [argument] if isinstance(argument, str) else []
    except (ValueError, IndexError):  # no pickle at all
        return ""
    return ""


def _renamed(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The state of a model that `DataParallel` wrapped, or did not, by the model's own names."""
    weights: dict[str, Tensor] = {}
    for key, value in state.items():
        name = str(key).removeprefix("module.")
        if not isinstance(value, Tensor) or name in weights:
            problem = "is there twice" if name in weights else "is no tensor"
            raise DataError(f"{path}: not CheXbert's weights; {key} {problem}")
        weights[name] = value
    return weights


def _without_positions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith(".position_ids")}


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())


def _listed(kind: str, names: Iterable[str]) -> list[str]:
    """'kind: a, b, c and 4 more', or nothing."""
    ordered = sorted(names)
    if not ordered:
        return []
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return [f"{kind}: {', '.join(ordered[:_NAMED])}{more}"]
