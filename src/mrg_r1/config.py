"""Recipes: TOML in, checked dataclasses out.

A recipe is read by `load_recipe`, which reports every problem at once. The verbs unpack it into
plain arguments; nothing below them knows it. The `[sft]` and `[srl]` tables go to TRL's
`SFTConfig` and `GRPOConfig` untouched.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from mrg_r1.checked import Rule, build, nearest, override
from mrg_r1.completion import INSTRUCTION
from mrg_r1.data.context import Context
from mrg_r1.data.samples import Section, Views
from mrg_r1.data.table import Columns
from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import Decoding, LoraSettings, TinyConfig, WarmUp

Source = Literal["phantom", "iu-xray", "mimic-cxr", "table"]


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Which studies are read, and how they become samples."""

    source: Source = "phantom"
    root: str = ""
    section: Section = "findings"
    # The paper pairs each image of a study with its report (section IV-A).
    views: Views = "each"
    # What the prompt says beside the instruction; the paper's says nothing.
    context: tuple[Context, ...] = ()
    # Number of studies per split: drawn by phantom, cut to by the others; 0 is all there are.
    train: int = 0
    test: int = 0
    eval_split: Literal["val", "test"] = "test"
    # Studies are repeated in training where they show a finding rarer than this share; 0 is off.
    repeat_below: float = 0.0
    # Side in pixels of a drawn image.
    size: int = 112
    # Of a table that names its columns otherwise.
    columns: Columns | None = None

    @property
    def loading(self) -> dict[str, Any]:
        """Keyword arguments of `data.sources.load`."""
        return {"columns": self.columns} if self.columns else {}


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy: a local model folder, or a tiny one built from numbers."""

    path: str = ""
    tiny: TinyConfig | None = None
    # Only for a tiny policy: any other has seen images before.
    warmup: WarmUp | None = None
    lora: LoraSettings | None = None
    # The image tower learns nothing in SFT and SRL, and its features of an image are kept.
    freeze_tower: bool = False
    instruction: str = INSTRUCTION
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    # Of the frozen weights under an adapter: NF4 with double quantization, as in QLoRA.
    quantization: Literal["none", "4bit"] = "none"
    # What an image is shrunk to at most; 0 is what the model's processor says.
    max_pixels: int = 0
    # What the supervised start writes in the think part: the paper has no reasoning to imitate.
    think: Literal["labels", "none"] = "labels"


@dataclass(frozen=True, slots=True)
class LabelerRecipe:
    """Who reads reports, for targets, rewards and evaluation alike."""

    name: Literal["rules", "chexbert"] = "rules"
    # Of rules: whose conventions they follow.
    preset: Literal["chexbert", "chexpert"] = "chexbert"
    # Of chexbert: the checkpoint (or the int8 file made from it) and BERT's vocab.txt.
    weights: str = ""
    vocabulary: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # The file that keeps labels from run to run; none unless it is named.
    cache: str = ""


@dataclass(frozen=True, slots=True)
class RewardRecipe:
    """The reward; the defaults are the paper's, the margin is ours (left open there)."""

    # What the clinical weight goes to: rows of Table II ("overlap" is its NLG row).
    kind: Literal["mccs", "ce-f1", "overlap"] = "mccs"
    margin: float = 0.3
    both_empty: float = 0.0
    negative_weight: float = 1.0
    uncertain: float = 1.0
    # Beyond the paper, of mccs, each off at 0 or false: the largest weight of a rare finding,
    # probabilities instead of labels, and F1's share of the clinical weight.
    rarity_cap: float = 0.0
    soft: bool = False
    f1_share: float = 0.0
    clinical_weight: float = 0.75
    format_weight: float = 0.25
    # Weights of penalties in [-1, 0]; none in the paper.
    repetition_penalty: float = 0.0
    contradiction_penalty: float = 0.0
    length_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How the policy is judged before and after SRL."""

    decoding: Decoding = field(default_factory=Decoding)
    resamples: int = 1000


@dataclass(frozen=True, slots=True)
class HealthRecipe:
    """What watches the reward while it is trained on; it changes no reward."""

    # Reads a sample of the completions as the reward does not; auto is the rules' other preset.
    judge: Literal["auto", "rules-chexbert", "rules-chexpert", "chexbert", "none"] = "auto"
    # Completions of a step that are read for it; 0 is none.
    sample: int = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """One execution of the program, complete: data, policy, reward, training, evaluation."""

    name: str
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    policy: PolicyRecipe = field(default_factory=PolicyRecipe)
    labeler: LabelerRecipe = field(default_factory=LabelerRecipe)
    reward: RewardRecipe = field(default_factory=RewardRecipe)
    health: HealthRecipe = field(default_factory=HealthRecipe)
    sft: dict[str, Any] | None = None
    srl: dict[str, Any] = field(default_factory=dict[str, Any])
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)


def recipe_names() -> list[str]:
    """The names of the recipes that ship with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in (resources.files("mrg_r1") / "recipes").iterdir()
        if entry.name.endswith(".toml")
    )


