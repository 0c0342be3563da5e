"""Trains a policy by a recipe: a supervised start, SRL, and a judgement of both.

Departures from the paper, all by recipe:
- A policy built from random weights needs a supervised start, and its image tower a warm-up
  (`trainers.warmup`); the paper's recipes have neither.
- TRL divides a group's rewards by their sample standard deviation plus 1e-4; eq. 2 divides by
  the population's with epsilon inside the root. At G = 4 the advantages are smaller by 0.87.
- The ratio of eq. 1 is written for whole completions; TRL takes it per token and averages over
  each completion (`importance_sampling_level = "sequence"` gives a ratio per completion). On
  completions of the current policy both ratios are 1.
- Control tokens are never sampled (`Policy.forbidden_tokens`), though ratios count their share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import LoraConfig
from trl.trainer.grpo_trainer import RewardFunc
from trl.trainer.sft_trainer import SFTTrainer

from mrg_r1.audit import write_audit
from mrg_r1.config import LabelerRecipe, PolicyRecipe, Recipe
from mrg_r1.data.context import prompt_of, prompts_of, words_of
from mrg_r1.data.images import check_images
from mrg_r1.data.repeats import repeats
from mrg_r1.data.study import Sample
from mrg_r1.dry_run import details
from mrg_r1.evaluate import evaluate, readings, table
from mrg_r1.findings import Labels
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.policy.control_tokens import check_words
from mrg_r1.policy.load import Policy, base_of_adapter, load_policy, policy_folder
from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy.tower import freeze, tower_of
from mrg_r1.policy.writing import write_reports
from mrg_r1.recipe_rewards import make_readers, make_rewards, reward_weights, the_labeler
from mrg_r1.records import Evaluation, Prediction, read_jsonl, write_jsonl
from mrg_r1.run import Run, changed_versions, open_run
from mrg_r1.trainers.callbacks import CompletionLog, Reporter, RunRecorder
from mrg_r1.trainers.engines import check_here, check_launched, weights_apart
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.labelling import label_together
from mrg_r1.trainers.options import check_options, forbid, grpo_config, sft_config
from mrg_r1.trainers.order import keep_order
from mrg_r1.trainers.processes import (
    free_memory,
    gathered,
    is_main,
    main_first,
    share_of,
    wait_for_all,
)
from mrg_r1.trainers.progress import console, progress, say
from mrg_r1.trainers.rows import rows, supervised_targets
from mrg_r1.trainers.savings import savings
from mrg_r1.trainers.sharing import trainer_for
from mrg_r1.trainers.splits import (
    lacking,
    load_samples,
    read_studies,
    split_samples,
)
from mrg_r1.trainers.stage import finished_checkpoint, run_stage, weigh_alike
from mrg_r1.trainers.towers import remember_tower
from mrg_r1.trainers.warmup import warm_up
from mrg_r1.trainers.watching import HealthWatch

_SHOWN = {
    "reward": "reward",
    **{f"rewards/{name}/mean": name for name in ("mccs", "ce_f1", "overlap", "format")},
    **{f"judge/{name}": "judge" for name in ("ce_f1", "mccs")},
    "completions/mean_length": "length",
}
"""Figures of SRL shown while it runs."""


def train(recipe: Recipe, root: Path, *, resume: bool = False) -> Path:
    """Executes a recipe and returns the audit page it leaves in the run folder `root`.

    A stage whose result is already there is not repeated, so a stopped run goes on where it
    was; its numbers are those of a run that was not stopped. Under a launcher of several
    processes, all train and write reports, and the main one writes the folder.

    Raises:
        ConfigError: the recipe cannot be carried out, or the folder holds another run.
        DataError: a study, image or report cannot be used.
        MissingExtra: the recipe needs a package that is not installed.
        OSError: the disk is full; the run can be resumed.
        Preempted: SIGTERM came while a stage was trained; the run can be resumed.
    """
    with faults_named(root):
        check_training(recipe, Run(root))
        labeler = the_labeler(recipe.labeler)
        run, train_samples, eval_samples = begin(recipe, root, resume=resume)
        start = supervised_start(recipe, run, train_samples, labeler)
        before = judge(recipe, run, run.predictions_start, start, eval_samples)
        policy = reinforce(recipe, run, start, train_samples, labeler)
        after = judge(recipe, run, run.predictions, policy, eval_samples)
        if is_main():
            references = [sample.reference for sample in train_samples]
            systems = {"start": before, "srl": after}
            console.print(table(conclude(recipe, run, systems, labeler, references)))
        return run.audit


def begin(recipe: Recipe, root: Path, *, resume: bool) -> tuple[Run, list[Sample], list[Sample]]:
    """The run folder, the samples to train on, and those to judge on; one process draws them.

    Raises:
        ConfigError: the folder holds another run, or one that is not to be resumed.
        DataError: a study, image or report cannot be used.
    """
    with main_first():
        run = open_run(root, recipe, resume=resume or not is_main())
        if changed := changed_versions(run):
            say(f"numbers may differ from those so far: {', '.join(changed)}")
        return run, *load_samples(recipe.data, run.studies, recipe.seed)


def check_training(recipe: Recipe, run: Run) -> None:
    """Refuses what would otherwise show hours later: a later stage's options, a missing policy.

    Raises:
        ConfigError: a training option is unknown, ours to set, or refused by TRL.
        DataError: the policy's folder holds none.
    """
    check_launched()
    for section, table_ in (("sft", recipe.sft or {}), ("srl", recipe.srl)):
        check_here(section, table_)
    if recipe.sft is not None:
        sft_config(recipe.sft, run.checkpoints("sft"), recipe.seed)
    grpo_config(recipe.srl, run.checkpoints("srl"), recipe.seed, reward_weights=[])
    if recipe.policy.path:
        policy_folder(Path(recipe.policy.path).expanduser())


def describe(recipe: Recipe) -> list[str]:
    """What a recipe would do, checked without weights, a GPU, or a single step.

    Raises:
        ConfigError: a training option is unknown, or ours to set.
        DataError: the studies are there but cannot be used.
    """
    for section, options in (("sft", recipe.sft), ("srl", recipe.srl)):
        check_options(section, options or {})
    data, policy = recipe.data, recipe.policy
    lines = [f"recipe: {recipe.name}, seed {recipe.seed}"]
    samples: Sequence[Sample] = ()
    if data.source == "phantom":
        lines.append(f"data: {data.train} studies drawn to train on, {data.test} to judge on")
    elif not Path(data.root).expanduser().exists():
        lines.append(f"data: {data.root} is not here; add --set data.root=FOLDER")
    else:
        for split, found, _ in split_samples(data, read_studies(data), recipe.seed):
            check_images(found)
            samples = samples or found  # of the train split, which is the first
            lines.append(f"data: {split}, {len(found)} samples of {data.source}")
            lines += [f"data: {lack}" for lack in lacking(data, split, found)]
    if policy.tiny:
        lines.append(f"policy: {policy.tiny.describe()}")
    else:
        here = Path(policy.path).expanduser().exists()
        remedy = "" if here else " is not here; add --set policy.path=FOLDER"
        lines.append(f"policy: {policy.path}{remedy}")
    if policy.warmup:
        lines.append(f"vision warm-up: {policy.warmup.steps} steps")
    if policy.lora:
        lines.append(f"LoRA: rank {policy.lora.rank}, alpha {policy.lora.alpha}")
    lines.append(f"labeler: {_labeler(recipe.labeler)}")
    weights = reward_weights(recipe.reward)
    lines.append("reward: " + ", ".join(f"{weight:g} {name}" for name, weight in weights.items()))
    health = recipe.health
    lines.append(f"second judge: {health.judge}, of {health.sample} completions a step")
    lines.append(f"supervised start: {_options(recipe.sft) if recipe.sft else 'none'}")
    lines.append(f"SRL: {_options(recipe.srl)}")
    words = words_of(data.context)
    lines.append(f"prompt: {prompt_of(policy.instruction, words, dict.fromkeys(words, '...'))}")
    return [*lines, *details(recipe, samples)]


def supervised_start(
    recipe: Recipe, run: Run, samples: Sequence[Sample], labeler: CachedLabeler
) -> Path:
    """The folder of the policy from which SRL starts: base weights, or SFT on the references."""
    if run.start.exists():
        return run.start
    policy, base = recipe.policy, base_of(recipe.policy, run)
    if recipe.sft is None and policy.path:
        return base
    labels = label_together(labeler, [sample.reference for sample in samples])
    targets = supervised_targets(samples, labels, policy.think)
    with main_first():
        if policy.tiny and not base.exists():
            asked = prompts_of(policy.instruction, samples)
            tiny = build_tiny([*targets, *asked], policy.tiny, seed=recipe.seed)
            if policy.warmup:
                with progress("vision warm-up", "steps") as report:
                    report(0, policy.warmup.steps)
                    warm_up(tiny, samples, labels, policy.warmup, seed=recipe.seed, report=report)
            words = words_of(recipe.data.context)
            replace(tiny, instruction=policy.instruction, words=words).save(base)
    if recipe.sft is None:
        return base
    last = finished_checkpoint(run.checkpoints("sft"))
    if last is None:
        often = _repeated(recipe, labels)
        chosen, told = [samples[n] for n in often], [targets[n] for n in often]
        last = imitate(recipe, run, base, chosen, told)
    return _keep(recipe, last, run.start)


def base_of(policy: PolicyRecipe, run: Run) -> Path:
    """The folder of the policy before the supervised start; a tiny one's is made there."""
    return Path(policy.path).expanduser() if policy.path else run.base


