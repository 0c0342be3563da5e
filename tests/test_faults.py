"""Faults of a machine, as errors that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from mrg_r1.errors import ConfigError
from mrg_r1.trainers.faults import faults_named

FULL = {
    "python": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded", "x"),
    "safetensors": SafetensorError("I/O error: No space left on device (os error 28)"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_disk_is_named_whoever_found_it(tmp_path: Path, case: str) -> None:
    with (
        pytest.raises(OSError, match="--resume goes on from there") as raised,
        faults_named(tmp_path),
    ):
        raise FULL[case]
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied", "x"),
        RuntimeError("[enforce fail at inline_container.cc:672]"),
        ValueError("of a bug"),
        ConfigError("of the user"),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, faults_named(tmp_path):
        raise error
    assert raised.value is error
