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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
from mrg_r1.data.study import Sample, Studies
from mrg_r1.errors import DataError
from mrg_r1.evaluate import evaluate, readings
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
from mrg_r1.trainers.options import grpo_config, sft_config
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
    write_jsonl(run.readings, readings({"start": before, "srl": after}, labeler))
    return write_audit(run.root)


def load_samples(recipe: Recipe, run: Run) -> tuple[list[Sample], list[Sample]]:
    """The samples of the train split and of the evaluation split, all images present."""
    data = recipe.data
    studies = load_studies(data, run, recipe.seed)
    for left_out in studies.left_out:
        console.print(f"left out: {len(left_out.ids)} {left_out.reason}")
    splits: list[list[Sample]] = []
    for split, limit in (("train", data.train), (data.eval_split, data.test)):
        chosen = _some(studies.of_split(split), limit, recipe.seed)
        found, left = samples_of(chosen, section=data.section, views=data.views)
        for left_out in left:
            console.print(f"left out of {split}: {len(left_out.ids)} {left_out.reason}")
        if not found:
            raise DataError(f"{data.source}: no samples in split '{split}'; see mrg-r1 data")
        check_images(found)
        console.print(f"{split}: {len(found)} samples")
        splits.append(found)
    return splits[0], splits[1]


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
        build_tiny(base, texts, policy.tiny, seed=recipe.seed)
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


def _some(studies: Sequence, limit: int, seed: int) -> list:
    """A seeded choice of `limit` studies in their own order; all of them if limit is 0."""
    if not limit or limit >= len(studies):
        return list(studies)
    chosen = random.Random(seed).sample(range(len(studies)), limit)
    return [studies[index] for index in sorted(chosen)]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    )