def imitate(
    recipe: Recipe, run: Run, base: Path, samples: Sequence[Sample], targets: Sequence[str]
) -> Path:
    """SFT on the targets, from `base`; returns the last checkpoint."""
    config = sft_config(recipe.sft or {}, run.checkpoints("sft"), recipe.seed)
    loaded = _load(recipe, base, trainable=True)
    check_words(loaded, samples, targets)
    with progress("supervised start", "steps") as report:
        trainer = SFTTrainer(
            model=loaded.model,
            args=config,
            train_dataset=rows(samples, recipe.policy.instruction, targets),
            processing_class=loaded.processor,
            peft_config=_new_adapter(recipe.policy, loaded),
            callbacks=[RunRecorder("sft", run.metrics), Reporter(report, {"loss": "loss"})],
        )
        weigh_alike(trainer)
        remember_tower(trainer, savings("sft", recipe.sft or {}), "sft")
        return run_stage(trainer, "sft", run.checkpoints("sft"), run.forget_after)


def reinforce(
    recipe: Recipe, run: Run, start: Path, samples: Sequence[Sample], labeler: CachedLabeler
) -> Path:
    """The folder of the policy after SRL on the weighted rewards."""
    if run.policy.exists():
        return run.policy
    last = finished_checkpoint(run.checkpoints("srl"))
    return _keep(recipe, last or explore(recipe, run, start, samples, labeler), run.policy)


