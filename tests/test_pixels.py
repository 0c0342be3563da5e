"""How large an image may be when a policy sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import AutoProcessor

from mrg_r1.errors import ConfigError
from mrg_r1.plan.images import resolution_of
from mrg_r1.policy.load import load_policy
from mrg_r1.policy.writing import encode
from tiny_families import FAMILIES, save

pytestmark = pytest.mark.slow

BOUNDED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def tokens(policy: Any, width: int, height: int) -> int:
    inputs = encode(policy, [[Image.new("RGB", (width, height))]])
    return int((inputs["input_ids"] == policy.model.config.image_token_id).sum())


@pytest.mark.parametrize("family", BOUNDED)
@pytest.mark.parametrize("most", [4096, 12_544])
def test_images_are_shrunk_and_stay_so_when_the_policy_is_saved(
    family: str, most: int, tmp_path: Path
) -> None:
    policy = load_policy(save(family, tmp_path / "model"), max_pixels=most)
    policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    step = 32 if family == "qwen3_vl" else 28
    for width, height in ((300, 500), (64, 64), (2000, 900)):
        expected = resolution_of(bounds(policy), step).tokens(width, height)
        assert tokens(policy, width, height) == tokens(again, width, height) == expected
        assert expected * step**2 <= most


def bounds(policy: Any) -> dict[str, Any]:
    size = policy.processor.image_processor.size
    return {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}


def test_the_planned_bounds_are_those_of_the_processor(tmp_path: Path) -> None:
    folder = save("qwen2_5_vl", tmp_path / "model")
    processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
    size = dict(processor.image_processor.size)
    policy = load_policy(folder, max_pixels=2000)
    planned = resolution_of({"size": size}, 28, 2000)
    assert bounds(policy) == {"min_pixels": planned.least, "max_pixels": planned.most}


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - set(BOUNDED)))
def test_images_of_other_families_have_sizes_of_their_own(family: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^policy.max_pixels: \w+ makes images of its own sizes"):
        load_policy(save(family, tmp_path / "model"), max_pixels=50_176)
