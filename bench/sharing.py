"""What sharing a group's prompt and images saves in a GRPO step, against unmodified TRL.

    python bench/sharing.py                                  # 270 prompt tokens, groups of 4
    python bench/sharing.py --tokens 1000 --group 4 --group 16 --rounds 3
    python bench/sharing.py --table          # how the training part grows, some ten minutes

Both trainers take the same steps on the same drawn images with the same weights, a Qwen2.5-VL of
30 million with gradients through everything, each in a process of its own, in turns. Ratios are
TRL's median over ours, above 1 where sharing is faster or smaller. 'tokens' is how many times
fewer tokens pass through the policy, and 'limit' how many times fewer multiplications the training
part has, those of the image tower included: what could be had if nothing else took time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

PARTS = ("sampling", "reference", "update", "training", "step")
TEXT_TOKENS = 14
"""Tokens of the prompt beside those of its image."""


def main() -> None:
    """Prints a line of ratios for each setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, action="append", help="of the prompt; 270")
    parser.add_argument("--group", type=int, action="append", help="completions of a prompt; 4")
    parser.add_argument("--completion", type=int, default=128, help="tokens of a completion")
    parser.add_argument("--prompts", type=int, default=2, help="groups of a step")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each trainer")
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn that are timed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true", help="of groups and prompts, for training")
    parser.add_argument("--one", choices=("ours", "trl"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(turn(options)))
        return
    if options.table:
        from sharing_table import print_table

        print_table(options.completion, options.rounds, options.threads)
        return
    names = (f"{name:>9}" for name in (*PARTS, "memory"))
    print(f"{'prompt':>7} {'G':>3} {'tokens':>7} {'limit':>7}  ", *names)
    for tokens in options.tokens or [270]:
        for group in options.group or [4]:
            show(tokens, group, options)


def show(tokens: int, group: int, options: argparse.Namespace) -> None:
    """Runs the turns of a setting and prints its line."""
    turns: dict[str, list[dict[str, float]]] = {"trl": [], "ours": []}
    for _ in range(options.rounds):
        for name, taken in turns.items():
            taken.append(in_process(name, tokens, group, options))
    of = {name: medians(taken) for name, taken in turns.items()}
    prompt = int(of["trl"]["prompt"])
    size = options.completion
    fewer = group * (prompt + size) / (prompt - 1 + group * size)
    limit = of["trl"]["work"] / of["ours"]["work"]
    ratios = [of["trl"][part] / of["ours"][part] for part in PARTS]
    memory = of["trl"]["memory"] / of["ours"]["memory"]
    print(
        f"{prompt:>7} {group:>3} {fewer:>6.2f}x {limit:>6.2f}x  ",
        *(f"{ratio:>8.2f}x" for ratio in ratios),
        f" {memory:>7.2f}x",
        f"  (step {of['trl']['step']:.1f} s -> {of['ours']['step']:.1f} s,",
        f"{of['trl']['memory']:,.0f} MB -> {of['ours']['memory']:,.0f} MB)",
        flush=True,
    )


def medians(taken: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over some turns."""
    return {key: median(turn[key] for turn in taken) for key in taken[0]}


def in_process(name: str, tokens: int, group: int, options: argparse.Namespace) -> dict[str, float]:
    """A turn in a process of its own, so that its peak of memory is its own."""
    arguments = {
        "--one": name,
        "--tokens": tokens,
        "--group": group,
        "--completion": options.completion,
        "--prompts": options.prompts,
        "--steps": options.steps,
        "--threads": options.threads,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    done = subprocess.run(
        [sys.executable, __file__, *words], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def turn(options: argparse.Namespace) -> dict[str, float]:
    """Seconds a step of each part, prompt tokens, and the peak of memory in MB."""
    import torch
    from trl.trainer.grpo_trainer import GRPOTrainer

    from mrg_r1.data import phantom
    from mrg_r1.data.samples import samples
    from mrg_r1.trainers.options import grpo_config
    from mrg_r1.trainers.rows import rows
    from mrg_r1.trainers.sharing import SharingTrainer
    from sharing_table import bench_policy, work

    torch.set_num_threads(options.threads)
    [tokens], [group] = options.tokens, options.group
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        count = options.prompts * (1 + options.steps)
        studies = phantom.draw(root / "studies", train=count, val=0, test=0, size=224).studies
        drawn = samples(studies, views="frontal")[0]
        side = max(1, round((tokens - TEXT_TOKENS) ** 0.5))
        policy = bench_policy([sample.reference for sample in drawn], side)
        policy.save(root / "start")
        policy.model.config._name_or_path = str(root / "start")
        settings = {
            "bf16": False,
            "gradient_checkpointing": False,
            "num_generations": group,
            "per_device_train_batch_size": group * options.prompts,
            "max_steps": 1 + options.steps,
            "max_completion_length": options.completion,
            "generation_kwargs": {"min_new_tokens": options.completion},
            "learning_rate": 1e-5,
        }
        config = grpo_config(settings, root / "checkpoints", 0, reward_weights=[1.0])
        config.save_strategy = "no"
        trainer = (SharingTrainer if options.one == "ours" else GRPOTrainer)(
            model=policy.model,
            reward_funcs=[by_length],
            args=config,
            train_dataset=rows(drawn, "Report."),
            processing_class=policy.processor,
        )
        spent, prompts = watch(trainer)
        trainer.train()
    return {
        **{part: sum(taken[1:]) / options.steps for part, taken in spent.items()},
        "prompt": prompts[0],
        "work": work(
            policy.model,
            4 * (prompts[0] - TEXT_TOKENS),
            prompts[0],
            options.completion,
            group,
            shared=options.one == "ours",
        ),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def by_length(completions: Sequence[Any], **columns: Any) -> list[float]:
    """A reward that differs within a group."""
    return [len(completion[0]["content"]) % 7 for completion in completions]


def watch(trainer: Any) -> tuple[dict[str, list[float]], list[int]]:
    """Seconds of each part in each step, and the tokens of each prompt, once it has trained."""
    spent: dict[str, list[float]] = {part: [] for part in PARTS}
    seconds: dict[str, float] = {}
    prompts: list[int] = []
    sample, step = trainer._generate_single_turn, trainer.training_step

    def sampling(prompt_ids: list[list[int]], *rest: Any, **more: Any) -> Any:
        prompts.append(len(prompt_ids[0]))
        return sample(prompt_ids, *rest, **more)

    def training_step(*arguments: Any) -> Any:
        result = step(*arguments)
        reference = seconds["_get_per_token_logps_and_entropies"]
        update = seconds["training_step"] - seconds["_prepare_inputs"]
        sampled, whole = seconds["_generate_single_turn"], seconds["training_step"]
        for part, value in zip(
            PARTS, (sampled, reference, update, reference + update, whole), strict=True
        ):
            spent[part].append(value)
        return result

    trainer._generate_single_turn = timed(sampling, "_generate_single_turn", seconds)
    trainer.training_step = timed(step, "training_step", seconds)
    step = trainer.training_step
    trainer.training_step = training_step
    scores = trainer._get_per_token_logps_and_entropies
    timed_scores = timed(scores, "_get_per_token_logps_and_entropies", seconds)

    def scoring(*arguments: Any, **options: Any) -> Any:
        import torch

        # The pass with gradients is a part of the update.
        return (scores if torch.is_grad_enabled() else timed_scores)(*arguments, **options)

    trainer._get_per_token_logps_and_entropies = scoring
    trainer._prepare_inputs = timed(trainer._prepare_inputs, "_prepare_inputs", seconds)
    return spent, prompts


def timed(method: Any, name: str, seconds: dict[str, float]) -> Any:
    """The method, leaving the seconds of its last call."""

    def call(*arguments: Any, **options: Any) -> Any:
        before = time.perf_counter()
        result = method(*arguments, **options)
        seconds[name] = time.perf_counter() - before
        return result

    return call


if __name__ == "__main__":
    main()