def explore(
    recipe: Recipe, run: Run, start: Path, samples: Sequence[Sample], labeler: CachedLabeler
) -> Path:
    """GRPO (eqs. 1 and 2) from `start`; returns the last checkpoint."""
    loaded = _load(recipe, start, trainable=True)
    check_words(loaded, samples)
    references = [sample.reference for sample in samples]
    chosen = [samples[n] for n in _repeated(recipe, label_together(labeler, references))]
    rewards = make_rewards(recipe.reward, labeler, references)
    weights = [weight for _, weight in rewards]
    config = grpo_config(recipe.srl, run.checkpoints("srl"), recipe.seed, reward_weights=weights)
    forbid(config, loaded.forbidden_tokens())
    readers = make_readers(recipe, labeler)
    watch = HealthWatch(weights, config.num_generations or 1, readers, recipe.health.sample)
    log = CompletionLog(run.completions, weights, seen=watch)
    watched: list[RewardFunc] = [log.watch(reward) for reward, _ in rewards]
    saved = savings("srl", recipe.srl)
    make_trainer = trainer_for(loaded.model, saved.share_prompts, apart=weights_apart(config))
    with progress("SRL", "steps") as report:
        trainer = make_trainer(
            model=loaded.model,
            reward_funcs=watched,
            args=config,
            train_dataset=rows(chosen, recipe.policy.instruction),
            processing_class=loaded.processor,
            peft_config=_new_adapter(recipe.policy, loaded),
            callbacks=[RunRecorder("srl", run.metrics), Reporter(report, _SHOWN)],
        )
        remember_tower(trainer, saved, "srl")
        keep_order(trainer)
        return run_stage(trainer, "srl", run.checkpoints("srl"), run.forget_after)


