"""Trains and judges the rows of Table II, all from one supervised start per seed.

A seed's folder holds what its rows share: studies, base, start, and the reports of both. A row
that SRL trains is a run folder inside it, file for file the one that `mrg_r1.train` would leave.
Whatever is there already is not made again.

Departures from the paper, whose rows start from a zero-shot base:
- Where the recipe has a supervised start, SRL starts from it: a policy from random weights earns
  no reward before. Without one, SRL starts from the base as in the paper; there is no row 'sft'.
- The base of a tiny policy has learnt to see (`trainers.warmup`) and not to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrg_r1.ablate.rows import UNTRAINED, check_rows, row_recipe
from mrg_r1.ablate.summary import Ablation, summarise
from mrg_r1.config import Recipe
from mrg_r1.data.study import Sample
from mrg_r1.evaluate import evaluate
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.metrics.published import ABLATION
from mrg_r1.recipe_rewards import reward_weights, the_labeler
from mrg_r1.records import (
    Evaluation,
    Prediction,
    StepMetrics,
    read_jsonl,
    write_json,
    write_jsonl,
)
from mrg_r1.run import Run, open_run
from mrg_r1.train import (
    base_of,
    begin,
    check_training,
    conclude,
    judge,
    reinforce,
    supervised_start,
)
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.processes import is_main, main_first, wait_for_all
from mrg_r1.trainers.progress import say


def ablate(
    recipe: Recipe,
    root: Path,
    *,
    rows: Sequence[str] = ABLATION,
    seeds: int = 1,
    resume: bool = False,
) -> Ablation | None:
    """Leaves `ablation.json` in `root`, and returns it in the main process.

    Rows and seeds may be added to what is there with `resume`; a grid that was killed goes on
    likewise, and ends as if it had not been.

    Args:
        recipe: of all rows; its seed is the first.
        root: the folder of the grid.
        rows: which, see `rows.chosen`.
        seeds: how many, from the recipe's on.
        resume: go on with what `root` holds.

    Raises:
        ConfigError, DataError, MissingExtra, OSError: as `mrg_r1.train.train`, or a row's reward
            cannot be made of the recipe's.
    """
    with faults_named(root):
        check_rows(recipe, rows, seeds)
        check_training(recipe, Run(root))
        labeler = the_labeler(recipe.labeler)
        with main_first():
            open_run(root, recipe, resume=resume or not is_main())
        evaluations = {
            seed: _of_seed(replace(recipe, seed=seed), root / f"seed-{seed}", rows, labeler)
            for seed in range(recipe.seed, recipe.seed + seeds)
        }
        if not is_main():
            return None
        ablation = summarise(recipe, _rewards(recipe, rows), evaluations)
        write_json(root / "ablation.json", ablation.document())
        return ablation


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the rows of a seed have in common."""

    run: Run
    labeler: CachedLabeler
    start: Path
    before: list[Prediction]
    train_samples: list[Sample]
    eval_samples: list[Sample]

    @property
    def references(self) -> list[str]:
        return [sample.reference for sample in self.train_samples]


def _of_seed(recipe: Recipe, root: Path, rows: Sequence[str], labeler: CachedLabeler) -> Evaluation:
    """The rows of one seed, scored side by side; only the main process scores."""
    say(f"seed {recipe.seed}: {', '.join(rows)}")
    run, train_samples, eval_samples = begin(recipe, root, resume=True)
    start = supervised_start(recipe, run, train_samples, labeler)
    before = judge(recipe, run, run.predictions_start, start, eval_samples)
    shared = _Shared(run, labeler, start, before, train_samples, eval_samples)
    systems = {row: _reports(recipe, row, shared) for row in rows}
    if not is_main():
        return Evaluation()
    return evaluate(
        systems,
        labeler,
        train_references=shared.references,
        baseline="sft" if "sft" in systems else rows[0],
        resamples=recipe.evaluation.resamples,
        seed=recipe.seed,
    )


def _reports(recipe: Recipe, row: str, shared: _Shared) -> list[Prediction]:
    """What the policy of a row writes."""
    if row == "base" and recipe.sft is not None:
        base = base_of(recipe.policy, shared.run)
        return judge(recipe, shared.run, shared.run.predictions_base, base, shared.eval_samples)
    if row in UNTRAINED:
        return shared.before
    say(f"seed {recipe.seed}, row {row}")
    return _cell(row_recipe(recipe, row), shared.run.root / row, shared)


def _cell(recipe: Recipe, root: Path, shared: _Shared) -> list[Prediction]:
    """SRL from the start on the reward of a row, judged; the reports of its policy."""
    cell = _open_cell(recipe, root, shared.run)
    if cell.audit.exists():
        return read_jsonl(cell.predictions, Prediction)
    policy = reinforce(recipe, cell, shared.start, shared.train_samples, shared.labeler)
    # Images are named inside the shared folder, to which the cell's links lead.
    after = judge(recipe, shared.run, cell.predictions, policy, shared.eval_samples)
    if is_main():
        systems = {"start": shared.before, "srl": after}
        conclude(recipe, cell, systems, shared.labeler, shared.references)
    return after


def _open_cell(recipe: Recipe, root: Path, shared: Run) -> Run:
    """The run folder of a row, with links to what is shared, so that it is whole by itself."""
    with main_first():
        cell = open_run(root, recipe, resume=True)
    if is_main():
        for path in (shared.studies, shared.base, shared.start, shared.predictions_start):
            link = cell.root / path.name
            if path.exists() and not link.is_symlink():
                link.symlink_to(Path("..") / path.name)
        if shared.metrics.exists() and not cell.metrics.exists():
            write_jsonl(cell.metrics, read_jsonl(shared.metrics, StepMetrics))
    wait_for_all()
    return cell


def _rewards(recipe: Recipe, rows: Sequence[str]) -> dict[str, dict[str, float]]:
    """The weights of each row's rewards; none where SRL does not train it."""
    return {
        row: {} if row in UNTRAINED else reward_weights(row_recipe(recipe, row).reward)
        for row in rows
    }
