"""The health of a reward in training: in one process or several, and nothing else changes."""

from __future__ import annotations

import json
import random
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from literal_labeler import LiteralLabeler
from mrg_r1.completion import render
from mrg_r1.config import HealthRecipe
from mrg_r1.records import SampledCompletion, StepMetrics, read_jsonl
from mrg_r1.rewards.ce_f1 import CeF1Reward
from mrg_r1.rewards.health import Readers
from mrg_r1.rewards.penalties import ContradictionPenalty
from mrg_r1.trainers.watching import HealthWatch
from tiny_runs import be_one_of_two, in_process, started, tiny_recipe, train

REPORTS = ["Edema+.", "Edema-.", "Edema+.", "", "Edema?. Fracture+.", "Edema+. Edema-."]
CLINICAL = [1.0, 0.0, 0.5, 0.5, 0.0, 0.0]
FORM = [1.0, 1.0, 0.5, 0.5, 1.0, 0.0]


def watched(share: slice) -> dict[str, float]:
    """What the health of a share of six completions is logged as; groups are of two."""
    labeler = LiteralLabeler()
    readers = Readers(labeler, ContradictionPenalty(labeler), CeF1Reward(labeler, labels=13))
    logged: dict[str, float] = {}
    completions = [
        [{"role": "assistant", "content": render("a", report) if report else "..."}]
        for report in REPORTS[share]
    ]
    columns: dict[str, Any] = {
        "reference": ["Edema+."] * len(completions),
        "log_metric": logged.__setitem__,
    }
    watch = HealthWatch([0.75, 0.25], 2, readers, sample=len(REPORTS))
    watch(completions, columns, {"mccs": CLINICAL[share], "format": FORM[share]})
    return logged


def watch_among(rank: int, port: int, folder: Path) -> None:
    """Watches half of the completions, so that a group is torn apart."""
    be_one_of_two(rank, port)
    (folder / f"{rank}.json").write_text(json.dumps(watched(slice(3 * rank, 3 * rank + 3))))


def test_a_batch_is_logged() -> None:
    logged = watched(slice(None))
    assert logged["health/no_variance"] == pytest.approx(1 / 3)
    assert logged["health/no_variance/mccs"] == pytest.approx(2 / 3)
    assert logged["health/form_only"] == pytest.approx(1 / 3)
    assert logged["health/no_report"] == pytest.approx(1 / 6)
    assert logged["health/distinct"] == pytest.approx(4 / 5)
    assert logged["health/contradicted"] == pytest.approx(1 / 5)
    assert logged["judge/ce_f1"] == pytest.approx((1 + 0 + 1 + 0 + 2 / 3 + 0) / 6)


def test_nothing_random_is_drawn() -> None:
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    watched(slice(None))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.slow
def test_two_processes_log_what_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [started(watch_among, rank, port, tmp_path) for rank in (0, 1)]
    for process in both:
        process.join(timeout=120)
    logged = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert logged[0] == logged[1] == watched(slice(None))


@pytest.mark.slow
def test_watching_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    recipe = replace(tiny_recipe(), sft=None)
    unwatched = replace(recipe, health=HealthRecipe("none", sample=0))
    assert in_process(train, recipe, tmp_path / "watched") == 0
    assert in_process(train, unwatched, tmp_path / "unwatched") == 0
    for name in ("completions.jsonl", "predictions.jsonl", "policy/model.safetensors"):
        ours, theirs = (tmp_path / folder / name for folder in ("watched", "unwatched"))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert read_jsonl(tmp_path / "watched" / "completions.jsonl", SampledCompletion)
    ours, theirs = (
        read_jsonl(tmp_path / folder / "metrics.jsonl", StepMetrics)
        for folder in ("watched", "unwatched")
    )
    for line, other in zip(ours, theirs, strict=True):
        assert {"judge/ce_f1", "health/no_variance/mccs"} <= line.values.keys()
        assert other.values.items() <= line.values.items()
        assert "judge/ce_f1" not in other.values
