"""TRL's options of SRL side by side: the same start, studies and steps, one option changed.

    python bench/trl_options.py --out runs/trl-options                 # hours: 9 x quickstart's SRL
    python bench/trl_options.py --steps 60 --seeds 3 --only grpo,gdpo --out runs/trl-options
    python bench/trl_options.py mine.toml --set data.root=FOLDER --out runs/mine-options

Every option is a run folder; what is there is not made again, so a stopped bench goes on when it is
started again. Leaves `trl_options.json`, and prints a line per option: micro-F1 over 13 findings of
what the policy writes on the evaluation samples with its interval, CCS, share of completions in
full form, distinct reports; of the last ten steps the share of groups without variance and KL; and
seconds a step. Means over seeds, intervals of the first. Numbers over so few steps tell how an
option behaves, not which is best.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from mrg_r1.completion import parse
from mrg_r1.config import Recipe, load_recipe
from mrg_r1.evaluate import evaluate
from mrg_r1.recipe_rewards import the_labeler
from mrg_r1.records import Evaluation, Prediction, StepMetrics, read_json, read_jsonl, write_json
from mrg_r1.run import Run, open_run
from mrg_r1.train import begin, check_training, judge, reinforce, supervised_start

TWICE = {"num_iterations": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "batch-std": {"scale_rewards": "batch"},
    "no-std": {"scale_rewards": "none"},
    "dr-grpo": {"scale_rewards": "none", "loss_type": "dr_grpo"},
    "gdpo": {"multi_objective_aggregation": "normalize_then_sum"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28, "mask_truncated_completions": True},
    "grpo-twice": TWICE,
    "gspo-twice": {**TWICE, "importance_sampling_level": "sequence"},
    "clip-higher-twice": {**TWICE, "epsilon_high": 0.28},
}
"""What each changes in `[srl]`; `-twice` learns from each generation twice, so that ratios move."""

LAST = 10


def main() -> None:
    """Makes what is missing, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="quickstart")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, help="of SRL; the recipe's if not given")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", help=f"some of {','.join(VARIANTS)}")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(VARIANTS)
    if unknown := set(names) - VARIANTS.keys():
        parser.error(f"--only: no {', '.join(sorted(unknown))}; use some of {','.join(VARIANTS)}")
    recipe = load_recipe(options.recipe, options.set)
    if options.steps:
        recipe = replace(recipe, srl={**recipe.srl, "max_steps": options.steps})
    for name in names:
        check_training(variant(recipe, name), Run(options.out))
    seeds = range(recipe.seed, recipe.seed + options.seeds)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("start", *names)}
    for seed in seeds:
        made = of_seed(replace(recipe, seed=seed), options.out / f"seed-{seed}", names)
        for name, row in made.items():
            rows[name].append(row)
    write_json(options.out / "trl_options.json", rows)
    print(table(rows))


def variant(recipe: Recipe, name: str) -> Recipe:
    """The recipe with an option changed."""
    return replace(recipe, name=f"{recipe.name}-{name}", srl={**recipe.srl, **VARIANTS[name]})


def of_seed(recipe: Recipe, root: Path, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Figures of the start and of each option, all from one supervised start."""
    labeler = the_labeler(recipe.labeler)
    run, train_samples, eval_samples = begin(recipe, root, resume=True)
    start = supervised_start(recipe, run, train_samples, labeler)
    systems = {"start": judge(recipe, run, run.predictions_start, start, eval_samples)}
    cells: dict[str, Run] = {}
    for name in names:
        changed = variant(recipe, name)
        cells[name] = cell = open_run(root / name, changed, resume=True)
        began = time.monotonic()
        policy = reinforce(changed, cell, start, train_samples, labeler)
        keep_seconds(cell, time.monotonic() - began)
        systems[name] = judge(changed, run, cell.predictions, policy, eval_samples)
    references = [sample.reference for sample in train_samples]
    scored = evaluate(systems, labeler, train_references=references, seed=recipe.seed)
    return {
        name: {
            **written(scored, name, reports),
            **(trained(cells[name]) if name in cells else {}),
        }
        for name, reports in systems.items()
    }


def keep_seconds(cell: Run, seconds: float) -> None:
    """Stores how long a training took, unless it was only looked up; a resumed one is shorter."""
    path = cell.root / "seconds.json"
    if not path.exists():
        write_json(path, seconds)


def written(scored: Evaluation, name: str, reports: Sequence[Prediction]) -> dict[str, float]:
    """Figures of what a policy writes."""
    scores = next(system.scores for system in scored.systems if system.name == name)
    wanted = ("uncertain:positive", "labels:13", "avg:micro")
    f1 = next(
        s for s in scores if s.metric == "ce_f1" and all(key in s.signature for key in wanted)
    )
    ccs = next(score for score in scores if score.metric == "ccs")
    return {
        "f1": f1.value,
        "low": f1.low,
        "high": f1.high,
        "ccs": ccs.value,
        "form": mean(not parse(report.completion).violations for report in reports),
        "distinct": len({report.report for report in reports}) / len(reports),
    }


def trained(cell: Run) -> dict[str, float]:
    """Figures of the last steps of a training."""
    lines = [line for line in read_jsonl(cell.metrics, StepMetrics) if line.stage == "srl"]
    found = {
        name: [line.values[key] for line in lines[-LAST:] if key in line.values]
        for name, key in (("no variance", "health/no_variance"), ("kl", "kl"))
    }  # a step that learns from an older generation has none of the former
    means = {name: mean(values) for name, values in found.items() if values}
    return {**means, "s/step": read_json(cell.root / "seconds.json") / lines[-1].step}


def table(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The means over seeds, a line an option, in Markdown."""
    columns = ("f1", "ccs", "form", "distinct", "no variance", "kl", "s/step")
    lines = [
        f"| option | changes in [srl] | {' | '.join(columns)} |",
        "| --- " * (len(columns) + 2) + "|",
    ]
    for name, seeds in rows.items():
        changed = VARIANTS.get(name, {})
        keys = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in changed.items())
        figures = [
            f"{mean(seed[column] for seed in seeds):.3f}" if column in seeds[0] else "-"
            for column in columns
        ]
        figures[0] += f" [{seeds[0]['low']:.3f}, {seeds[0]['high']:.3f}]"
        lines.append(f"| {name} | {keys} | {' | '.join(figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
