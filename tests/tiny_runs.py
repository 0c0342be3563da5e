"""Recipes that train in a second, and processes that run, stop and resume them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from mrg_r1 import generate
from mrg_r1 import train as verb
from mrg_r1.ablate import grid
from mrg_r1.cli import main
from mrg_r1.config import DataRecipe, EvaluationRecipe, PolicyRecipe, Recipe
from mrg_r1.data import phantom
from mrg_r1.data.samples import samples
from mrg_r1.data.study import Sample
from mrg_r1.policy import load
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import Decoding, TinyConfig, WarmUp
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.trainers.callbacks import RunRecorder

TINY = TinyConfig(
    vision_depth=1,
    vision_width=32,
    text_layers=1,
    text_width=32,
    heads=2,
    pixels=56,
    vocabulary=384,
)
WARMUP = WarmUp(steps=3, batch_size=4)
TRAIN, TEST, SIZE = 16, 6, 64
INSTRUCTION = "Report this X-ray."

_TRAINING: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False, "save_steps": 2}


def tiny_recipe(studies: Path | None = None, **policy: Any) -> Recipe:
    """Five steps of SFT and of SRL; studies are drawn in the run unless a folder is given."""
    return Recipe(
        name="tiny",
        data=DataRecipe(
            root=str(studies or ""), views="frontal", train=TRAIN, test=TEST, size=SIZE
        ),
        policy=PolicyRecipe(**{"tiny": TINY, "warmup": WARMUP, **policy}, instruction=INSTRUCTION),
        sft={
            **_TRAINING,
            "max_steps": 5,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
        },
        srl={
            **_TRAINING,
            "max_steps": 5,
            "per_device_train_batch_size": 8,
            "max_completion_length": 16,
            "learning_rate": 1e-3,
            # Gradients even where all rewards are 0, as they are for a policy this ignorant.
            "entropy_coef": 0.01,
        },
        evaluation=EvaluationRecipe(Decoding(max_new_tokens=24, batch_size=4), resamples=10),
    )


def tiny_samples(folder: Path, n: int = 4) -> list[Sample]:
    """Samples of drawn studies, one image each."""
    studies = phantom.draw(folder, train=n, val=0, test=0, size=SIZE).studies
    return samples(studies, views="frontal")[0]


def tiny_policy(drawn: list[Sample]) -> Policy:
    """A policy of random weights whose vocabulary comes from these samples."""
    references = [sample.reference for sample in drawn]
    return build_tiny([*references, INSTRUCTION], TINY, seed=0)


@contextmanager
def in_favour_of(policy: Policy, tokens: list[int]) -> Iterator[None]:
    """Makes tokens by far the likeliest, wherever the policy is."""

    def favour(module: Any, inputs: Any, scores: Any) -> Any:
        scores = scores.clone()
        scores[..., tokens] += 1000
        return scores

    hook = policy.model.get_output_embeddings().register_forward_hook(favour)
    yield
    hook.remove()


def in_process(target: Callable[..., None], *args: object) -> int:
    """Runs a function of this module in a process of its own; returns its exit code."""
    process = started(target, *args)
    process.join(timeout=240)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


def started(
    target: Callable[..., None], *args: object, method: str = "forkserver"
) -> ForkServerProcess:
    """A new process that runs a function, 'spawn'ed or without loading packages again."""
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload(["mrg_r1.train", "mrg_r1.cli"])
    process = context.Process(target=target, args=args)
    process.start()
    return process


def train(recipe: Recipe, root: Path, resume: bool = False) -> None:
    """Trains with one thread, so that every process computes alike."""
    torch.set_num_threads(1)
    verb.train(recipe, root, resume=resume)


def ablate(recipe: Recipe, root: Path, rows: tuple[str, ...], resume: bool = False) -> None:
    """Makes rows of Table II with one thread, as `train`."""
    torch.set_num_threads(1)
    grid.ablate(recipe, root, rows=rows, resume=resume)


def train_among(rank: int, port: int, recipe: Recipe, root: Path) -> None:
    """Trains as one of two processes."""
    be_one_of_two(rank, port)
    train(recipe, root)


def ablate_among(rank: int, port: int, recipe: Recipe, root: Path, rows: tuple[str, ...]) -> None:
    """Makes rows of Table II as one of two processes."""
    be_one_of_two(rank, port)
    ablate(recipe, root, rows)


def be_one_of_two(rank: int, port: int) -> None:
    """Sets what a launcher of two would."""
    be_one_of(2, rank, port)


def be_one_of(count: int, rank: int, port: int) -> None:
    """Sets what a launcher would."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def train_killed(recipe: Recipe, root: Path, where: str) -> None:
    """Trains, or resumes, until a signal that no process survives arrives at a place."""
    die_at(*PLACES[where])
    train(recipe, root, root.exists())


