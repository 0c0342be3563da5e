"""Writes the reports of a trained policy, from a picture or a list of samples to a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mrg_r1.data.images import check_images
from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError
from mrg_r1.policy.load import load_policy
from mrg_r1.policy.settings import Decoding
from mrg_r1.policy.writing import write_reports
from mrg_r1.records import Prediction, replacing, to_line


def generate(
    policy: Path,
    samples: Sequence[Sample],
    out: Path,
    decoding: Decoding,
    *,
    on_prediction: Callable[[Prediction], None] | None = None,
) -> int:
    """Writes one prediction per sample to `out` as JSON lines, whole or not at all.

    Args:
        policy: a run folder, a saved policy, or a local model folder.
        samples: what to write about; references may be empty.
        out: the file of predictions.
        decoding: how completions are written.
        on_prediction: called with each prediction as it is made.

    Returns:
        How many predictions were written.

    Raises:
        DataError: there is no policy, no sample, or an image that cannot be read.
    """
    if not samples:
        raise DataError("generate: no images; name some, or give --data RECIPE --split SPLIT")
    check_images(samples)
    loaded = load_policy(policy)
    with replacing(out) as file:
        for prediction in write_reports(loaded, samples, decoding):
            file.write(to_line(prediction))
            if on_prediction is not None:
                on_prediction(prediction)
    return len(samples)


def image_samples(paths: Sequence[Path]) -> list[Sample]:
    """A sample for each image file, named by its stem, or by its path where stems collide."""
    stems = [path.stem for path in paths]
    names = [
        stem if stems.count(stem) == 1 else str(path)
        for stem, path in zip(stems, paths, strict=True)
    ]
    return [
        Sample(id=name, study_id=name, images=(path,), reference="")
        for name, path in zip(names, paths, strict=True)
    ]
