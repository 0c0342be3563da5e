"""Runs in several processes, as a launcher starts them, and what goes wrong in one of them."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from mrg_r1 import train as verb
from mrg_r1.config import Recipe
from mrg_r1.findings import Labels
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.recipe_rewards import the_labeler
from mrg_r1.records import write_json
from mrg_r1.rewards import Completion
from mrg_r1.trainers.labelling import label_together
from tiny_runs import PLACES, be_one_of, command, die_at, started

Target = Callable[..., None]
GROUP = 4
DEEPSPEED = Path(sys.prefix) / "deepspeed"
LOST = "error: another process of this run has ended, and tells why if it could; "


def ended(targets: Sequence[Target], *args: object, method: str = "forkserver") -> list[int | None]:
    """Exit codes of processes of one run, each of which runs its target; None is one that hangs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        started(_among, rank, len(targets), port, target, *args, method=method)
        for rank, target in enumerate(targets)
    ]
    for process in processes:
        process.join(timeout=240)
        process.kill()
    return [process.exitcode for process in processes]


def _among(rank: int, count: int, port: int, target: Target, *args: object) -> None:
    be_one_of(count, rank, port)
    target(rank, *args)


def told(rank: int, out: Path, *words: str) -> None:
    """The `mrg-r1` command, whose output goes to files that are named after the process."""
    command(out.with_name(f"{out.name}-{rank}"), *words)


def lines_of(out: Path, rank: int) -> list[str]:
    """What a process told on standard error."""
    return out.with_name(f"{out.name}-{rank}.err").read_text().splitlines()


def learn(rank: int, recipe: Recipe, root: Path, resume: bool = False) -> None:
    """SFT and SRL with draws and a reward that do not depend on how many processes there are."""
    torch.set_num_threads(1)
    draw_by_place()
    verb.make_rewards = lambda *_: [(spaces, 1.0)]
    verb.check_training(recipe, verb.Run(root))
    run, samples, _ = verb.begin(recipe, root, resume=resume)
    labeler = the_labeler(recipe.labeler)
    verb.explore(
        recipe, run, verb.supervised_start(recipe, run, samples, labeler), samples, labeler
    )


def label(rank: int, references: Sequence[str], folder: Path) -> None:
    """Labels references with the other processes, and leaves what this one read, and was told."""
    read: list[str] = []

    class Reading(RulesLabeler):
        def label(self, reports: Sequence[str]) -> list[Labels]:
            read.extend(reports)
            return super().label(reports)

    labeler = CachedLabeler(Reading(), size=1)
    labels = label_together(labeler, references)
    labeler.label(references)
    write_json(folder / f"{rank}.json", [read, [str(found) for found in labels]])


def learn_killed(rank: int, recipe: Recipe, root: Path) -> None:
    """As `learn`, until killed in SRL, a step beyond its checkpoint."""
    die_at(*PLACES["SRL has recorded a step beyond its checkpoint"])
    learn(rank, recipe, root)


@contextmanager
def deepspeed_found() -> Iterator[None]:
    """Lets interpreters that are spawned inside the block import DeepSpeed; this one stays without.

    Transformers looks for it once, when it is imported, so no process may be forked from one that
    has looked.
    """
    programs = f"{DEEPSPEED / 'bin'}{os.pathsep}{os.environ['PATH']}"  # compile an operator
    sys.path.append(str(DEEPSPEED))
    with mock.patch.dict(os.environ, {"DS_ACCELERATOR": "cpu", "PATH": programs}):
        try:
            yield
        finally:
            sys.path.remove(str(DEEPSPEED))


def spaces(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """A reward that differs within every group: how many letters are spaces."""
    texts = [completion[0]["content"] for completion in completions]  # type: ignore[index]
    return [text.count(" ") / max(1, len(text)) for text in texts]


def draw_by_place() -> None:
    """Lets what is sampled follow from scores, from the token's place, and from that in the group.

    Each process has a generator of its own: without this no two numbers of processes would write
    the same completions.
    """
    tokens = itertools.count()
    turn = GRPOTrainer._generate_single_turn

    def afresh(*args: Any, **options: Any) -> Any:
        nonlocal tokens
        tokens = itertools.count()
        return turn(*args, **options)

    def draw(scores: torch.Tensor, num_samples: int = 1, **_: Any) -> torch.Tensor:
        places = torch.arange(len(scores)) % GROUP + 1
        levels = (0.618 * places + 0.371 * next(tokens)) % 1 * scores.sum(-1)
        drawn = (scores.cumsum(-1) < levels[:, None]).sum(-1, keepdim=True)
        return drawn.clamp(max=scores.shape[-1] - 1)

    GRPOTrainer._generate_single_turn = afresh
    torch.multinomial = draw


def with_nan(what: str, rank: int, out: Path, *words: str) -> None:
    """The command in a process whose losses, or scores of tokens, are NaN from step 3 of SRL on."""
    if what == "loss":
        step = GRPOTrainer.compute_loss
        GRPOTrainer.compute_loss = lambda self, *args, **options: (
            step(self, *args, **options) * (float("nan") if self.state.global_step >= 2 else 1)
        )
    else:
        turn = GRPOTrainer._generate_single_turn

        def broken(self: Any, *args: Any, **options: Any) -> Any:
            if self.state.global_step >= 2:
                with torch.no_grad():
                    self.model.get_output_embeddings().weight.fill_(float("nan"))
            return turn(self, *args, **options)

        GRPOTrainer._generate_single_turn = broken
    told(rank, out, *words)


def with_full_disk(name: str, rank: int, out: Path, *words: str) -> None:
    """The command in a process that cannot write a file of SRL's checkpoint 4 to its end."""
    save = torch.save

    def full(obj: Any, file: Any, *args: Any, **options: Any) -> None:
        path = str(file)
        if "srl/checkpoint-4/" in path and path.endswith(name):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", path)
        save(obj, file, *args, **options)

    torch.save = full
    told(rank, out, *words)


def of_two(recipe: Recipe, **srl: Any) -> Recipe:
    """The recipe, whose batches are those of all processes together."""

    def whole(table: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in table.items() if not key.startswith("per_device")}
        return {**rest, "effective_batch_size": table["per_device_train_batch_size"]}

    return replace(recipe, sft=whole(recipe.sft or {}), srl={**whole(recipe.srl), **srl})
