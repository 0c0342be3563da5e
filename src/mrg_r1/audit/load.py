"""A folder's files as one value, so that the page is a pure function of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from mrg_r1.errors import DataError
from mrg_r1.findings import Labels
from mrg_r1.records import (
    Evaluation,
    Prediction,
    Reading,
    SampledCompletion,
    StepMetrics,
    read_json,
    read_jsonl,
)

Record = TypeVar("Record")

REFERENCE, START, SRL = "reference", "start", "srl"
"""The names of a run in `readings.jsonl` and `evaluation.json`."""

FILES = {START: "predictions-start.jsonl", SRL: "predictions.jsonl"}
"""Where a run keeps the reports of its systems."""

COMPARISON = "comparison.json"
"""Names the systems of a comparison, with the file of each in its folder."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A file that the run does not have yet, what it would show, and what to type."""

    file: str
    shows: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Read:
    """What the labeler read in one report, with the reward and the CCS it earned."""

    labels: Labels
    reward: float
    ccs: float


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a folder holds that the page draws; empty where `gaps` names the file.

    Attributes:
        folder: a run, or a comparison of systems that `mrg-r1 evaluate --audit` left.
        recipe, versions, metrics, completions: of a run; a comparison has none.
        systems: predictions by id, by the name of the system: 'start' and 'srl' of a run, any of
            a comparison.
        readings: what the labeler read, by id and system ('reference' for the references).
        evaluation: scores of these systems, and of others that have no texts here.
        gaps: what the folder does not hold yet.
        trained: whether it is a run.
    """

    folder: Path
    recipe: Mapping[str, Any]
    versions: Mapping[str, Any]
    metrics: tuple[StepMetrics, ...]
    completions: tuple[SampledCompletion, ...]
    systems: Mapping[str, Mapping[str, Prediction]]
    readings: Mapping[tuple[str, str], Read]
    evaluation: Evaluation
    gaps: tuple[Gap, ...]
    trained: bool = True

    @property
    def name(self) -> str:
        """The recipe's name, else the folder's."""
        return str(self.recipe.get("name") or self.folder.resolve().name)

    @property
    def ids(self) -> frozenset[str]:
        """The samples that any system was asked for."""
        return frozenset(id_ for predictions in self.systems.values() for id_ in predictions)


_SHOWS = {
    "metrics.jsonl": "the learning curves",
    "completions.jsonl": "completions sampled in training",
    "predictions-start.jsonl": "the reports before SRL",
    "predictions.jsonl": "the reports after SRL",
    "readings.jsonl": "labels, rewards and CCS of single reports",
    "evaluation.json": "the CE scores",
    "versions.json": "the versions it was made with",
}


def load_run(folder: Path) -> Run:
    """Reads a run folder, or a comparison; a run's files that are not there yet are in `gaps`.

    Raises:
        DataError: no such folder, neither run nor comparison, nothing to show, or a file that is
            damaged.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such run folder; make one with `mrg-r1 train RECIPE --out {folder}`"
        )
    if (folder / COMPARISON).is_file():
        return _load_comparison(folder)
    if not (folder / "recipe.json").is_file():
        raise DataError(
            f"{folder}: no recipe.json, so this is not a run folder; pass the folder that "
            "`mrg-r1 train RECIPE --out DIR` or `mrg-r1 evaluate FILE --audit DIR` wrote"
        )
    recipe = _table(folder / "recipe.json")
    remedy = f"mrg-r1 train {recipe.get('name') or 'RECIPE'} --out {folder} --resume"
    gaps = tuple(
        Gap(file, shows, remedy) for file, shows in _SHOWS.items() if not (folder / file).is_file()
    )
    if {gap.file for gap in gaps} >= _SHOWS.keys() - {"versions.json"}:
        raise DataError(
            f"{folder}: nothing to show yet, no metrics.jsonl, predictions.jsonl or "
            f"evaluation.json; finish the run with `{remedy}`"
        )
    return Run(
        folder=folder,
        recipe=recipe,
        versions=_table(folder / "versions.json"),
        metrics=_lines(folder / "metrics.jsonl", StepMetrics),
        completions=_lines(folder / "completions.jsonl", SampledCompletion),
        systems=_systems(folder, FILES),
        readings=_readings(folder / "readings.jsonl"),
        evaluation=_evaluation(folder / "evaluation.json"),
        gaps=gaps,
    )


