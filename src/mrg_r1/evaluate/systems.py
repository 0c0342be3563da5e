"""Systems that can be compared: the same samples, references, studies and patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mrg_r1.errors import DataError
from mrg_r1.findings import Labels
from mrg_r1.labelers import Labeler
from mrg_r1.records import Prediction

Predictions: TypeAlias = Sequence[Prediction]
Systems: TypeAlias = Mapping[str, Predictions]

RESERVED = ("reference", "random-train", "nearest-train")
"""Names of baselines, besides those that start with 'constant-'."""


@dataclass(frozen=True, slots=True)
class Known:
    """A labeler of texts that were labelled before."""

    identity: str
    labels: Mapping[str, Labels]

    def label(self, reports: Sequence[str]) -> list[Labels]:
        """Labels of each report, in order."""
        return [self.labels[report] for report in reports]


def read_once(labeler: Labeler, reports: Iterable[str]) -> Known:
    """Labels each distinct text once; texts without a word are blank and not read at all."""
    distinct = dict.fromkeys(reports)
    written = [text for text in distinct if text.strip()]
    read = dict(zip(written, labeler.label(written), strict=True))
    return Known(labeler.identity, dict.fromkeys(distinct, Labels.of({})) | read)


def texts(systems: Systems) -> Iterable[str]:
    """References and reports of all systems."""
    for predictions in systems.values():
        yield from (p.reference for p in predictions)
        yield from (p.report for p in predictions)


def checked(systems: Systems) -> Systems:
    """The systems in the order of the first one's samples.

    Each sample is of the study and the patient that any of them names.

    Raises:
        DataError: as `mrg_r1.evaluate.evaluate` says.
    """
    if not systems:
        raise DataError("evaluate: nothing to score; pass at least one file of predictions")
    (first, expected), *others = systems.items()
    for name, predictions in systems.items():
        check_system(name, predictions)
        if name in RESERVED or name.startswith("constant-"):
            raise DataError(f"evaluate: '{name}' is the name of a baseline; rename the system")
    for name, predictions in others:
        _check_same(first, expected, name, predictions)
    studies = _agreed("study", systems, lambda p: "" if p.study_id == p.id else p.study_id)
    patients = _agreed("patient", systems, lambda p: p.patient_id)
    order = {p.id: position for position, p in enumerate(expected)}
    return {
        name: [
            replace(p, study_id=studies.get(p.id, p.id), patient_id=patients.get(p.id, ""))
            for p in sorted(predictions, key=lambda p: order[p.id])
        ]
        for name, predictions in systems.items()
    }


def check_system(name: str, predictions: Predictions) -> None:
    """Raises unless there are predictions, each id once, with a reference each."""
    if not predictions:
        raise DataError(f"evaluate: '{name}' has no predictions; generate some first")
    seen: set[str] = set()
    for p in predictions:
        if p.id in seen:
            raise DataError(f"evaluate: id '{p.id}' occurs twice in '{name}'; keep one of them")
        if not p.reference.strip():
            raise DataError(f"evaluate: '{p.id}' in '{name}' has an empty reference; leave it out")
        seen.add(p.id)


def _check_same(first: str, expected: Predictions, name: str, predictions: Predictions) -> None:
    """Raises unless both systems were asked for the same reports."""
    ours = {p.id: p.reference for p in expected}
    theirs = {p.id: p.reference for p in predictions}
    only_ours = [id_ for id_ in ours if id_ not in theirs]
    only_theirs = [id_ for id_ in theirs if id_ not in ours]
    other = [id_ for id_, text in theirs.items() if ours.get(id_, text) != text]
    if only_ours or only_theirs or other:
        raise DataError(
            f"evaluate: '{first}' and '{name}' were not given the same samples: {len(only_ours)} "
            f"ids only in '{first}', {len(only_theirs)} only in '{name}', {len(other)} with "
            f"another reference, such as '{(only_ours + only_theirs + other)[0]}'; "
            "score them on the same samples"
        )


def _agreed(kind: str, systems: Systems, of: Callable[[Prediction], str]) -> dict[str, str]:
    """The study or patient of each sample; files that do not tell learn it from the others."""
    found: dict[str, str] = {}
    for name, predictions in systems.items():
        for p in predictions:
            value = of(p)
            if value and found.setdefault(p.id, value) != value:
                raise DataError(
                    f"evaluate: '{p.id}' is of {kind} '{value}' in '{name}' but '{found[p.id]}' "
                    f"in another system; name its {kind} alike"
                )
    return found


def groups(predictions: Predictions) -> tuple[str, list[str]]:
    """What is resampled, 'patients' or 'studies', and which of them each sample is of."""
    if all(p.patient_id for p in predictions):
        return "patients", [p.patient_id for p in predictions]
    return "studies", [p.study_id for p in predictions]
