"""SRL does not hold on to what a step has used (`bench/soak.py` looks longer)."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.config import Recipe
from mrg_r1.trainers.callbacks import RunRecorder
from tiny_processes import learn
from tiny_runs import in_process, tiny_recipe

STEPS, SETTLED = 60, 20


def resident() -> float:
    """MB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def learn_watched(recipe: Recipe, root: Path, sizes: Path) -> None:
    """SRL, of which each step's memory is written down."""
    log, seen = RunRecorder.on_log, list[float]()

    def watched(*args: Any, **options: Any) -> None:
        seen.append(resident())
        log(*args, **options)

    RunRecorder.on_log = watched
    learn(0, recipe, root)
    sizes.write_text(json.dumps(seen))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_stays_flat(tmp_path: Path) -> None:
    recipe, sizes = tiny_recipe(), tmp_path / "sizes.json"
    recipe = replace(recipe, sft=None, srl={**recipe.srl, "max_steps": STEPS})
    assert in_process(learn_watched, recipe, tmp_path / "run", sizes) == 0
    seen = json.loads(sizes.read_text())[:STEPS]
    # Seen: 0.8 MB. A copy of this policy in each step would be 16 MB.
    assert seen[-1] - seen[SETTLED] < 8
