"""What SRL by a recipe would be, told before a step of it: adapter, steps, a prompt, rewards.

Needs neither weights nor a GPU, and tells what it can where a model or data are not here.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mrg_r1.completion import render
from mrg_r1.config import LabelerRecipe, PolicyRecipe, Recipe
from mrg_r1.data import phantom
from mrg_r1.data.context import prompts_of
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError
from mrg_r1.evaluate import CONSTANT_NORMAL
from mrg_r1.plan.job import job_of
from mrg_r1.plan.sources import data_of, named_in, table
from mrg_r1.policy.load import load_processor
from mrg_r1.policy.outline import adapted, outline_of_folder, outline_of_numbers
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy.writing import conversation
from mrg_r1.recipe_rewards import make_rewards, the_labeler
from mrg_r1.rewards.total import TOTAL, TotalReward
from mrg_r1.trainers.processes import processes
from mrg_r1.trainers.splits import split_samples

_SHOWN = 3


def details(recipe: Recipe, samples: Sequence[Sample]) -> list[str]:
    """Lines about a recipe's SRL.

    Args:
        recipe: the recipe.
        samples: to train on, n; none where they are not here, or drawn.

    Raises:
        ConfigError: the effective batch does not come out on so many processes, or a target of the
            adapter is no layer of the model.
        DataError: an image, or the policy's processor, cannot be read.
    """
    lines = [*_adapter(recipe.policy), *_steps(recipe, samples)]
    if recipe.data.source != "phantom":
        return [*lines, *_examples(recipe, samples)]
    with tempfile.TemporaryDirectory() as folder:
        seed, size = recipe.seed, recipe.data.size
        studies = phantom.draw(Path(folder), train=_SHOWN, val=0, test=0, seed=seed, size=size)
        _, drawn, _ = next(split_samples(recipe.data, studies, seed))
        return [*lines, *_examples(recipe, drawn)]


def _examples(recipe: Recipe, samples: Sequence[Sample]) -> Iterator[str]:
    yield from _prompt(recipe.policy, samples, prompts_of(recipe.policy.instruction, samples))
    yield from _rewards(recipe, samples)


def _adapter(policy: PolicyRecipe) -> Iterator[str]:
    """Which layers of the model at its true size an adapter is put on."""
    if policy.lora is None or policy.tiny is not None:
        return
    model = _outline(Path(policy.path).expanduser())
    if model is None:
        yield "LoRA targets: not known until policy.path is here"
        return
    total = sum(weight.numel() for weight in model.parameters())
    layers, learning = adapted(model, policy.lora)
    for name, count in Counter(re.sub(r"\.\d+\.", ".*.", layer) for layer in layers).items():
        yield f"LoRA targets: {count} x {name}"
    share = learning / (total + learning)
    yield f"LoRA weights: {learning:,} learn, {total:,} stay ({share:.2%} of all learn)"


def _outline(folder: Path) -> Any:
    if (folder / "config.json").is_file():
        return outline_of_folder(folder)
    name = named_in(folder.name)
    return outline_of_numbers(table("models")[name]) if name else None


def _steps(recipe: Recipe, samples: Sequence[Sample]) -> Iterator[str]:
    # What the optimizer keeps is planned for some only; steps are the same for all.
    job = job_of({k: v for k, v in recipe.srl.items() if k != "optim"}, processes())
    yield (
        f"SRL step: {job.batch} completions = {job.gpus} process{'es' * (job.gpus > 1)} x "
        f"{job.each} x {job.parts} accumulated; {job.batch / job.group:g} prompts of {job.group}"
    )
    repeated = ", before rare ones are repeated" * bool(recipe.data.repeat_below)
    if samples:
        yield f"SRL steps: {job.steps(len(samples)):,}, of {len(samples):,} samples{repeated}"
        return
    try:
        counted = data_of(recipe.data)
    except ConfigError:
        yield "SRL steps: not known until data.root is here"
        return
    steps = job.steps(counted.train)
    yield f"SRL steps: {steps:,}, of {counted.train:,} samples{repeated} ({counted.source})"


def _prompt(policy: PolicyRecipe, samples: Sequence[Sample], asked: Sequence[str]) -> Iterator[str]:
    """The first sample as the model reads it, and its tokens."""
    processor = _processor(policy, samples, asked)
    if not samples or processor is None:
        needed = "data.root is" if policy.tiny else "policy.path and data.root are"
        yield f"sample: rendered once {needed} here"
        return
    sample = samples[0]
    images = [read_image(path) for path in sample.images]
    text = processor.apply_chat_template(
        conversation(asked[0], len(images)), add_generation_prompt=True, tokenize=False
    )
    read = processor(images=[images], text=[text], return_tensors="np")["input_ids"][0]
    seen = int((read == processor.image_token_id).sum())
    yield f"sample: {sample.id}, {', '.join(f'{i.width} x {i.height} pixels' for i in images)}"
    yield "it reads: " + text.strip().replace("\n", "\n  ")
    yield f"tokens: {len(read):,} = {seen:,} of images + {len(read) - seen:,} of text"
    yield f"its reference: {sample.reference}"


def _processor(policy: PolicyRecipe, samples: Sequence[Sample], asked: Sequence[str]) -> Any:
    """The policy's processor; None where it is not here, or knows no chat."""
    if policy.tiny:
        texts = [*(render("", sample.reference) for sample in samples), *asked]
        return build_tiny(texts, policy.tiny, seed=0).processor
    folder = Path(policy.path).expanduser()
    if not (folder / "config.json").is_file():
        return None
    processor = load_processor(folder, max_pixels=policy.max_pixels)
    chat = processor.chat_template or getattr(processor.tokenizer, "chat_template", None)
    return processor if chat else None


def _rewards(recipe: Recipe, samples: Sequence[Sample]) -> Iterator[str]:
    """What three references earn themselves, and what others earn beside them."""
    if not samples or not _has_files(recipe.labeler):
        yield "rewards: computed once data.root and the labeler are here"
        return
    labeler = the_labeler(recipe.labeler)
    references = [sample.reference for sample in samples]
    total = TotalReward(tuple(make_rewards(recipe.reward, labeler, references)))
    for index in range(0, len(samples), -(-len(samples) // _SHOWN)):
        sample = samples[index]
        other = samples[(index + len(samples) // _SHOWN + 1) % len(samples)]
        reports = [sample.reference, other.reference, CONSTANT_NORMAL]
        completions = [render("The findings.", report) for report in reports]
        earned = total.components(completions, [sample.reference] * len(completions))
        own, others, normal = (row[TOTAL] for row in earned)
        yield (
            f"reward beside the reference of {sample.id}: {own:.2f} for itself, {others:.2f} for "
            f"that of {other.id}, {normal:.2f} for a normal report"
        )


def _has_files(labeler: LabelerRecipe) -> bool:
    files = [] if labeler.name == "rules" else [labeler.weights, labeler.vocabulary]
    return all(Path(file).expanduser().is_file() for file in files)
