"""Faults of a machine or an installation, as errors that say what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mrg_r1.errors import ConfigError, MissingExtra, MrgError
from mrg_r1.policy.quiet import quiet

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PAGE = 4096
_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process exited",
)


@contextmanager
def faults_named(root: Path) -> Generator[None]:
    """Names what stopped the run in `root`, and keeps libraries quiet about themselves.

    Raises:
        OSError: (ENOSPC) the disk is full, whichever library found out.
        MissingExtra: the recipe needs a package that is not installed.
        MrgError: another process of the run is gone.
    """
    try:
        with quiet():
            yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "mrg_r1":
            raise
        reason = " ".join(str(error).split())
        raise MissingExtra(f"the recipe needs a package that is not installed: {reason}") from error
    except Exception as error:
        if _is_lost(error):
            raise MrgError(
                "another process of this run has ended, and tells why if it could; what is written "
                "is whole, and --resume goes on from there"
            ) from error
        if not _is_full(error, root):
            raise
        raise OSError(
            errno.ENOSPC,
            "no space left; what is written is whole, and --resume goes on from there",
            str(root),
        ) from error


def no_number(stage: str, step: int, what: str) -> ConfigError:
    """What to do where a step's figures are no numbers: no later checkpoint is written."""
    return ConfigError(
        f"{stage} step {step}: {what}; lower {stage}.learning_rate and start again with --out "
        "FOLDER, or, if a machine is at fault, go on from the last checkpoint on another with "
        "--resume"
    )


def _is_lost(error: Exception) -> bool:
    """Whether an exchange with other processes failed since one of them is gone (gloo, NCCL)."""
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in _LOST)


def _is_full(error: Exception, root: Path) -> bool:
    """Whether a full disk is behind an error; only Python's own say so by number."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    if "No space left" in text or "Disk quota exceeded" in text:  # safetensors
        return True
    # torch.save tells neither reason nor file. What it could write still fills the disk.
    return "inline_container" in text and shutil.disk_usage(root).free < _PAGE
