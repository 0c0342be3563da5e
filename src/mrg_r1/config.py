"""Recipes: TOML in, checked dataclasses out.

A recipe is read by `load_recipe`, which reports every problem at once. The verbs unpack it into
plain arguments; nothing below them knows it. The `[sft]` and `[srl]` tables go to TRL's
`SFTConfig` and `GRPOConfig` untouched.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mrg_r1.completion import INSTRUCTION
from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import Decoding, LoraSettings, TinyConfig

SOURCES = ("phantom", "iu-xray", "mimic-cxr", "table")
SECTIONS = ("findings", "impression", "both", "findings-or-impression")
VIEWS = ("each", "frontal", "first", "all")


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Which studies are read, and how they become samples."""

    source: str = field(default="phantom", metadata={"choices": SOURCES})
    root: str = ""
    section: str = field(default="findings", metadata={"choices": SECTIONS})
    # The paper pairs each image of a study with its report (section IV-A).
    views: str = field(default="each", metadata={"choices": VIEWS})
    # Number of studies per split: drawn by phantom, cut to by the others; 0 is all there are.
    train: int = 0
    test: int = 0
    eval_split: str = field(default="test", metadata={"choices": ("val", "test")})
    # Side in pixels of a drawn image.
    size: int = 112


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy: a local model folder, or a tiny one built from numbers."""

    path: str = ""
    tiny: TinyConfig | None = None
    lora: LoraSettings | None = None
    instruction: str = INSTRUCTION
    dtype: str = field(default="float32", metadata={"choices": ("float32", "bfloat16", "auto")})
    attention: str = field(
        default="sdpa", metadata={"choices": ("sdpa", "eager", "flash_attention_2")}
    )
    # What the supervised start writes in the think part: the paper has no reasoning to imitate.
    think: str = field(default="labels", metadata={"choices": ("labels", "none")})


@dataclass(frozen=True, slots=True)
class RewardRecipe:
    """The reward; the defaults are the paper's, the margin is ours (left open there)."""

    labeler: str = field(default="rules", metadata={"choices": ("rules",)})
    preset: str = field(default="chexbert", metadata={"choices": ("chexbert", "chexpert")})
    margin: float = 0.3
    both_empty: float = 0.0
    negative_weight: float = 1.0
    uncertain: float = 1.0
    clinical_weight: float = 0.75
    format_weight: float = 0.25


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How the policy is judged before and after SRL."""

    decoding: Decoding = field(default_factory=Decoding)
    resamples: int = 1000


@dataclass(frozen=True, slots=True)
class Recipe:
    """One execution of the program, complete: data, policy, reward, training, evaluation."""

    name: str
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    policy: PolicyRecipe = field(default_factory=PolicyRecipe)
    reward: RewardRecipe = field(default_factory=RewardRecipe)
    sft: dict[str, Any] | None = None
    srl: dict[str, Any] = field(default_factory=dict[str, Any])
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)


def recipe_names() -> list[str]:
    """The names of the recipes that ship with the package."""
    folder = resources.files("mrg_r1") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def recipe_text(name_or_path: str) -> str:
    """The TOML text of a shipped recipe or of a file.

    Raises:
        ConfigError: there is neither such a recipe nor such a file.
    """
    if name_or_path in recipe_names():
        return (resources.files("mrg_r1") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
    path = Path(name_or_path)
    if path.is_file():
        return path.read_text("utf-8")
    raise ConfigError(
        f"no recipe or file '{name_or_path}'{_nearest(name_or_path, recipe_names())}; "
        "type 'mrg-r1 recipes' to list them"
    )


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe.

    Args:
        name_or_path: a shipped name or a TOML file.
        overrides: 'dotted.key=value' strings; a value is TOML, or else a plain string.

    Raises:
        ConfigError: all problems at once, on one line.
    """
    try:
        table = tomllib.loads(recipe_text(name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name_or_path}: not TOML: {error}") from None
    for override in overrides:
        _set(table, override)
    table.setdefault("name", Path(name_or_path).stem)
    problems: list[str] = []
    recipe: Recipe | None = _build(Recipe, table, "", problems)
    if recipe is not None:
        problems += _contradictions(recipe)
    if problems or recipe is None:
        raise ConfigError(f"recipe {name_or_path}: " + "; ".join(problems))
    return recipe


def _contradictions(recipe: Recipe) -> list[str]:
    """What single keys cannot show: settings that do not go together."""
    problems: list[str] = []
    if bool(recipe.policy.path) == (recipe.policy.tiny is not None):
        problems.append("policy: give either path (a local model folder) or a [policy.tiny] table")
    if recipe.data.source != "phantom" and not recipe.data.root:
        problems.append(f"data.root: where is {recipe.data.source}? add --set data.root=FOLDER")
    if recipe.data.source == "phantom" and not (recipe.data.train and recipe.data.test):
        problems.append("data: say how many studies to draw: data.train and data.test")
    if not -1 < recipe.reward.margin < 1:
        problems.append(f"reward.margin: {recipe.reward.margin} is not inside (-1, 1) (eq. 6)")
    return problems


def _set(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override}: write it as dotted.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a table")
    table[last] = value


def _build(cls: type[Any], table: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    """A dataclass from a table; appends every problem found, and returns None if any was."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    before = len(problems)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            problems.append(f"unknown key '{where}{key}'{_nearest(key, known)}")
            continue
        values[key] = _value(hints[key], value, f"{where}{key}", problems)
        choices = known[key].metadata.get("choices")
        if choices and value not in choices:
            problems.append(f"{where}{key}: '{value}' is not one of {', '.join(choices)}")
    return cls(**values) if len(problems) == before else None


def _value(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    """A value of a field, converted where TOML and Python differ; appends what is wrong."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    expected = next(option for option in options if option is not types.NoneType)
    if dataclasses.is_dataclass(expected) or typing.get_origin(expected) is dict:
        if not isinstance(value, dict):
            problems.append(f"{where}: expected a table, got {value!r}")
            return None
        if typing.get_origin(expected) is dict:
            return typing.cast("dict[str, Any]", value)
        return _build(
            typing.cast("type[Any]", expected),
            typing.cast("dict[str, Any]", value),
            f"{where}.",
            problems,
        )
    if typing.get_origin(expected) is tuple:
        if isinstance(value, list):
            items = typing.cast("list[Any]", value)
            if all(isinstance(item, str) for item in items):
                return tuple(items)
        problems.append(f"{where}: expected a list of strings, got {value!r}")
        return None
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        problems.append(f"{where}: expected {_TYPE_NAMES[expected]}, got {value!r}")
    return value


_TYPE_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    """' (did you mean ...?)', or nothing when no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
