"""Reward curves of one process, of two, and of two under DeepSpeed, on real IU X-Ray.

    python bench/processes.py IU_XRAY --steps 60 --seeds 3 --out runs/processes
    python bench/processes.py IU_XRAY --start runs/iu-xray-tiny/start --only one,zero-1-bf16

All begin with the same tiny policy (made first, unless --start names one) and learn from the same
samples in the same order at the same effective batch; each process has a random generator of its
own, so that the completions differ as they do between seeds. A line a run: mean reward over tenths
of the steps, and how far its mean lies from that of one process, in standard deviations over the
seeds of one process. A run that is there is not repeated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mrg_r1.config import Recipe, load_recipe
from mrg_r1.records import StepMetrics, read_jsonl, write_json
from mrg_r1.run import to_json

MODULE = ("-m", "mrg_r1")
ALONE = (sys.executable, *MODULE)
TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *MODULE,
)
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *MODULE),
)
ZERO_1: dict[str, Any] = {
    "deepspeed": {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": {"stage": 1},
    }
}
BF16: dict[str, Any] = {
    "bf16": True,
    "use_cpu": True,
    # DeepSpeed leaves the statistics of the tower's batch norms in 32 bits, which 16-bit weights
    # cannot be used with.
    "deepspeed": {**ZERO_1["deepspeed"], "data_types": {"buffer_dtype": "bf16"}},
}
TWO: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "torchrun": (TORCHRUN, {}),
    "accelerate": (ACCELERATE, {}),
    "zero-1": (TORCHRUN, ZERO_1),
    "zero-1-bf16": (TORCHRUN, BF16),
}
PARTS = 10


def main() -> None:
    """Prints a line of mean rewards for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path, help="the folder of IU X-Ray")
    parser.add_argument("--steps", type=int, default=60, help="of SRL")
    parser.add_argument("--batch", type=int, default=64, help="completions of a step, in all")
    parser.add_argument("--seeds", type=int, default=3, help="of one process, 2 or more")
    parser.add_argument("--start", type=Path, help="the policy that all begin with")
    parser.add_argument("--start-steps", type=int, default=300, help="of SFT, where it is made")
    parser.add_argument("--only", default=",".join(["one", *TWO]), help="such as one,accelerate")
    parser.add_argument("--out", type=Path, default=Path("runs/processes"))
    options = parser.parse_args()
    start = options.start or made_start(options)
    names = options.only.split(",")
    print(f"{'run':<14} {'mean':>7} {'sd':>6}   mean reward over tenths of the steps")
    seeds = range(options.seeds) if "one" in names else ()
    alone = [curve(f"one-{seed}", ALONE, {}, seed, start, options) for seed in seeds]
    means = [fmean(rewards) for rewards in alone]
    for seed, rewards in zip(seeds, alone, strict=True):
        show(f"one, seed {seed}", rewards, means)
    for name in filter(TWO.__contains__, names):
        launcher, table = TWO[name]
        show(name, curve(name, launcher, table, 0, start, options), means)


def made_start(options: argparse.Namespace) -> Path:
    """A tiny policy after a short supervised start, made by one process."""
    run = options.out / "start"
    recipe = recipe_of(options)
    sft = {**(recipe.sft or {}), "max_steps": options.start_steps, "save_steps": 100}
    if not (run / "audit.html").exists():
        srl = {**recipe.srl, "max_steps": 1, "effective_batch_size": 8}
        execute(ALONE, replace(recipe, sft=sft, srl=srl), run)
    return run / "start"


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe that ships, judged on next to nothing."""
    recipe = load_recipe("iu-xray-tiny", [f"data.root={options.root}", "data.test=8"])
    srl = {key: value for key, value in recipe.srl.items() if not key.startswith("per_device")}
    return replace(recipe, srl=srl)


def curve(
    name: str,
    launcher: Sequence[str],
    table: dict[str, Any],
    seed: int,
    start: Path,
    options: argparse.Namespace,
) -> list[float]:
    """The mean reward of each step of a run, which is made unless it is there."""
    recipe, run = recipe_of(options), options.out / name
    policy = replace(recipe.policy, path=str(start.resolve()), tiny=None, warmup=None)
    steps = {"max_steps": options.steps, "save_steps": 20, "effective_batch_size": options.batch}
    srl = {**recipe.srl, **steps, **table}
    if not (run / "audit.html").exists():
        execute(launcher, replace(recipe, seed=seed, policy=policy, sft=None, srl=srl), run)
    lines = read_jsonl(run / "metrics.jsonl", StepMetrics)
    return [line.values["reward"] for line in lines if line.stage == "srl"]


def execute(launcher: Sequence[str], recipe: Recipe, run: Path) -> None:
    """Trains by a recipe, and goes on with what is there."""
    run.parent.mkdir(parents=True, exist_ok=True)
    file = run.with_name(f"{run.name}.json")
    write_json(file, to_json(recipe))
    words = ("train", str(file), "--out", str(run), "--resume")
    environment = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", **os.environ}
    with open(run.with_name(f"{run.name}.log"), "w", encoding="utf-8") as log:
        subprocess.run([*launcher, *words], check=True, env=environment, stdout=log, stderr=log)


def show(name: str, rewards: Sequence[float], means: Sequence[float]) -> None:
    """A line of a run, beside the means of the seeds of one process."""
    mean = fmean(rewards)
    apart = f"{(mean - fmean(means)) / stdev(means):+.1f}" if len(means) > 1 else ""
    size = max(1, len(rewards) // PARTS)
    tenths = [fmean(rewards[at : at + size]) for at in range(0, len(rewards) - size + 1, size)]
    print(
        f"{name:<14} {mean:>7.4f} {apart:>6}  ", *(f"{value:.3f}" for value in tenths), flush=True
    )


if __name__ == "__main__":
    main()
