"""Images are prepared once, and come out as a processor gives them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from PIL import Image

from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.policy.load import Policy
from mrg_r1.policy.writing import conversation
from mrg_r1.trainers.preparing import images_once
from mrg_r1.trainers.rows import rows


def asked(policy: Policy, images: list[list[Image.Image]]) -> dict[str, torch.Tensor]:
    texts = [
        policy.processor.apply_chat_template(conversation("Report.", len(some)), tokenize=False)
        for some in images
    ]
    return dict(policy.processor(images=images, text=texts, padding=True, return_tensors="pt"))


def counted(policy: Policy) -> list[int]:
    """Fills with how many images are prepared at a time."""
    images_of: Any = policy.processor.image_processor
    prepare, numbers = images_of._preprocess, []

    def counting(images: list[Any], *rest: Any, **options: Any) -> Any:
        numbers.append(len(images))
        return prepare(images, *rest, **options)

    images_of._preprocess = counting
    return numbers


def test_a_groups_images_are_prepared_once(policy: Policy, drawn: list[Sample]) -> None:
    one, two = (read_image(sample.images[0]) for sample in drawn[:2])
    wide = two.resize((96, 64))
    groups = [[one, wide], [one, wide], [two], [two], [wide, one]]
    expected = asked(policy, groups)
    numbers = counted(policy)
    with images_once(policy.processor):
        given = asked(policy, groups)
        again = asked(policy, copy.copy(groups))
    assert numbers == [3]
    assert given.keys() == again.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(given[name], values), name
        assert torch.equal(again[name], values), name
    del policy.processor.image_processor._preprocess
    assert "preprocess" not in vars(policy.processor.image_processor)


def test_a_processor_with_other_settings_prepares_again(
    policy: Policy, drawn: list[Sample]
) -> None:
    image = read_image(drawn[0].images[0])
    images_of = policy.processor.image_processor
    expected = images_of([image], do_normalize=False, return_tensors="pt")
    with images_once(policy.processor):
        images_of([image], return_tensors="pt")
        given = images_of([image], do_normalize=False, return_tensors="pt")
    assert torch.equal(given["pixel_values"], expected["pixel_values"])


def test_an_image_that_rows_share_is_one_object(drawn: list[Sample]) -> None:
    batch = rows(drawn, "Report.")[[0, 0, 1]]
    (first,), (again,), (other,) = batch["images"]
    assert first is again
    assert first is not other
