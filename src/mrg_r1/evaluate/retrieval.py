"""The report of the training study that looks most alike, for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrg_r1.data.nearest import nearest
from mrg_r1.data.training import TrainingReport
from mrg_r1.evaluate.systems import Predictions


def nearest_reports(
    samples: Predictions,
    training: Sequence[TrainingReport],
    folders: Sequence[Path],
) -> tuple[dict[str, str] | None, str]:
    """Training reports by sample id, found by the first image of each study, or why there are none.

    Args:
        samples: what is asked for.
        training: training references.
        folders: where relative image paths may start, besides the working directory.

    Raises:
        DataError: an image is there but cannot be read.
    """
    named = [(report.text, report.images[0]) for report in training if report.images]
    if not named:
        return None, "the training references name no images"
    if not all(p.images for p in samples):
        return None, "not all predictions name their images"
    queries = [p.images[0] for p in samples]
    found = {path: _there(path, folders) for path in (*queries, *(path for _, path in named))}
    missing = [path for path, place in found.items() if place is None]
    if missing:
        return None, (
            f"{len(missing):,} of {len(found):,} images are not there, such as {missing[0]}; "
            "name their folder with --image-root"
        )
    places = {path: place for path, place in found.items() if place is not None}
    at = nearest([places[path] for path in queries], [places[path] for _, path in named])
    return {p.id: named[int(i)][0] for p, i in zip(samples, at, strict=True)}, ""


def _there(path: str, folders: Sequence[Path]) -> Path | None:
    """The first place where the file is."""
    for place in (Path(path), *(folder / path for folder in folders)):
        if place.is_file():
            return place
    return None