def _load_comparison(folder: Path) -> Run:
    files = _table(folder / COMPARISON).get("systems")
    if not isinstance(files, dict) or not files:
        raise DataError(
            f"{folder / COMPARISON}: names no systems; "
            f"write it again with `mrg-r1 evaluate FILE --audit {folder}`"
        )
    names = {str(name): str(file) for name, file in cast("dict[Any, Any]", files).items()}
    for file in (*names.values(), "readings.jsonl", "evaluation.json"):
        if not (folder / file).is_file():
            raise DataError(
                f"{folder}: no {file}; write it again with `mrg-r1 evaluate FILE --audit {folder}`"
            )
    return Run(
        folder=folder,
        recipe={},
        versions={},
        metrics=(),
        completions=(),
        systems=_systems(folder, names),
        readings=_readings(folder / "readings.jsonl"),
        evaluation=_evaluation(folder / "evaluation.json"),
        gaps=(),
        trained=False,
    )


def _systems(folder: Path, files: Mapping[str, str]) -> Mapping[str, Mapping[str, Prediction]]:
    """Predictions by id, by system; none of a system whose file is not there."""
    found = {name: _by_id(folder / file) for name, file in files.items()}
    _refuse_other_references(folder, found, files)
    return found


def _table(path: Path) -> Mapping[str, Any]:
    """The JSON object at `path`, empty where the file is not there."""
    document: object = read_json(path) if path.is_file() else {}
    if not isinstance(document, dict):
        raise DataError(f"{path}: not a JSON object; restore the file that `mrg-r1 train` wrote")
    return cast("dict[str, Any]", document)


def _lines(path: Path, record: type[Record]) -> tuple[Record, ...]:
    """The records at `path`, none where the file is not there."""
    return tuple(read_jsonl(path, record)) if path.is_file() else ()


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


def _by_id(path: Path) -> Mapping[str, Prediction]:
    predictions = _lines(path, Prediction)
    _refuse_twice(path, predictions, [prediction.id for prediction in predictions])
    return {prediction.id: prediction for prediction in predictions}


def _readings(path: Path) -> Mapping[tuple[str, str], Read]:
    """Readings by (id, system)."""
    readings = _lines(path, Reading)
    keys = [(reading.id, reading.system) for reading in readings]
    _refuse_twice(path, readings, keys)
    return {key: _read(path, reading) for key, reading in zip(keys, readings, strict=True)}


def _read(path: Path, reading: Reading) -> Read:
    try:
        labels = Labels.from_classes(reading.statuses)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: id '{reading.id}', {reading.system}: {error}") from None
    return Read(labels, float(reading.reward), float(reading.ccs))


def _refuse_twice(path: Path, records: Sequence[_Identified], keys: Sequence[object]) -> None:
    """Ids pair the files with each other, so none may stand for two records."""
    if len(set(keys)) == len(keys):
        return
    seen: set[object] = set()
    for record, key in zip(records, keys, strict=True):
        if key in seen:
            raise DataError(f"{path}: id '{record.id}' occurs twice; give each sample its own id")
        seen.add(key)


def _refuse_other_references(
    folder: Path, systems: Mapping[str, Mapping[str, Prediction]], files: Mapping[str, str]
) -> None:
    """The reports of one id must stand beside one reference."""
    first: dict[str, tuple[str, str]] = {}
    for name, predictions in systems.items():
        for id_, prediction in predictions.items():
            file, reference = first.setdefault(id_, (files[name], prediction.reference))
            if prediction.reference != reference:
                raise DataError(
                    f"{folder}: id '{id_}' has one reference in {file} and another in "
                    f"{files[name]}; generate both on the same data"
                )


def _evaluation(path: Path) -> Evaluation:
    """The evaluation at `path`, without systems where the file is not there."""
    if not path.is_file():
        return Evaluation()
    try:
        return Evaluation.read(path)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not an evaluation ({type(error).__name__}: {error}); "
            f"score again with `mrg-r1 evaluate {path.parent / 'predictions.jsonl'} -o {path}`"
        ) from None
