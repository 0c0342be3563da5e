"""What a run leaves on disk: frozen dataclasses to and from JSON.

Whole files are written to a temporary name beside their target and renamed, so a full disk or a
kill leaves the previous file or none, never half of one.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from mrg_r1.errors import DataError

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One generated report beside its reference; a line of `predictions.jsonl`.

    `patient_id` is empty where the data set does not tell. `context` is what the prompt said
    beside the instruction, by kind (`data.context`).
    """

    id: str
    study_id: str
    completion: str
    think: str
    report: str
    reference: str
    images: tuple[str, ...] = ()
    patient_id: str = ""
    context: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step; a line of `metrics.jsonl`.

    `values` holds the trainer's own names, among them `loss`, `reward`, `rewards/mccs/mean`,
    `rewards/format/mean`, `completions/mean_length` and `kl`, and ours of `rewards.health`.
    `warnings` are the sentences of `rewards.alarms` that hold at this step, by their kind.
    """

    stage: str
    step: int
    values: dict[str, float]
    warnings: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class SampledCompletion:
    """One completion seen in training; a line of `completions.jsonl`."""

    step: int
    id: str
    completion: str
    reward: float
    rewards: dict[str, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the labeler read in one report; a line of `readings.jsonl`.

    `system` is 'reference' for the references, else the name used in `evaluation.json`.
    `statuses` are 14 CheXbert classes in head order; `reward` is the run's total reward in
    [0, 1] and `ccs` the cosine of eq. 5 in [-1, 1], both 1.0 for the references.
    """

    id: str
    system: str
    statuses: tuple[int, ...]
    ccs: float
    reward: float


@dataclass(frozen=True, slots=True)
class Score:
    """A number per set of reports with its 95 % interval; `signature` says how it was made."""

    metric: str
    value: float
    low: float
    high: float
    signature: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A score minus a baseline's on the same samples: 95 % interval and p of a paired bootstrap."""

    metric: str
    baseline: str
    value: float
    low: float
    high: float
    p: float
    signature: str


@dataclass(frozen=True, slots=True)
class FindingScore:
    """Counts and rates of one finding over a set of reports.

    The last three count reports that say the opposite of their reference, leave out what it
    affirms, or affirm what it leaves out; None in files of older versions.
    """

    finding: str
    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    polarity_errors: int | None = None
    omissions: int | None = None
    inventions: int | None = None


@dataclass(frozen=True, slots=True)
class SystemScores:
    """Everything measured of one system; `bootstrap` says how its intervals were made."""

    name: str
    n: int
    scores: tuple[Score, ...]
    findings: tuple[FindingScore, ...] = ()
    differences: tuple[Difference, ...] = ()
    bootstrap: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Several systems scored side by side on the same samples; `evaluation.json`."""

    systems: tuple[SystemScores, ...] = field(default=())

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """The evaluation stored at `path`."""
        systems = read_json(path)["systems"]
        return cls(
            tuple(
                SystemScores(
                    name=system["name"],
                    n=system["n"],
                    scores=tuple(Score(**score) for score in system["scores"]),
                    findings=tuple(FindingScore(**finding) for finding in system["findings"]),
                    differences=tuple(Difference(**d) for d in system.get("differences", ())),
                    bootstrap=system.get("bootstrap", ""),
                )
                for system in systems
            )
        )

    def write(self, path: Path) -> None:
        """Stores the evaluation at `path`, whole or not at all."""
        write_json(path, dataclasses.asdict(self))


@contextmanager
def replacing(path: Path, mode: str = "w") -> Generator[IO[Any]]:
    """Opens a temporary file that takes the place of `path` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = None if "b" in mode else "utf-8"
    try:
        with open(
            temporary, mode, encoding=encoding, newline=None if encoding is None else ""
        ) as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The JSON document at `path`.

    Raises:
        DataError: the file is not there or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON document at `path`, whole or not at all."""
    with replacing(path) as file:
        json.dump(document, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def to_line(record: Any) -> str:
    """A dataclass as one line of JSON, ending in a newline."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False) + "\n"


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Writes dataclasses as JSON lines at `path`, whole or not at all."""
    with replacing(path) as file:
        for record in records:
            file.write(to_line(record))


def read_jsonl(path: Path, record: type[Record]) -> list[Record]:
    """The dataclasses stored as JSON lines at `path`; fields the dataclass lacks are ignored.

    Raises:
        DataError: the file is not there, or a line is not such a record (with its number).
    """
    names = {f.name for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    records: list[Record] = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    values: dict[str, Any] = json.loads(line)
                    known = {key: _frozen(values[key]) for key in names & values.keys()}
                    records.append(record(**known))
                except (ValueError, TypeError, AttributeError) as error:
                    raise DataError(f"{path} line {number}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    return records


def _frozen(value: Any) -> Any:
    """JSON arrays become tuples, since records are hashable."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
