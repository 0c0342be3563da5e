"""Features of images that a frozen image tower has seen, in memory or in a folder.

A key is a digest of the pixel values, which are all that an image and the processor's settings
come to, of the tower's weights and settings, and of the precision it computes in. Features show
what an image shows: a folder of them is to be kept where the images may be kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures
from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperModelOutput

from mrg_r1.records import replacing

Features = dict[str, Tensor]
"""By name: the tokens of one image, (tokens, width), and, in Qwen3-VL, those of deeper layers."""

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Model types whose towers can be asked through `remember_images`."""

_TOKENS, _DEEPER, _MAP = "tokens", "deeper", "map"


class Store(Protocol):
    """Features by key."""

    def get(self, key: str) -> Features | None:
        """The features of a key, or None."""
        ...

    def put(self, key: str, features: Features) -> None:
        """Keeps features, if there is room."""
        ...


class InMemory:
    """Features in main memory; beyond `limit` bytes, those not asked for longest are dropped."""

    def __init__(self, limit: float) -> None:
        self._left = limit
        self._features: OrderedDict[str, Features] = OrderedDict()

    def get(self, key: str) -> Features | None:
        """The features of a key, or None."""
        if key in self._features:
            self._features.move_to_end(key)
        return self._features.get(key)

    def put(self, key: str, features: Features) -> None:
        """Keeps features of a key that has none yet."""
        self._features[key] = {name: tensor.cpu() for name, tensor in features.items()}
        self._left -= _size(features)
        while self._left < 0:
            _, dropped = self._features.popitem(last=False)
            self._left += _size(dropped)


class OnDisk:
    """Features in a folder that several processes may share, a file for each image.

    Nothing is dropped: in an epoch every image is asked for once, so dropping the oldest for the
    newest would keep none that is asked for again.

    Args:
        folder: it is made if it is not there.
        limit: bytes the folder may have, those of earlier runs included.
        processes: how many fill it now; each may fill an equal share of what is free.
        full: called once when this process has no room left.
    """

    def __init__(
        self, folder: Path, limit: float, processes: int, full: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._recent = InMemory(RECENT)
        used = sum(file.stat().st_size for file in folder.glob("*/*.safetensors"))
        self._left = (limit - used) / processes
        self._full: Callable[[], None] | None = full

    def get(self, key: str) -> Features | None:
        """The features of a key, or None where there are none that can be read."""
        features = self._recent.get(key)
        if features is None:
            try:
                features = load_file(self._path(key))
            except (OSError, SafetensorError):
                return None
            self._recent.put(key, features)
        return features

    def put(self, key: str, features: Features) -> None:
        """Keeps features, in the folder if there is room."""
        self._recent.put(key, features)
        written = save({name: tensor.cpu() for name, tensor in features.items()})
        if len(written) <= self._left:
            self._left -= len(written)
            with replacing(self._path(key), "wb") as file:
                file.write(written)
        elif self._full is not None:
            self._full()
            self._full = None

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"


RECENT = 5e8
"""Bytes of memory in front of a folder, for what the passes of one step ask for."""


def _size(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features.values())


def remember_images(model: Any, store: Store) -> None:
    """Lets a model, whose tower must be frozen, encode only images that the store does not have.

    Each image goes through the tower alone, so that its features do not depend, in their last
    bits, on which others were already there.

    Args:
        model: of `FAMILIES`, under its adapter, if it has one.
        store: of any models; their weights are in the keys.
    """
    holder = model.model
    encode: Callable[..., Any] = holder.get_image_features
    tower = tower_digest(holder.visual)

    def of_one(pixels: Tensor, grid: Tensor) -> Features:
        key = _key(tower, holder.visual.dtype, pixels, grid)
        features = store.get(key)
        if features is None:
            with torch.no_grad():
                output = encode(pixels, grid[None], return_dict=True)
            features = dict(_named(output))
            store.put(key, features)
        return {name: tensor.to(pixels.device) for name, tensor in features.items()}

    @wraps(encode)
    def remembered(pixel_values: Tensor, image_grid_thw: Tensor, **options: Any) -> Any:
        sizes = image_grid_thw.prod(dim=-1).tolist()
        pixels = pixel_values.split(sizes)
        return _joined([of_one(*image) for image in zip(pixels, image_grid_thw, strict=True)])

    holder.get_image_features = remembered


def remember_maps(tower: Any, store: Store) -> None:
    """The same for a tower that gives each image a map of features, (channels, height, width).

    Args:
        tower: a frozen convolutional one, of a FastVLM; what projects from it may learn.
        store: of any models; their weights are in the keys.
    """
    encode: Callable[..., Any] = tower.forward
    weights = tower_digest(tower)

    def of_one(pixels: Tensor) -> Tensor:
        key = _key(weights, tower.dtype, pixels, torch.tensor(pixels.shape))
        features = store.get(key)
        if features is None:
            with torch.no_grad():
                features = {_MAP: encode(pixels[None], return_dict=True).last_hidden_state[0]}
            store.put(key, features)
        return features[_MAP].to(pixels.device)

    @wraps(encode)
    def remembered(pixel_values: Tensor, **options: Any) -> Any:
        maps = torch.stack([of_one(pixels) for pixels in pixel_values])
        return TimmWrapperModelOutput(last_hidden_state=maps)  # type: ignore[arg-type]

    tower.forward = remembered


def tower_digest(tower: Any) -> bytes:
    """A digest of a tower's weights and settings, and of the library that computes with them."""
    digest = hashlib.sha256(tower.config.to_json_string(use_diff=False).encode())
    digest.update(f"{tower.config._attn_implementation} {transformers.__version__}".encode())
    for name, weight in tower.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(_bytes(weight))
    return digest.digest()


def _key(tower: bytes, dtype: torch.dtype, pixels: Tensor, grid: Tensor) -> str:
    # A launcher may have cast the weights since their digest was taken.
    device = pixels.device.type
    cast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
    digest = hashlib.sha256(tower)
    digest.update(f"{device} {dtype} {cast} {pixels.dtype} {grid.tolist()}".encode())
    digest.update(_bytes(pixels))
    return digest.hexdigest()[:40]


def _bytes(values: Tensor) -> Any:
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _named(output: Any) -> Iterator[tuple[str, Tensor]]:
    """The features of the only image that a tower was given, as tensors of their own."""
    yield _TOKENS, output.pooler_output[0].clone()
    for depth, images in enumerate(getattr(output, "deepstack_features", None) or []):
        yield f"{_DEEPER}.{depth}", images[0].clone()


def _joined(images: list[Features]) -> BaseModelOutputWithDeepstackFeatures:
    """What a tower gives for several images, as far as the language model reads it."""
    depths = len(images[0]) - 1
    return BaseModelOutputWithDeepstackFeatures(
        pooler_output=tuple(image[_TOKENS] for image in images),  # type: ignore[arg-type]
        deepstack_features=[
            tuple(image[f"{_DEEPER}.{depth}"] for image in images)  # type: ignore[misc]
            for depth in range(depths)
        ],
    )
