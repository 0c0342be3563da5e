"""What a tracker that a recipe names is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiny_runs import in_process, tiny_recipe, train


@pytest.mark.slow
def test_a_tracker_is_told_the_figures_of_both_stages(tmp_path: Path) -> None:
    recipe, tracked = tiny_recipe(), {"report_to": "tensorboard", "max_steps": 2}
    recipe = replace(recipe, sft={**(recipe.sft or {}), **tracked}, srl={**recipe.srl, **tracked})
    assert in_process(train, recipe, tmp_path / "run") == 0
    for stage, figure in (("sft", b"train/loss"), ("srl", b"train/rewards/mccs/mean")):
        (events,) = (tmp_path / "run" / "checkpoints" / stage).glob("runs/*/events.out.tfevents*")
        assert figure in events.read_bytes()
