"""Whether memory grows while SRL runs on: resident memory of the real command, step by step.

    python bench/soak.py                       # 2,000 tiny steps
    python bench/soak.py --steps 200 --every 20

The smallest policy that goes the whole way (drawn images, sampling, rewards by rules, reading by
the second judge, updates, checkpoints) trains as a process of its own, whose memory `/proc` tells.
At the end the slope of a straight line through the second half. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mrg_r1.config import DataRecipe, EvaluationRecipe, PolicyRecipe, Recipe
from mrg_r1.policy.settings import Decoding, TinyConfig
from mrg_r1.records import write_json
from mrg_r1.run import to_json

PAUSE = 0.5
"""Seconds between two looks."""


def main() -> None:
    """Prints memory every so many steps, and its slope."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100, help="steps between two lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_json(root / "soak.json", to_json(soak(options.steps)))
        words = ("train", str(root / "soak.json"), "--out", str(root / "run"))
        with open(root / "log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mrg_r1", *words], stdout=log, stderr=log
            )
            seen = watched(process, root / "run" / "metrics.jsonl", options.every)
        if process.returncode:
            sys.exit((root / "log").read_text())
    half = [(step, size) for step, size in seen if step >= options.steps / 2]
    slope = np.polyfit(*zip(*half, strict=True), 1)[0] if len(half) > 1 else float("nan")
    print(f"slope of the second half: {slope * 1000:+.1f} MB in 1,000 steps")


def soak(steps: int) -> Recipe:
    """SRL of a policy that is smaller than tiny, without a supervised start."""
    tiny = TinyConfig(
        vision_depth=1,
        vision_width=32,
        text_layers=1,
        text_width=32,
        heads=2,
        pixels=56,
        vocabulary=384,
    )
    return Recipe(
        name="soak",
        data=DataRecipe(views="frontal", train=64, test=4, size=64),
        policy=PolicyRecipe(tiny=tiny, instruction="Report this X-ray."),
        srl={
            "max_steps": steps,
            "per_device_train_batch_size": 8,
            "max_completion_length": 16,
            "learning_rate": 1e-4,
            "entropy_coef": 0.01,
            "bf16": False,
            "gradient_checkpointing": False,
            "save_steps": 50,
        },
        evaluation=EvaluationRecipe(Decoding(max_new_tokens=16, batch_size=4), resamples=10),
    )


def watched(process: subprocess.Popen[bytes], metrics: Path, every: int) -> list[tuple[int, float]]:
    """Steps done and MB held, at each look while SRL runs; a line every so many steps."""
    seen: list[tuple[int, float]] = []
    told, began = 0, time.monotonic()
    while process.poll() is None:
        step = metrics.read_text("utf-8").count("\n") if metrics.exists() else 0
        if step and (not seen or step > seen[-1][0]):
            seen.append((step, resident(process.pid)))
            if step - told >= every:
                told = step
                minutes = (time.monotonic() - began) / 60
                print(f"step {step:>5}  {seen[-1][1]:7.1f} MB  {minutes:5.1f} min", flush=True)
        time.sleep(PAUSE)
    return seen


def resident(pid: int) -> float:
    """MB of memory that a process holds; 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
