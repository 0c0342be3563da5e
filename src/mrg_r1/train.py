"""Trains a policy by a recipe: a supervised start, SRL, and a judgement of both.

Departures from the paper, all by recipe:
- A policy built from random weights needs a supervised start; the paper's recipes have none.
- TRL divides a group's rewards by their sample standard deviation plus 1e-4; eq. 2 divides by
  the population's with epsilon inside the root. At G = 4 the advantages are smaller by 0.87.
- The ratio of eq. 1 is written for whole completions; TRL takes it per token and averages over
  each completion (`importance_sampling_level = "sequence"` gives a ratio per completion). On
  completions of the current policy both ratios are 1.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import LoraConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from trl import GRPOTrainer, SFTTrainer

from mrg_r1.audit import write_audit
from mrg_r1.config import DataRecipe, PolicyRecipe, Recipe, RewardRecipe
from mrg_r1.data import phantom
from mrg_r1.data.images import check_images
from mrg_r1.data.samples import samples as samples_of
from mrg_r1.data.sources import load
from mrg_r1.data.study import LeftOut, Sample, Studies, Study
from mrg_r1.errors import DataError
from mrg_r1.evaluate import evaluate, readings, table
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.policy.load import Policy, load_policy
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy.writing import write_reports
from mrg_r1.records import Prediction, read_jsonl, write_jsonl
from mrg_r1.rewards import Reward
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.mccs import MccsReward
from mrg_r1.run import Run, open_run
from mrg_r1.trainers.callbacks import CompletionLog, ProgressBar, RunRecorder, last_whole_checkpoint
from mrg_r1.trainers.options import check_options, grpo_config, sft_config
from mrg_r1.trainers.rows import rows, supervised_targets

console = Console(stderr=True)


def train(recipe: Recipe, root: Path, *, resume: bool = False) -> Path:
    """Executes a recipe and returns the audit page it leaves in the run folder `root`.

    A stage whose result is already there is not repeated, so a stopped run goes on where it
    was; its numbers are those of a run that was not stopped.

    Raises:
        ConfigError: the recipe cannot be carried out, or the folder holds another run.
        DataError: a study, image or report cannot be used.
    """
    run = open_run(root, recipe, resume=resume)
    train_samples, eval_samples = load_samples(recipe, run)
    labeler = make_labeler(recipe.reward)
    start = supervised_start(recipe, run, train_samples, labeler)
    before = judge(recipe, run.predictions_start, start, eval_samples, "before SRL")
    policy = reinforce(recipe, run, start, train_samples, labeler)
    after = judge(recipe, run.predictions, policy, eval_samples, "after SRL")
    evaluation = evaluate(
        {"start": before, "srl": after},
        labeler,
        train_references=[sample.reference for sample in train_samples],
        resamples=recipe.evaluation.resamples,
        seed=recipe.seed,
    )
    evaluation.write(run.evaluation)
    rewards = list(zip(*make_rewards(recipe.reward, labeler), strict=True))
    read = readings({"start": before, "srl": after}, labeler, rewards=rewards)
    write_jsonl(run.readings, read)
    console.print(table(evaluation))
    return write_audit(run.root)


def describe(recipe: Recipe) -> list[str]:
    """What a recipe would do, checked without weights, a GPU, or a single step.

    Raises:
        ConfigError: a training option is unknown, or ours to set.
        DataError: the studies are there but cannot be used.
    """
    for section, table_ in (("sft", recipe.sft), ("srl", recipe.srl)):
        check_options(section, table_ or {})
    data, policy = recipe.data, recipe.policy
    lines = [f"recipe: {recipe.name}, seed {recipe.seed}"]
    if data.source == "phantom":
        lines.append(f"data: {data.train} studies drawn to train on, {data.test} to judge on")
    elif not Path(data.root).exists():
        lines.append(f"data: {data.root} is not here; add --set data.root=FOLDER")
    else:
        for split, found, _ in split_samples(recipe, load(data.source, Path(data.root))):
            lines.append(f"data: {split}, {len(found)} samples of {data.source}")
    if policy.tiny:
        lines.append("policy: a tiny Qwen2.5-VL from random weights")
    else:
        here = "" if Path(policy.path).exists() else " is not here; add --set policy.path=FOLDER"
        lines.append(f"policy: {policy.path}{here}")
    if policy.lora:
        lines.append(f"LoRA: rank {policy.lora.rank}, alpha {policy.lora.alpha}")
    rewards, weights = make_rewards(recipe.reward, make_labeler(recipe.reward))
    names = ", ".join(f"{w} {r.__name__}" for r, w in zip(rewards, weights, strict=True))
    lines.append(f"reward: {names}")
    lines.append(f"supervised start: {_options(recipe.sft) if recipe.sft else 'none'}")
    lines.append(f"SRL: {_options(recipe.srl)}")
    lines.append(f"prompt: {policy.instruction}")
    return lines


def load_samples(recipe: Recipe, run: Run) -> tuple[list[Sample], list[Sample]]:
    """The samples of the train split and of the evaluation split, all images present.

    Raises:
        DataError: a split has no samples, or an image is missing or broken.
    """
    studies = load_studies(recipe.data, run, recipe.seed)
    splits: list[list[Sample]] = []
    for split, found, left_out in split_samples(recipe, studies):
        for left in left_out:
            console.print(f"left out of {split}: {len(left.ids)} {left.reason}")
        if not found:
            raise DataError(
                f"{recipe.data.source}: no samples in split '{split}'; "
                f"see what is there with: mrg-r1 data {recipe.data.source} --root FOLDER"
            )
        check_images(found)
        console.print(f"{split}: {len(found)} samples")
        splits.append(found)
    return splits[0], splits[1]


def split_samples(
    recipe: Recipe, studies: Studies
) -> Iterator[tuple[str, list[Sample], list[LeftOut]]]:
    """The train split, then the evaluation split: its name, samples, and what was left out."""
    data = recipe.data
    for split, limit in (("train", data.train), (data.eval_split, data.test)):
        chosen = _some(studies.of_split(split), limit, recipe.seed)
        yield split, *samples_of(chosen, section=data.section, views=data.views)


def load_studies(data: DataRecipe, run: Run, seed: int) -> Studies:
    """Reads the recipe's studies; drawn ones are drawn first, in the run unless it says where."""
    if data.source != "phantom":
        return load(data.source, Path(data.root))
    with _progress() as progress:
        task = progress.add_task("drawing studies", total=data.train + data.test, figures="")
        return phantom.draw(
            Path(data.root) if data.root else run.studies,
            train=data.train,
            val=0 if data.eval_split == "test" else data.test,
            test=data.test if data.eval_split == "test" else 0,
            seed=seed,
            size=data.size,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def make_labeler(reward: RewardRecipe) -> Labeler:
    """The labeler of the reward and of the evaluation."""
    return RulesLabeler(reward.preset)


def make_rewards(reward: RewardRecipe, labeler: Labeler) -> tuple[list[Reward], list[float]]:
    """The rewards and their weights, those with weight 0 left out."""
    weighted: list[tuple[Reward, float]] = [
        (
            MccsReward(
                labeler,
                margin=reward.margin,
                both_empty=reward.both_empty,
                negative_weight=reward.negative_weight,
                uncertain=reward.uncertain,
            ),
            reward.clinical_weight,
        ),
        (FormatReward(), reward.format_weight),
    ]
    kept = [(function, weight) for function, weight in weighted if weight]
    return [function for function, _ in kept], [weight for _, weight in kept]


def supervised_start(recipe: Recipe, run: Run, samples: Sequence[Sample], labeler: Labeler) -> Path:
    """The folder of the policy from which SRL starts: base weights, or SFT on the references."""
    policy = recipe.policy
    targets = supervised_targets(
        samples, labeler.label([sample.reference for sample in samples]), policy.think
    )
    base = Path(policy.path) if policy.path else run.base
    if policy.tiny and not base.exists():
        texts = [*targets, *([policy.instruction] * len(samples))]
        build_tiny(texts, policy.tiny, seed=recipe.seed).save(base)
    if recipe.sft is None or run.start.exists():
        return base if recipe.sft is None else run.start
    config = sft_config(recipe.sft, run.checkpoints("sft"), recipe.seed)
    loaded = _load(policy, base)
    with _progress() as progress:
        trainer = SFTTrainer(
            model=loaded.model,
            args=config,
            train_dataset=rows(samples, policy.instruction, targets),
            processing_class=loaded.processor,
            peft_config=_lora(policy.lora),
            callbacks=[
                RunRecorder("sft", run.metrics),
                ProgressBar(progress, "supervised start", [("loss", "loss")]),
            ],
        )
        _run_stage(trainer, run, "sft")
    if trainer.accelerator.is_main_process:
        _trained(trainer, loaded).save(run.start)
    return run.start


def reinforce(
    recipe: Recipe, run: Run, start: Path, samples: Sequence[Sample], labeler: Labeler
) -> Path:
    """SRL: GRPO on the weighted rewards (eqs. 1 and 2), from `start`."""
    if run.policy.exists():
        return run.policy
    loaded = _load(recipe.policy, start)
    rewards, weights = make_rewards(recipe.reward, labeler)
    config = grpo_config(
        recipe.srl,
        run.checkpoints("srl"),
        recipe.seed,
        reward_weights=weights,
        forbidden_tokens=loaded.placeholder_tokens(),
    )
    log = CompletionLog(run.completions, weights)
    shown = [("reward", "reward"), ("rewards/mccs/mean", "mccs"), ("rewards/format/mean", "format")]
    shown.append(("completions/mean_length", "length"))
    with _progress() as progress:
        trainer = GRPOTrainer(
            model=loaded.model,
            reward_funcs=[log.watch(reward) for reward in rewards],
            args=config,
            train_dataset=rows(samples, recipe.policy.instruction),
            processing_class=loaded.processor,
            peft_config=None if _has_adapter(loaded) else _lora(recipe.policy.lora),
            callbacks=[RunRecorder("srl", run.metrics), ProgressBar(progress, "SRL", shown)],
        )
        _run_stage(trainer, run, "srl")
    if trainer.accelerator.is_main_process:
        _trained(trainer, loaded).save(run.policy)
    return run.policy


def judge(
    recipe: Recipe, path: Path, policy: Path, samples: Sequence[Sample], when: str
) -> list[Prediction]:
    """The policy's reports on the evaluation samples, stored at `path`."""
    if path.exists():
        return read_jsonl(path, Prediction)
    loaded = _load(recipe.policy, policy)
    with _progress() as progress:
        task = progress.add_task(f"writing reports {when}", total=len(samples), figures="")
        predictions: list[Prediction] = []
        for prediction in write_reports(loaded, samples, recipe.evaluation.decoding):
            predictions.append(prediction)
            progress.update(task, advance=1)
    write_jsonl(path, predictions)
    return predictions


def _run_stage(trainer: SFTTrainer | GRPOTrainer, run: Run, stage: str) -> None:
    """Trains from the last whole checkpoint, or from the beginning."""
    checkpoint = last_whole_checkpoint(run.checkpoints(stage))
    step = int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0
    run.forget_after(stage, step)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _load(policy: PolicyRecipe, folder: Path) -> Policy:
    return load_policy(
        folder,
        dtype=policy.dtype,
        attention=policy.attention,
        trainable=True,
        instruction=policy.instruction,
    )


def _trained(trainer: SFTTrainer | GRPOTrainer, before: Policy) -> Policy:
    return replace(before, model=trainer.accelerator.unwrap_model(trainer.model))


def _has_adapter(policy: Policy) -> bool:
    return hasattr(policy.model, "peft_config")


def _lora(settings: LoraSettings | None) -> LoraConfig | None:
    if settings is None:
        return None
    names = "|".join(settings.targets)
    # Qwen2.5-VL's image tower reuses the names of the MLP projections.
    tower = "" if settings.vision else r"(?!.*\b(visual|vision_tower|vision_model)\b)"
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=rf"^{tower}.*\.({names})$",
        task_type="CAUSAL_LM",
    )


def _some(studies: Sequence[Study], limit: int, seed: int) -> list[Study]:
    """A seeded choice of `limit` studies in their own order; all of them if limit is 0."""
    if not limit or limit >= len(studies):
        return list(studies)
    chosen = random.Random(seed).sample(range(len(studies)), limit)
    return [studies[index] for index in sorted(chosen)]


def _options(table_: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table_.items())


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    )
