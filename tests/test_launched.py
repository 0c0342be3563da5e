"""The real launchers: what becomes of a run of which one process is killed, or told to stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrg_r1.records import write_json
from mrg_r1.run import to_json
from mrg_r1.trainers.callbacks import WHOLE
from test_train import same_results
from tiny_processes import LOST, ended, of_two, told
from tiny_runs import tiny_recipe

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def launched(launcher: tuple[str, ...], *words: object) -> subprocess.CompletedProcess[str]:
    """`launched.py`, started by a launcher of two processes."""
    script = Path(__file__).with_name("launched.py")
    return subprocess.run(
        [sys.executable, "-m", *launcher, str(script), *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "240"},
        timeout=600,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_launched_run_is_killed_and_stopped_and_goes_on(tmp_path: Path) -> None:
    recipe, whole, root = (tmp_path / name for name in ("recipe.json", "whole", "run"))
    write_json(recipe, to_json(of_two(tiny_recipe())))
    words = ("train", str(recipe), "--out")
    assert ended([told, told], tmp_path / "told", *words, str(whole)) == [0, 0]
    words = (*words, str(root), "--resume")
    killed = launched(TORCHRUN, 1, "sft", 4, "kill", *words)
    assert killed.returncode != 0
    assert (root / "checkpoints" / "sft" / "checkpoint-2" / WHOLE).exists()
    assert LOST in killed.stderr
    stopped = launched(ACCELERATE, 1, "srl", 1, "stop", *words)
    assert "stopped by SIGTERM; to go on, type: mrg-r1 train " in stopped.stderr, stopped.stderr
    assert not (root / "policy").exists()
    done = launched(TORCHRUN, "nobody", "srl", 1, "kill", *words)
    assert done.returncode == 0, done.stderr
    assert same_results(whole, root)
