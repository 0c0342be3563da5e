"""The samples that a recipe trains on and is judged on: read or drawn, chosen, and checked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from mrg_r1.config import DataRecipe
from mrg_r1.data import phantom
from mrg_r1.data.images import check_images
from mrg_r1.data.samples import samples, without_context
from mrg_r1.data.sources import load
from mrg_r1.data.study import LeftOut, Sample, Studies, Study
from mrg_r1.errors import DataError
from mrg_r1.trainers.progress import progress, say


def load_samples(data: DataRecipe, drawn: Path, seed: int) -> tuple[list[Sample], list[Sample]]:
    """The samples of the train split and of the evaluation split, all images present.

    Args:
        data: which studies, and how many.
        drawn: where studies are drawn if the recipe draws them and names no folder.
        seed: of the drawing, and of the choice where a split is cut.

    Raises:
        DataError: a split has no samples, or an image is missing or broken.
    """
    studies = _drawn(data, drawn, seed) if data.source == "phantom" else read_studies(data)
    splits: list[list[Sample]] = []
    for split, found, left_out in split_samples(data, studies, seed):
        for left in left_out:
            say(f"left out of {split}: {len(left.ids)} {left.reason}")
        if not found:
            why = "".join(f" ({len(left.ids)} left out: {left.reason})" for left in left_out)
            raise DataError(
                f"{data.source}: no samples in split '{split}'{why}; "
                f"see what is there with: mrg-r1 data {data.source} --root FOLDER"
            )
        for lack in lacking(data, split, found):
            say(lack)
        check_images(found)
        say(f"{split}: {len(found)} samples")
        splits.append(found)
    return splits[0], splits[1]


def read_studies(data: DataRecipe) -> Studies:
    """The studies of a source that is read, not drawn."""
    with progress("reading studies", "studies") as report:
        return load(data.source, Path(data.root), on_progress=report, **data.loading)


def lacking(data: DataRecipe, split: str, found: Sequence[Sample]) -> list[str]:
    """How many samples of a split have nothing of each kind of context, in words.

    Raises:
        DataError: none that is trained on has anything of a kind.
    """
    counts = without_context(found, data.context)
    for kind, count in counts.items():
        if split == "train" and count == len(found) > 0:
            raise DataError(
                f"{data.source}: no sample to train on has {kind}; leave it out of data.context"
            )
    return [
        f"{split}: {count} of {len(found)} samples without {kind}" for kind, count in counts.items()
    ]


def split_samples(
    data: DataRecipe, studies: Studies, seed: int
) -> Iterator[tuple[str, list[Sample], list[LeftOut]]]:
    """The train split, then the evaluation split: its name, samples, and what was left out."""
    for split, limit in (("train", data.train), (data.eval_split, data.test)):
        chosen = _some(studies.of_split(split), limit, seed)
        yield (
            split,
            *samples(chosen, section=data.section, views=data.views, context=data.context),
        )


def _drawn(data: DataRecipe, folder: Path, seed: int) -> Studies:
    with progress("drawing studies", "studies") as report:
        report(0, data.train + data.test)
        return phantom.draw(
            Path(data.root).expanduser() if data.root else folder,
            train=data.train,
            val=0 if data.eval_split == "test" else data.test,
            test=data.test if data.eval_split == "test" else 0,
            seed=seed,
            size=data.size,
            on_progress=report,
        )


def _some(studies: Sequence[Study], limit: int, seed: int) -> list[Study]:
    """A seeded choice of `limit` studies in their own order; all of them if limit is 0."""
    if not limit or limit >= len(studies):
        return list(studies)
    chosen = random.Random(seed).sample(range(len(studies)), limit)
    return [studies[index] for index in sorted(chosen)]