def judge(
    recipe: Recipe, run: Run, path: Path, policy: Path, samples: Sequence[Sample]
) -> list[Prediction]:
    """The policy's reports on the evaluation samples, stored at `path`."""
    if path.exists():
        return read_jsonl(path, Prediction)
    loaded = _load(recipe, policy)
    mine = share_of(samples)
    written: list[Prediction] = []
    with progress(f"reports of {policy}", "reports") as report:
        report(0, len(mine))
        for prediction in write_reports(loaded, mine, recipe.evaluation.decoding):
            images = tuple(run.named_inside(image) for image in prediction.images)
            written.append(replace(prediction, images=images))
            report(len(written), len(mine))
    everyones = {prediction.id: prediction for prediction in gathered(written)}
    predictions = [everyones[sample.id] for sample in samples]
    if is_main():
        write_jsonl(path, predictions)
    return predictions


def conclude(
    recipe: Recipe,
    run: Run,
    systems: Mapping[str, Sequence[Prediction]],
    labeler: CachedLabeler,
    train_references: Sequence[str],
) -> Evaluation:
    """Leaves scores, what the labeler read, and the audit page; returns the scores."""
    evaluation = evaluate(
        systems,
        labeler,
        train_references=train_references,
        resamples=recipe.evaluation.resamples,
        seed=recipe.seed,
    )
    evaluation.write(run.evaluation)
    rewards = make_rewards(recipe.reward, labeler, train_references)
    write_jsonl(run.readings, readings(systems, labeler, rewards=rewards))
    write_audit(run.root)
    return evaluation


def _repeated(recipe: Recipe, labels: Sequence[Labels]) -> list[int]:
    """Which samples an epoch is of, by number."""
    below = recipe.data.repeat_below
    return repeats(labels, below, recipe.seed) if below else list(range(len(labels)))


def _load(recipe: Recipe, folder: Path, *, trainable: bool = False) -> Policy:
    policy = recipe.policy
    loaded = load_policy(
        folder,
        dtype=policy.dtype,
        attention=policy.attention,
        trainable=trainable,
        instruction=policy.instruction,
        words=words_of(recipe.data.context),
        quantization=policy.quantization,
        max_pixels=policy.max_pixels,
    )
    if policy.freeze_tower:
        freeze(tower_of(base_of_adapter(loaded.model)))
    return loaded


def _keep(recipe: Recipe, checkpoint: Path, folder: Path) -> Path:
    """Saves the policy of a checkpoint at `folder`."""
    free_memory()
    wait_for_all()  # until everyone has seen that `folder` is not there yet
    if is_main():
        _load(recipe, checkpoint, trainable=True).save(folder)
    wait_for_all()
    return folder


def _new_adapter(policy: PolicyRecipe, loaded: Policy) -> LoraConfig | None:
    """The adapter to put on a policy, unless it has one that goes on learning."""
    return lora_config(loaded.model, policy.lora) if policy.lora and not loaded.adapted else None


def _labeler(labeler: LabelerRecipe) -> str:
    """The labeler's identity, or which of its files is not here."""
    if labeler.name == "chexbert":
        for key, file in (("weights", labeler.weights), ("vocabulary", labeler.vocabulary)):
            if not Path(file).expanduser().exists():
                return f"{file} is not here; add --set labeler.{key}=FILE"
    return the_labeler(labeler).identity


def _options(table_: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table_.items())