def ablate_killed(recipe: Recipe, root: Path, rows: tuple[str, ...], where: str) -> None:
    """Makes rows of Table II, or goes on, until killed."""
    die_at(*CELL_PLACES[where])
    ablate(recipe, root, rows, root.exists())


def generate_killed(
    policy: Path, samples: list[Sample], out: Path, decoding: Decoding, id_: str
) -> None:
    """Writes reports until killed as the report of a sample is put together."""
    torch.set_num_threads(1)
    die_at(generate, "compose", lambda args, kwargs: args[0].id == id_)
    generate.generate(policy, samples, out, decoding)


def die_at(owner: Any, name: str, here: Here, by: int = signal.SIGKILL, process: int = 0) -> None:
    """Signals a process, this one by default, once a function is called in a certain way."""
    call = getattr(owner, name)

    def dies(*args: Any, **kwargs: Any) -> Any:
        if here(args, kwargs):
            os.kill(process or os.getpid(), by)
        return call(*args, **kwargs)

    setattr(owner, name, dies)


def command(out: Path, *words: str) -> None:
    """The `mrg-r1` command, whose output goes to the files `out`.out and `out`.err."""
    torch.set_num_threads(1)
    for descriptor, end in ((1, "out"), (2, "err")):
        with open(f"{out}.{end}", "w") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["mrg-r1", *words]
    main()


Here = Callable[[tuple[Any, ...], Mapping[str, Any]], bool]


def at_step(stage: str, step: int) -> Here:
    return lambda args, kwargs: args[0].stage == stage and args[2].global_step == step


def _at_folder(name: str) -> Here:
    return lambda args, kwargs: name in (part.name for part in (args[0], args[0].parent))


PLACES: dict[str, tuple[Any, str, Here]] = {
    "the untrained policy is half written": (load, "write_json", _at_folder(".base.tmp")),
    "SFT has recorded a step beyond its checkpoint": (RunRecorder, "on_log", at_step("sft", 4)),
    "SFT has written a checkpoint without its mark": (RunRecorder, "on_save", at_step("sft", 4)),
    "SFT has begun another epoch": (RunRecorder, "on_log", at_step("sft", 5)),
    "SFT is done and its policy is not yet kept": (
        verb,
        "_keep",
        lambda args, kwargs: args[2].name == "start",
    ),
    "the policy of SFT is half written": (load, "write_json", _at_folder(".start.tmp")),
    "reports before SRL are being written": (
        verb,
        "write_jsonl",
        lambda args, kwargs: args[0].name == "predictions-start.jsonl",
    ),
    "SRL has recorded a step beyond its checkpoint": (RunRecorder, "on_log", at_step("srl", 4)),
    "SRL has written a checkpoint without its mark": (RunRecorder, "on_save", at_step("srl", 4)),
    "the policy of SRL is half written": (load, "write_json", _at_folder(".policy.tmp")),
    "scores are written and the page is not": (verb, "write_audit", lambda args, kwargs: True),
}
"""Where a run is killed, in the order in which it gets there."""

CELL_PLACES: dict[str, tuple[Any, str, Here]] = {
    "the base is being judged": (
        verb,
        "write_jsonl",
        lambda args, kwargs: args[0].name == "predictions-base.jsonl",
    ),
    "a cell has links and nothing else": (grid, "reinforce", lambda args, kwargs: True),
    "the first cell learns": (RunRecorder, "on_log", at_step("srl", 3)),
    "the first cell has scores and no page": (verb, "write_audit", lambda args, kwargs: True),
    "the second cell is being judged": (
        verb,
        "write_jsonl",
        lambda args, kwargs: args[0].parent.name == "mccs+format",
    ),
    "all cells are there and the table is not": (grid, "write_json", lambda args, kwargs: True),
}
"""Where a grid of the rows 'format' and 'mccs+format' is killed, in that order."""
