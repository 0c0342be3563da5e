"""Leaves what an evaluation compared in a folder, from which the audit page is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mrg_r1.errors import DataError
from mrg_r1.evaluate.baselines import Row, with_texts
from mrg_r1.evaluate.readings import readings
from mrg_r1.evaluate.systems import Predictions, Systems, checked
from mrg_r1.labelers import Labeler
from mrg_r1.records import Evaluation, Prediction, write_json, write_jsonl


def keep(
    folder: Path,
    systems: Systems,
    evaluation: Evaluation,
    labeler: Labeler,
    *,
    train_references: Sequence[str] | None = None,
    nearest: Mapping[str, str] | None = None,
    image_folders: Sequence[Path] = (),
    seed: int = 0,
) -> None:
    """Writes the reports of all systems and of the baselines that are texts, labels and scores.

    The files are `comparison.json` (the file of each system), `predictions-1.jsonl` and so on,
    `readings.jsonl` and `evaluation.json`.

    Args:
        folder: where to; made if it is not there.
        systems: predictions by name, as `evaluate` was given.
        evaluation: what it returned.
        labeler: who read the reports there.
        train_references: as it was given.
        nearest: as it was given.
        image_folders: where relative image paths may start.
        seed: as it was given.

    Raises:
        DataError: the folder is a run's, or systems cannot be compared.
    """
    if (folder / "recipe.json").exists():
        raise DataError(f"{folder}: is a run; name another folder, or type `mrg-r1 audit {folder}`")
    systems = checked(systems)
    first = next(iter(systems.values()))
    rows = with_texts(first, train_references, nearest=nearest, seed=seed)
    beside = {row.name: _predictions(row, first) for row in rows}
    read = readings(systems, labeler, beside=beside)
    everyone = {**systems, **beside}
    files = {name: f"predictions-{number}.jsonl" for number, name in enumerate(everyone, start=1)}
    images = _placed(everyone, image_folders)
    for name, predictions in everyone.items():
        placed = [replace(p, images=images.get(p.id, ())) for p in predictions]
        write_jsonl(folder / files[name], placed)
    write_jsonl(folder / "readings.jsonl", read)
    evaluation.write(folder / "evaluation.json")
    write_json(folder / "comparison.json", {"systems": files})


def _predictions(row: Row, samples: Predictions) -> list[Prediction]:
    """A baseline's reports, as a system would hand them over."""
    return [
        replace(p, completion="", think="", report=report)
        for p, report in zip(samples, row.reports, strict=True)
    ]


def _placed(systems: Systems, folders: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """The images of each sample that any system names, where they are found."""
    named = {p.id: p.images for predictions in systems.values() for p in predictions if p.images}
    return {id_: tuple(_there(path, folders) for path in paths) for id_, paths in named.items()}


def _there(path: str, folders: Sequence[Path]) -> str:
    """The first place where the file is, else the path as it was given."""
    try:
        for place in (Path(path), *(folder / path for folder in folders)):
            if place.is_file():
                return str(place.resolve())
    except ValueError:  # a NUL byte names no file
        pass
    return path
