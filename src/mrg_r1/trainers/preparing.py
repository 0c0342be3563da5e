"""Images are prepared for the policy once, however many completions they get."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import Tensor
from transformers import BatchFeature

from mrg_r1.trainers.prompting import images_by_row, of_rows


@contextmanager
def images_once(processor: Any) -> Generator[None]:
    """Lets a processor of the families that share prepare each image object once, in the block.

    TRL prepares the images of a batch twice, to sample and to train, and each for every completion.
    """
    images_of = processor.image_processor
    prepare = images_of.preprocess
    known: dict[tuple[int, str], tuple[Any, dict[str, Tensor]]] = {}

    def once(images: Any, **options: Any) -> BatchFeature:
        how = repr(sorted((key, value) for key, value in options.items() if key != _FORMAT))
        flat = list(_flat(images))
        new = {id(image): image for image in flat if (id(image), how) not in known}
        if new:
            prepared = prepare(list(new.values()), **{**options, _FORMAT: "pt"})
            pixels = images_by_row(prepared, [1] * len(new))
            for image, fields in zip(new.values(), pixels, strict=True):
                # The image is kept so that no other can take its id.
                known[id(image), how] = (image, fields)
        return BatchFeature(of_rows([known[id(image), how][1] for image in flat]))

    with mock.patch.object(images_of, "preprocess", once):
        yield


_FORMAT = "return_tensors"


def _flat(images: Any) -> Iterator[Any]:
    """Images in the order in which a processor takes them from a list of lists."""
    if isinstance(images, list | tuple):
        for some in images:
            yield from _flat(some)
    else:
        yield images