def recipe_text(name_or_path: str) -> str:
    """The text of a shipped recipe or of a file.

    Raises:
        ConfigError: there is neither such a recipe nor such a file, or it cannot be read.
    """
    if name_or_path in recipe_names():
        return (resources.files("mrg_r1") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
    try:
        return Path(name_or_path).read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"no recipe or file '{name_or_path}'{nearest(name_or_path, recipe_names())}; "
            "type 'mrg-r1 recipes' to list them"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {name_or_path}: cannot be read ({error})") from None


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe.

    Args:
        name_or_path: a shipped name, a TOML file, or the `recipe.json` of a run.
        overrides: 'dotted.key=value' strings; a value is TOML, or else a plain string.

    Raises:
        ConfigError: all problems at once, on one line.
    """
    table = _read(name_or_path)
    problems = [wrong for text in overrides if (wrong := override(table, text))]
    table.setdefault("name", Path(name_or_path).stem)
    recipe: Recipe | None = build(Recipe, table, _RULES, problems)
    if recipe is not None:
        problems += _contradictions(recipe)
    if problems or recipe is None:
        raise ConfigError(f"recipe {name_or_path}: " + "; ".join(problems))
    return recipe


def _read(name_or_path: str) -> dict[str, Any]:
    text = recipe_text(name_or_path)
    try:
        if name_or_path.endswith(".json"):
            # JSON writes a key that was left out as null.
            return json.loads(
                text, object_hook=lambda pairs: {k: v for k, v in pairs.items() if v is not None}
            )
        return tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if name_or_path.endswith(".json") else "TOML"
        raise ConfigError(f"recipe {name_or_path}: not {kind}: {error}") from None


def engine_settings(key: str, given: Any) -> Mapping[str, Any]:
    """The settings of DeepSpeed or FSDP that a recipe gives under a key, or names a JSON file of.

    Raises:
        ConfigError: there is no such file, or no table in it.
    """
    found: Any = given or {}
    if isinstance(given, str) and given:
        try:
            found = json.loads(Path(given).expanduser().read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{key}: {given} cannot be read ({error})") from None
    if not isinstance(found, Mapping):
        raise ConfigError(f"{key}: {given!r} is no table, nor a JSON file of one")
    return cast("Mapping[str, Any]", found)


_NATURAL: Rule = (lambda value: value >= 0, "0 or more")
_POSITIVE: Rule = (lambda value: value > 0, "above 0")
_SHARE: Rule = (lambda value: 0 <= value <= 1, "in [0, 1]")

_RULES: dict[str, Rule] = {
    # The run folder is named after it.
    "name": (lambda value: Path(value).name == value not in ("", ".."), "the name of a folder"),
    "seed": (lambda value: 0 <= value < 2**32, "in [0, 2^32)"),
    "data.train": _NATURAL,
    "data.test": _NATURAL,
    "data.size": (lambda value: value >= 64, "64 or more"),
    # A token of Qwen3-VL is a square of 32 pixels.
    "policy.max_pixels": (lambda value: value == 0 or value >= 1024, "0 or at least 1024"),
    "policy.lora.rank": _POSITIVE,
    "policy.lora.alpha": _POSITIVE,
    "policy.lora.dropout": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "reward.margin": (lambda value: -1 < value < 1, "inside (-1, 1) (eq. 6)"),
    "reward.both_empty": _SHARE,
    "reward.negative_weight": _SHARE,
    "data.repeat_below": _SHARE,
    "reward.uncertain": (lambda value: -1 <= value <= 1, "in [-1, 1]"),
    "reward.rarity_cap": (lambda value: value == 0 or value > 1, "0 (off) or above 1"),
    "reward.f1_share": _SHARE,
    "reward.clinical_weight": _NATURAL,
    "reward.format_weight": _NATURAL,
    "reward.repetition_penalty": _NATURAL,
    "reward.contradiction_penalty": _NATURAL,
    "reward.length_penalty": _NATURAL,
    "health.sample": _NATURAL,
    "evaluation.resamples": _POSITIVE,
    "evaluation.decoding.max_new_tokens": _POSITIVE,
    "evaluation.decoding.temperature": _NATURAL,
    "evaluation.decoding.top_p": (lambda value: 0 < value <= 1, "in (0, 1]"),
    "evaluation.decoding.batch_size": _POSITIVE,
    **{
        f"policy.tiny.{f.name}": _POSITIVE
        for f in dataclasses.fields(TinyConfig)
        if f.name != "tower"
    },
    **{f"policy.warmup.{name}": _POSITIVE for name in ("steps", "batch_size", "learning_rate")},
    "policy.warmup.weight_decay": _NATURAL,
}


def _contradictions(recipe: Recipe) -> list[str]:
    """What single keys cannot show: settings that do not go together."""
    problems: list[str] = []
    data, policy, reward = recipe.data, recipe.policy, recipe.reward
    if bool(policy.path) == (policy.tiny is not None):
        problems.append("policy: give either path (a local model folder) or a [policy.tiny] table")
    if policy.tiny is not None:
        problems += _tiny_contradictions(policy.tiny, policy)
    elif policy.warmup is not None:
        problems.append("policy.warmup: only a tiny policy starts blind; leave the table out")
    elif policy.quantization != "none" and policy.lora is None:
        problems.append(
            "policy.quantization: 4-bit weights cannot learn; add a [policy.lora] table"
        )
    if policy.freeze_tower and policy.lora is not None and policy.lora.vision:
        problems.append("policy.freeze_tower: cannot go with policy.lora.vision; leave one out")
    if data.source != "phantom" and not data.root:
        problems.append(f"data.root: where is {data.source}? add --set data.root=FOLDER")
    if data.source == "phantom" and not (data.train and data.test):
        problems.append("data: say how many studies to draw: data.train and data.test")
    return (
        problems
        + _data_contradictions(data)
        + _reward_contradictions(reward, recipe.labeler)
        + _labeler_contradictions(recipe.labeler, recipe.health.judge)
    )


def _data_contradictions(data: DataRecipe) -> list[str]:
    """Columns of what is no table, and previous studies where there are none."""
    problems: list[str] = []
    if data.columns and data.source != "table":
        problems.append(f"data.columns: {data.source} has its own; leave the table out")
    if data.source in ("phantom", "iu-xray"):
        problems += [
            f"data.context: {data.source} has no previous studies; leave out {kind}"
            for kind in data.context
            if kind.startswith("prior")
        ]
    return problems


def _reward_contradictions(reward: RewardRecipe, labeler: LabelerRecipe) -> list[str]:
    """Nothing to be rewarded for, and options that would change nothing."""
    problems: list[str] = []
    if not reward.clinical_weight + reward.format_weight:
        problems.append("reward: clinical_weight and format_weight are both 0")
    if reward.kind != "mccs":
        problems += [
            f"reward.{key}: an option of mccs; leave it out with kind = '{reward.kind}'"
            for key in ("rarity_cap", "soft", "f1_share")
            if getattr(reward, key)
        ]
    if reward.soft and labeler.name == "rules":
        problems.append("reward.soft: rules give no probabilities; use labeler.name = 'chexbert'")
    return problems


def _labeler_contradictions(labeler: LabelerRecipe, judge: str) -> list[str]:
    """Files that CheXbert lacks, and conventions that it cannot follow."""
    if "chexbert" not in (labeler.name, judge):
        return []
    problems = [
        f"labeler.{key}: where is CheXbert's {file}? add --set labeler.{key}=FILE"
        for key, file in (("weights", "chexbert.pth"), ("vocabulary", "vocab.txt"))
        if not getattr(labeler, key)
    ]
    if labeler.name == "chexbert" and labeler.preset != "chexbert":
        problems.append("labeler.preset: only rules have presets; leave it out")
    return problems


def _tiny_contradictions(tiny: TinyConfig, policy: PolicyRecipe) -> list[str]:
    """Widths that heads and rotary positions cannot share evenly, and keys of trained models."""
    problems = [
        f"policy.tiny.{name}: {width} is not a multiple of {per_head} x heads ({tiny.heads})"
        for name, width, per_head in (
            ("text_width", tiny.text_width, 2),
            ("vision_width", tiny.vision_width, 4),
        )
        if width % (per_head * tiny.heads)
    ]
    if tiny.tower == "efficientnet-lite0":
        if tiny.pixels % 32:
            problems.append(f"policy.tiny.pixels: {tiny.pixels} is not a multiple of 32")
    elif tiny.pixels < 2 * tiny.patch:
        problems.append(f"policy.tiny.pixels: {tiny.pixels} is less than two patches")
    if policy.quantization != "none":
        problems.append(
            "policy.quantization: only for a policy.path; a tiny policy is small enough"
        )
    if policy.max_pixels:
        problems.append("policy.max_pixels: only for a policy.path; use policy.tiny.pixels")
    return problems
