"""Grids of a tiny recipe: what they leave and share, kills, processes, rows that are added."""

from __future__ import annotations

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.audit import write_audit
from mrg_r1.config import Recipe, RewardRecipe
from mrg_r1.errors import ConfigError
from mrg_r1.records import StepMetrics, read_json, read_jsonl, write_json
from mrg_r1.run import to_json
from tiny_runs import (
    CELL_PLACES,
    ablate,
    ablate_among,
    ablate_killed,
    command,
    in_process,
    started,
    tiny_recipe,
    train,
)

ROWS = ("base", "sft", "format", "mccs+format")

CELL = (
    *("metrics.jsonl", "completions.jsonl", "predictions-start.jsonl", "predictions.jsonl"),
    *("readings.jsonl", "evaluation.json", "start/model.safetensors", "policy/model.safetensors"),
)


def brief_recipe() -> Recipe:
    recipe = tiny_recipe()
    return replace(recipe, srl={**recipe.srl, "max_steps": 3})


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid that nothing stopped, made by the command."""
    folder = tmp_path_factory.mktemp("grid")
    write_json(folder / "recipe.json", to_json(brief_recipe()))
    words = ("ablate", str(folder / "recipe.json"), "--rows", ",".join(ROWS), "--out")
    code = in_process(command, folder / "told", *words, str(folder / "grid"))
    assert code == 0, (folder / "told.err").read_text()
    return folder / "grid"


def files(root: Path) -> dict[Path, tuple[int, int]]:
    """Every file that is no directory or link, with what changes when it is written again."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.slow
def test_a_grid_leaves_what_was_promised(grid: Path) -> None:
    assert {path.name for path in grid.iterdir()} == {
        *("recipe.json", "versions.json", "ablation.json", "seed-0")
    }
    document = read_json(grid / "ablation.json")
    assert [row["name"] for row in document["rows"]] == list(ROWS)
    for row in document["rows"]:
        kinds = {
            (score["metric"], *score["signature"].split("|")[:4])
            for score in row["seeds"]["0"]["scores"]
            if score["metric"].startswith("ce_")
        }
        assert len(kinds) == 3 * 2 * 3 * 4, "precision, recall, F1; mappings; labels; averages"
    assert {"constant-normal", "constant-best-f1"} <= {r["name"] for r in document["baselines"]}
    told = (grid.parent / "told.out").read_text()
    assert "constant-best-f1" in told
    assert told.endswith(f"all figures: {grid / 'ablation.json'}\n")
    for row in ROWS:
        assert any(line.startswith(f"{row}: place ") for line in told.splitlines())


@pytest.mark.slow
def test_the_start_is_trained_once_and_shared(grid: Path) -> None:
    told = (grid.parent / "told.err").read_text()
    for once in ("drawing studies: 22 st", "vision warm-up: 3 st", "supervised start: 5 st"):
        assert told.count(f"\n{once}") == 1, told
    assert told.count("\nSRL: 3 steps") == 2
    seed = grid / "seed-0"
    assert {m.stage for m in read_jsonl(seed / "metrics.jsonl", StepMetrics)} == {"sft"}
    for row in ("format", "mccs+format"):
        for name in ("studies", "base", "start", "predictions-start.jsonl"):
            assert (seed / row / name).resolve() == seed / name


@pytest.mark.slow
def test_a_cell_is_the_run_that_train_would_leave(grid: Path, tmp_path: Path) -> None:
    run, cell = tmp_path / "run", grid / "seed-0" / "mccs+format"
    assert in_process(train, brief_recipe(), run) == 0
    differing = [name for name in CELL if (run / name).read_bytes() != (cell / name).read_bytes()]
    assert differing == []
    moved = Path(shutil.copytree(grid, tmp_path / "moved", symlinks=True))
    page = write_audit(moved / "seed-0" / "mccs+format").read_text()
    assert "data:image/" in page


@pytest.mark.slow
def test_a_grid_killed_anywhere_ends_as_if_it_had_not_been(grid: Path, tmp_path: Path) -> None:
    root = tmp_path / "killed"
    for where in CELL_PLACES:
        kept = files(root / "seed-0" / "start")
        done = root / "seed-0" / "format"
        if (done / "audit.html").exists():
            kept |= files(done)
        assert in_process(ablate_killed, brief_recipe(), root, ROWS, where) == -9, where
        assert kept.items() <= files(root).items(), f"{where}: something was made again"
    assert in_process(ablate, brief_recipe(), root, ROWS, True) == 0
    assert (root / "ablation.json").read_bytes() == (grid / "ablation.json").read_bytes()
    for name in CELL:
        cell = Path("seed-0", "format", name)
        assert (root / cell).read_bytes() == (grid / cell).read_bytes(), name
    assert not list(root.rglob(".*"))


@pytest.mark.slow
def test_rows_are_added_to_what_is_there(grid: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(grid, tmp_path / "more", symlinks=True))
    before = files(root / "seed-0" / "start") | files(root / "seed-0" / "format")
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        ablate(brief_recipe(), root, ("sft", "ce-f1"))
    with pytest.raises(ConfigError, match=r"other settings \(reward.margin\)"):
        ablate(replace(brief_recipe(), reward=RewardRecipe(margin=0.1)), root, ROWS, True)
    assert in_process(ablate, brief_recipe(), root, ("sft", "ce-f1"), True) == 0
    assert before.items() <= files(root).items()
    document = read_json(root / "ablation.json")
    assert [row["name"] for row in document["rows"]] == ["sft", "ce-f1"]


@pytest.mark.slow
def test_two_processes_share_a_grid(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = brief_recipe()
    sft: dict[str, Any] = {**(recipe.sft or {}), "effective_batch_size": 8}
    srl: dict[str, Any] = {**recipe.srl, "effective_batch_size": 16}
    for options in (sft, srl):
        del options["per_device_train_batch_size"]
    recipe, root = replace(recipe, sft=sft, srl=srl), tmp_path / "grid"
    both = [started(ablate_among, rank, port, recipe, root, ROWS) for rank in (0, 1)]
    for process in both:
        process.join(timeout=400)
    assert [process.exitcode for process in both] == [0, 0]
    assert [row["name"] for row in read_json(root / "ablation.json")["rows"]] == list(ROWS)
    for row in ("format", "mccs+format"):
        assert (root / "seed-0" / row / "audit.html").exists()
    assert not list(root.rglob(".*"))


@pytest.mark.slow
def test_without_a_supervised_start_rows_begin_at_the_base(tmp_path: Path) -> None:
    recipe = replace(brief_recipe(), sft=None, srl={**brief_recipe().srl, "max_steps": 1})
    assert in_process(ablate, recipe, tmp_path / "grid", ("base", "nlg")) == 0
    document = read_json(tmp_path / "grid" / "ablation.json")
    assert [row["rewards"] for row in document["rows"]] == [{}, {"overlap": 1.0}]
    assert not (tmp_path / "grid" / "seed-0" / "start").exists()
