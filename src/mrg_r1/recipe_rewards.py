"""The labeler of a recipe, its training references, its rewards, and who watches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mrg_r1.config import LabelerRecipe, Recipe, RewardRecipe
from mrg_r1.data import phantom
from mrg_r1.data.samples import reference_of
from mrg_r1.data.sources import load
from mrg_r1.errors import DataError
from mrg_r1.findings import DISEASES, FINDINGS
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.make import make_labeler
from mrg_r1.rewards import Reward, WeightedReward
from mrg_r1.rewards.ce_f1 import CeF1Reward
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.health import Readers
from mrg_r1.rewards.mccs import MccsReward
from mrg_r1.rewards.overlap import OverlapReward
from mrg_r1.rewards.penalties import ContradictionPenalty, LengthPenalty, RepetitionPenalty
from mrg_r1.rewards.rarity import rarity_weights


def the_labeler(labeler: LabelerRecipe) -> CachedLabeler:
    """The labeler of targets, rewards and evaluation, which labels each text once for all.

    Raises:
        ConfigError, DataError, MissingExtra: it cannot be had.
    """
    made = make_labeler(
        labeler.name,
        preset=labeler.preset,
        weights=labeler.weights,
        vocabulary=labeler.vocabulary,
        device=labeler.device,
        cache=labeler.cache,
    )
    return CachedLabeler(made)


def training_references(recipe: Recipe) -> list[str]:
    """The references of all studies of the training split; nothing is drawn and no image read.

    Raises:
        DataError: there are none, or what the source's loader raises.
    """
    data = recipe.data
    if data.source == "phantom" and not data.root:
        studies = phantom.told(recipe.seed, "train", data.train)
    else:
        studies = load(data.source, Path(data.root), **data.loading)
    texts = [reference_of(study, data.section) for study in studies.of_split("train")]
    if not any(texts):
        raise DataError(f"{data.source}: no study of the training split has a {data.section}")
    return [text for text in texts if text]


def reward_weights(reward: RewardRecipe) -> dict[str, float]:
    """The weight of each reward by its name, those with weight 0 left out.

    A blend with F1 is two rewards that share the clinical weight: the trainer adds them up, and
    the log shows each.
    """
    weights = {
        "ce_f1": reward.clinical_weight * reward.f1_share,
        # Last of its name: with kind ce-f1 nothing is shared.
        reward.kind.replace("-", "_"): reward.clinical_weight * (1 - reward.f1_share),
        "format": reward.format_weight,
        "repetition": reward.repetition_penalty,
        "contradiction": reward.contradiction_penalty,
        "length": reward.length_penalty,
    }
    return {name: weight for name, weight in weights.items() if weight}


def make_rewards(
    reward: RewardRecipe, labeler: Labeler, references: Sequence[str]
) -> list[WeightedReward]:
    """The rewards with their weights, those with weight 0 left out.

    Args:
        reward: which, and their options.
        labeler: of every reward that reads findings.
        references: of the training samples, for frequencies of words and of findings.

    Raises:
        ConfigError: an option that this labeler, or these references, cannot carry out.
    """
    make: dict[str, Callable[[], Reward]] = {
        "mccs": lambda: _mccs(reward, labeler, references),
        "ce_f1": lambda: _ce_f1(reward, labeler),
        "overlap": lambda: OverlapReward.of(references),
        "format": FormatReward,
        "repetition": RepetitionPenalty,
        "contradiction": lambda: ContradictionPenalty(labeler),
        "length": LengthPenalty,
    }
    return [(make[name](), weight) for name, weight in reward_weights(reward).items()]


def make_readers(recipe: Recipe, labeler: Labeler) -> Readers:
    """Who watches the rewards of a recipe. Rules read single sentences, whoever reads reports.

    Raises:
        ConfigError, DataError, MissingExtra: the second judge's labeler cannot be had.
    """
    rules = the_labeler(LabelerRecipe(preset=recipe.labeler.preset))
    return Readers(labeler, ContradictionPenalty(rules), second_judge(recipe))


def second_judge(recipe: Recipe) -> Reward | None:
    """A reward that is not trained on, by a labeler that is not the reward's.

    It is F1 of the 13 findings a report affirms, which sees no template of negatives; where that
    is the reward, it is the cosine of eq. 5, which sees what is denied.

    Raises:
        ConfigError, DataError, MissingExtra: its labeler cannot be had.
    """
    name = recipe.health.judge
    if name == "none":
        return None
    if name == "auto":
        reader = recipe.labeler
        alike = reader.name == "rules" and reader.preset == "chexbert"
        name = "rules-chexpert" if alike else "rules-chexbert"
    kind, _, preset = name.partition("-")
    asked = {"name": kind, "preset": preset or "chexbert", "cache": ""}
    labeler = the_labeler(replace(recipe.labeler, **asked))
    if recipe.reward.kind == "ce-f1":
        return MccsReward(labeler, margin=0.0)
    return CeF1Reward(labeler, labels=len(DISEASES))


def _mccs(reward: RewardRecipe, labeler: Labeler, references: Sequence[str]) -> MccsReward:
    cap = reward.rarity_cap
    return MccsReward(
        labeler,
        margin=reward.margin,
        both_empty=reward.both_empty,
        negative_weight=reward.negative_weight,
        uncertain=reward.uncertain,
        rarity=rarity_weights(labeler.label(references), cap) if cap else None,
        soft=reward.soft,
    )


def _ce_f1(reward: RewardRecipe, labeler: Labeler) -> CeF1Reward:
    """The paper's over 14 findings; beside MCCS, over the 13 that MCCS reads."""
    return CeF1Reward(
        labeler,
        labels=len(FINDINGS if reward.kind == "ce-f1" else DISEASES),
        uncertain="positive" if reward.uncertain > 0 else "negative",
        both_empty=reward.both_empty,
    )
