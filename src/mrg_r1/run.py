"""A run: the folder that one execution of a recipe leaves behind."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from mrg_r1 import __version__
from mrg_r1.config import Recipe
from mrg_r1.errors import ConfigError
from mrg_r1.records import (
    SampledCompletion,
    StepMetrics,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)


@dataclass(frozen=True, slots=True)
class Run:
    """Where each file of a run is."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.json"

    @property
    def versions(self) -> Path:
        """What the run was computed with."""
        return self.root / "versions.json"

    @property
    def studies(self) -> Path:
        """The drawn studies, when the recipe draws them."""
        return self.root / "studies"

    @property
    def base(self) -> Path:
        """The tiny policy before it has seen anything."""
        return self.root / "base"

    @property
    def start(self) -> Path:
        """The policy after the supervised start."""
        return self.root / "start"

    @property
    def policy(self) -> Path:
        """The policy after SRL."""
        return self.root / "policy"

    @property
    def metrics(self) -> Path:
        """One `StepMetrics` line a step."""
        return self.root / "metrics.jsonl"

    @property
    def completions(self) -> Path:
        """`SampledCompletion` lines of some completions of every SRL step."""
        return self.root / "completions.jsonl"

    @property
    def predictions_base(self) -> Path:
        """What the policy writes before the supervised start; an ablation asks for it."""
        return self.root / "predictions-base.jsonl"

    @property
    def predictions_start(self) -> Path:
        """What the policy writes before SRL."""
        return self.root / "predictions-start.jsonl"

    @property
    def predictions(self) -> Path:
        """What the policy writes after SRL."""
        return self.root / "predictions.jsonl"

    @property
    def readings(self) -> Path:
        """What the labeler read in both, and in the references."""
        return self.root / "readings.jsonl"

    @property
    def evaluation(self) -> Path:
        """The scores of both, beside constant reports."""
        return self.root / "evaluation.json"

    @property
    def audit(self) -> Path:
        """The page drawn from all of this."""
        return self.root / "audit.html"

    def checkpoints(self, stage: str) -> Path:
        """The folder of a stage's checkpoints; stages are 'sft' and 'srl'."""
        return self.root / "checkpoints" / stage

    def named_inside(self, path: str) -> str:
        """A path relative to the run where it is inside it, so that a run can be moved."""
        inside = Path(path).is_relative_to(self.root)
        return str(Path(path).relative_to(self.root)) if inside else path

    def forget_after(self, stage: str, step: int) -> None:
        """Drops the metrics and completions of a stage that come after a step.

        A stopped run may have logged steps beyond its last checkpoint, the last line perhaps in
        part; they are taken again.
        """
        if self.metrics.exists():
            drop_torn_line(self.metrics)
            kept = [
                line
                for line in read_jsonl(self.metrics, StepMetrics)
                if line.stage != stage or line.step <= step
            ]
            write_jsonl(self.metrics, kept)
        if stage == "srl" and self.completions.exists():
            drop_torn_line(self.completions)
            # A completion carries the number of finished steps, so the next step's carry `step`.
            seen = read_jsonl(self.completions, SampledCompletion)
            write_jsonl(self.completions, [line for line in seen if line.step < step])


def open_run(root: Path, recipe: Recipe, *, resume: bool) -> Run:
    """A new run folder, or the one to resume.

    Raises:
        ConfigError: the folder already holds a run and `resume` is not set, or holds a run of
            another recipe.
    """
    run = Run(root)
    resolved = to_json(recipe)
    if not _begun(run):
        # A run that was refused for its data may be typed again, mended.
        write_json(run.recipe, resolved)
    elif not run.recipe.exists():
        raise ConfigError(f"{root}: is not empty and holds no run; add --out FOLDER")
    elif not resume:
        raise ConfigError(f"{root}: holds a run already; add --resume, or --out FOLDER")
    elif keys := _differing(read_json(run.recipe), resolved):
        named = ", ".join(sorted(keys))
        raise ConfigError(f"{root}: was run with other settings ({named}); add --out FOLDER")
    if not run.versions.exists():
        write_json(run.versions, versions())
    return run


def _begun(run: Run) -> bool:
    """Whether the folder holds more than what a run was to be."""
    plans = (run.recipe, run.versions)
    found = run.root.iterdir() if run.root.exists() else ()
    return any(path not in plans and not path.name.startswith(".") for path in found)


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON stores it (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def versions() -> dict[str, str]:
    """What numbers depend on besides the recipe."""
    packages = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "numpy")
    return {
        "mrg-r1": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def changed_versions(run: Run) -> list[str]:
    """What a run goes on with that is not what it began with: 'torch 2.9.0 -> 2.10.0'."""
    began, now = read_json(run.versions), versions()
    return [
        f"{name} {began.get(name)} -> {now.get(name)}"
        for name in sorted(began.keys() | now.keys())
        if began.get(name) != now.get(name)
    ]


def drop_torn_line(path: Path) -> None:
    """Cuts what stands after the last line break: a line that was being written."""
    with open(path, "rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _differing(before: Any, after: Any, where: str = "") -> set[str]:
    """The dotted keys under which two JSON documents differ."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return set() if before == after else {where}
    old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
    return {
        key
        for name in old.keys() | new.keys()
        for key in _differing(old.get(name), new.get(name), f"{where}.{name}" if where else name)
    }
