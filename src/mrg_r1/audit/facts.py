"""What a run is, in a few names and values; only what its files say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mrg_r1.audit.load import FILES, Run
from mrg_r1.audit.scores import parse_signature
from mrg_r1.errors import DataError


def facts(run: Run) -> tuple[tuple[str, str], ...]:
    """Names and values for the head of the page; what is not recorded is left out."""
    recipe = run.recipe
    policy = recipe_table(recipe.get("policy"))
    found = (
        ("Recipe", run.name if run.trained else ""),
        ("Seed", recipe.get("seed")),
        ("Data", _values(recipe.get("data"), "source", "root")),
        ("Reference", _values(recipe.get("data"), "section")),
        ("Policy", policy.get("path") or _tiny(recipe_table(policy.get("tiny")))),
        ("Parameters", _size(run.folder)),
        ("Reward", _reward(recipe_table(recipe.get("reward")))),
        ("Labeler", labeler(run)),
        ("Samples scored", ", ".join({f"{s.n:,}": None for s in run.evaluation.systems})),
    )
    return tuple((name, str(value)) for name, value in found if value not in (None, ""))


def lonely(run: Run) -> tuple[tuple[str, int], ...]:
    """How many samples only one of the two prediction files has, so that none vanishes unseen."""
    start, srl = (run.systems.get(name, {}).keys() for name in FILES)
    if not (start and srl):
        return ()
    found = zip(FILES.values(), (len(start - srl), len(srl - start)), strict=True)
    return tuple((file, n) for file, n in found if n)


def count_parameters(folder: Path) -> int:
    """Parameters in a folder's safetensors files, from their headers (8 bytes length, JSON).

    Raises:
        DataError: a file that is not safetensors.
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with open(path, "rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            total += sum(
                math.prod(tensor["shape"])
                for name, tensor in header.items()
                if name != "__metadata__"
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
            raise DataError(
                f"{path}: not a safetensors file; restore it, or train again with "
                "`mrg-r1 train RECIPE --out NEW_FOLDER`"
            ) from None
    return total


def _size(folder: Path) -> str:
    """The size of the last policy the run has saved."""
    for saved in (folder / "policy", folder / "start"):
        if total := count_parameters(saved):
            adapter = (saved / "adapter_config.json").is_file()
            return f"{total:,}" + (" in the adapter" if adapter else "")
    return ""


def recipe_table(value: object) -> Mapping[str, Any]:
    """A table of the recipe, empty where it is none."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _values(table: object, *keys: str) -> str:
    return ", ".join(str(recipe_table(table)[key]) for key in keys if recipe_table(table).get(key))


def _tiny(tiny: Mapping[str, Any]) -> str:
    if not tiny:
        return ""
    sizes = [
        f"{name} {tiny[depth]} \u00d7 {tiny[width]}"
        for name, depth, width in (
            ("image", "vision_depth", "vision_width"),
            ("text", "text_layers", "text_width"),
        )
        if depth in tiny and width in tiny
    ]
    return "tiny" + (f" ({', '.join(sizes)})" if sizes else "")


def _reward(reward: Mapping[str, Any]) -> str:
    parts = [
        f"{reward[key]:g} {key.removesuffix('_weight')}"
        for key in ("clinical_weight", "format_weight")
        if isinstance(reward.get(key), int | float)
    ]
    margin = reward.get("margin")
    if isinstance(margin, int | float):
        return " + ".join(parts) + f", margin {margin:g}"
    return " + ".join(parts)


def labeler(run: Run) -> str:
    """As the scores' signatures name it, for that is the one that read the reports."""
    signatures = [score.signature for system in run.evaluation.systems for score in system.scores]
    named = {name: None for s in signatures if (name := parse_signature(s).get("labeler"))}
    return ", ".join(named) or _values(run.recipe.get("labeler"), "name", "preset")
