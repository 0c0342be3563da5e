"""Where a plan's numbers come from: model folders, published configurations, GPUs, data sets."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from mrg_r1.config import DataRecipe, PolicyRecipe
from mrg_r1.data.context import WORDS, prompt_of
from mrg_r1.data.samples import samples
from mrg_r1.data.sources import load
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError
from mrg_r1.plan.duration import Gpu
from mrg_r1.plan.images import Resolution, resolution_of
from mrg_r1.plan.shape import Shape, shape_of, tiny_shape

_LOOKED_AT = 100


@cache
def table(name: str) -> dict[str, Any]:
    """One of this package's data files: 'models', 'gpus' or 'data'."""
    return tomllib.loads((files("mrg_r1") / "plan" / f"{name}.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Model:
    """A model's shape and its processor's resolution, and where they come from.

    `four_bit` says that its weights are stored so, by bitsandbytes.
    """

    shape: Shape
    resolution: Resolution
    source: str
    four_bit: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Samples to train on and to judge on, the images of one, and their size in pixels."""

    train: int
    judged: int
    images: int
    width: int
    height: int
    source: str
    letters: int | None = 0
    """Of the longest context in a prompt; None where only the data would tell."""


def gpus_of(text: str) -> tuple[int, Gpu]:
    """How many GPUs of which kind '2xA100-80GB' means; '2xA100-80' does too.

    Raises:
        ConfigError: it is not written so, or the kind is not known.
    """
    known = table("gpus")
    count, name = _counted(text)
    found = [kind for kind in known if name.lower() in (kind.lower(), kind.lower()[:-2])]
    if not count or not found:
        raise ConfigError(f"--gpus {text}: write it as 2xA100-80GB, with one of {', '.join(known)}")
    kind = known[found[0]]
    return count, Gpu(
        found[0], kind["memory"] * 2**30, kind["tflops"] * 1e12, kind["bandwidth"] * 1e9
    )


def _counted(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"(?:(\d+)\s*x\s*)?(\S+)", text.strip(), re.IGNORECASE)
    return (int(match[1] or 1), match[2]) if match else (0, "")


def model_of(policy: PolicyRecipe, name: str = "") -> Model:
    """The policy's model: by its published name if given, else the recipe's.

    A model folder that is not here is known by its name, as 'HuatuoGPT-Vision-7B-Qwen2.5VL'.

    Raises:
        ConfigError: no such model is known, or its configuration cannot be planned.
    """
    if name:
        return _published(name, policy.max_pixels)
    if policy.tiny:
        shape = tiny_shape(policy.tiny)
        area = policy.tiny.pixels**2
        return Model(shape, Resolution(_step(shape), area, area), "the recipe's [policy.tiny]")
    folder = Path(policy.path).expanduser()
    if (folder / "config.json").is_file():
        return _of_folder(folder, policy.max_pixels)
    if match := named_in(folder.name):
        return _published(match, policy.max_pixels)
    raise ConfigError(
        f"policy.path: {policy.path} is not here, and its name is of no published model; "
        f"add --model with one of {', '.join(table('models'))}"
    )


def _published(name: str, max_pixels: int) -> Model:
    models = table("models")
    if name not in models:
        raise ConfigError(f"--model {name}: use one of {', '.join(models)}")
    shape = shape_of(models[name])
    resolution = resolution_of(models[name], _step(shape), max_pixels)
    return Model(shape, resolution, f"the published configuration of {models[name]['source']}")


def _of_folder(folder: Path, max_pixels: int) -> Model:
    config = _json(folder / "config.json")
    shape = shape_of(config)
    processor = folder / "preprocessor_config.json"
    bounds: Mapping[str, Any] = _json(processor) if processor.is_file() else {}
    resolution = resolution_of(bounds, _step(shape), max_pixels)
    quantized: Mapping[str, Any] = config.get("quantization_config") or {}
    four_bit = bool(quantized.get("load_in_4bit"))
    return Model(shape, resolution, f"{folder}/config.json", four_bit)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _step(shape: Shape) -> int:
    return shape.tower.patch * shape.tower.merge


def named_in(folder: str) -> str:
    """The published model whose family and size stand in a folder's name, or ''."""
    squeezed = re.sub(r"[^a-z0-9]", "", folder.lower())
    for name in table("models"):
        family, _, size = name.rpartition("-")
        if re.sub(r"[^a-z0-9]", "", family) in squeezed and size in squeezed:
            return name
    return ""


def data_of(data: DataRecipe) -> Data:
    """The samples of a recipe: counted where they are here, else drawn or assumed.

    Raises:
        ConfigError: they are not here, and nothing is known of them.
        DataError: they are here and cannot be read.
    """
    images = images_each(data)
    if data.source == "phantom":
        each = 2 if data.views == "each" else 1  # every study has two views
        counts = (each * data.train, each * data.test)
        return Data(*counts, images, data.size, data.size, "drawn by the recipe")
    if Path(data.root).expanduser().exists():
        return _counted_data(data)
    known = table("data").get(data.source)
    if known is None:
        raise ConfigError(
            f"data.root: {data.root} is not here; add --set data.root=FILE, or --samples and "
            "--image"
        )
    counts = known["images" if data.views == "each" else "studies"]
    width, height = known["size"]
    return Data(
        min(counts["train"], data.train or counts["train"]),
        min(counts[data.eval_split], data.test or counts[data.eval_split]),
        images,
        width,
        height,
        f"assumed, for {data.root} is not here: {known['source']}",
        None if data.context else 0,
    )


def images_each(data: DataRecipe) -> int:
    """Images of a sample, assuming that a study has two views."""
    one = 2 if data.views == "all" else 1
    return 2 * one if "prior-images" in data.context else one


def _counted_data(data: DataRecipe) -> Data:
    studies = load(data.source, Path(data.root), **data.loading)
    splits: list[list[Sample]] = []
    for split, limit in (("train", data.train), (data.eval_split, data.test)):
        chosen = studies.of_split(split)[: limit or None]
        chosen, _ = samples(chosen, section=data.section, views=data.views, context=data.context)
        splits.append(chosen)
    train, judged = splits
    if not train:
        raise ConfigError(f"data.root: {data.root} has no samples to train on")
    images = max(len(sample.images) for sample in train)
    width, height = _common_size(train)
    letters = max(len(prompt_of("", WORDS, sample.context)) for sample in train)
    told = f"counted in {data.root}"
    return Data(len(train), len(judged), images, width, height, told, letters)


def _common_size(train: Sequence[Sample]) -> tuple[int, int]:
    """The size of median area among the first images of samples spread over all of them."""
    spread = train[:: max(1, len(train) // _LOOKED_AT)]
    sizes = [_size(sample.images[0]) for sample in spread]
    return sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:  # DICOM
        from mrg_r1.data.images import read_image

        return read_image(path).size
