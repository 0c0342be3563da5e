"""Faults of a machine, as errors that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from mrg_r1.errors import ConfigError, MissingExtra, MrgError
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


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    message = r"package that is not installed: No module named 'deepspeed'"
    with pytest.raises(MissingExtra, match=message), faults_named(tmp_path):
        raise ModuleNotFoundError("No module named 'deepspeed'", name="deepspeed")


@pytest.mark.parametrize(
    "text",
    [
        "[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4242",
        "[gloo/transport/tcp/pair.cc:547] Read error [127.0.0.1]:4242: Connection reset by peer",
        "NCCL error: remote process exited or there was a network error",
    ],
)
def test_a_process_that_is_gone_is_named(tmp_path: Path, text: str) -> None:
    message = "another process of this run has ended"
    with pytest.raises(MrgError, match=message), faults_named(tmp_path):
        raise RuntimeError(text)


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
