"""The files of MIMIC-CXR as PhysioNet serves them: where they are, and what each of them says."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mrg_r1.data.positions import POSITIONS
from mrg_r1.data.priors import Span
from mrg_r1.data.rows import read_csv
from mrg_r1.data.study import Position
from mrg_r1.errors import DataError

ARCHIVE = "mimic-cxr-reports.zip"
SUFFIXES = (".jpg", ".png", ".dcm")

_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_PATIENTS_AND_STUDIES = re.compile(r"[ps]\d+")
_DATE, _TIME = re.compile(r"\d{8}"), re.compile(r"(\d{1,6})(?:\.(\d*))?")
_DEPTH = 4
"""As deep as `wget -r` puts files: physionet.org/files/mimic-cxr-jpg/2.1.0."""

Report = Callable[[], str]
"""Reads a report that is there."""


@dataclass(slots=True)
class Listed:
    """One study of the split file; `folder` is 'files/p10/p10000032/s50414267'."""

    split: str
    folder: PurePosixPath
    images: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """The study's id, as 's50414267'."""
        return self.folder.name

    @property
    def patient(self) -> str:
        """The patient's, as 'p10000032'."""
        return self.folder.parent.name


@dataclass(frozen=True, slots=True)
class Taken:
    """How and when an image was taken; `time` sorts, and is '' where the table does not tell."""

    position: Position
    time: str


@dataclass(frozen=True, slots=True)
class Folders:
    """Where to look for what: all folders, and those that hold a tree of patients, `files`."""

    root: Path
    all: tuple[Path, ...]
    trees: tuple[Path, ...]


def find_folders(root: Path) -> Folders:
    """The folders at and below `root`, not looking into patients.

    Raises:
        DataError: `root` is not a folder.
    """
    if not root.is_dir():
        raise DataError(f"mimic-cxr: no folder {root}; pass the folder of the images with --root")
    found = tuple(_folders(root, _DEPTH))
    return Folders(root, found, tuple(path for path in found if (path / "files").is_dir()))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    for path in sorted(folder.iterdir()) if depth else ():
        if path.is_dir() and not _PATIENTS_AND_STUDIES.fullmatch(path.name):
            yield from _folders(path, depth - 1)


def find_table(folders: Folders, what: str) -> Path:
    """The table 'split' or 'metadata'.

    Raises:
        DataError: it is not there.
    """
    for folder in folders.all:
        for path in sorted(folder.glob(f"mimic-cxr-*-{what}.csv*")):
            return path
    raise DataError(
        f"mimic-cxr: no mimic-cxr-2.0.0-{what}.csv.gz in {folders.root}; download it from "
        "https://physionet.org/content/mimic-cxr-jpg and pass its folder with --root"
    )


def read_split(path: Path) -> dict[str, Listed]:
    """The studies of the split file by id, in its order.

    Raises:
        DataError: it cannot be read, a study is in two splits, an image is listed twice.
    """
    listed: dict[str, Listed] = {}
    images: set[str] = set()
    for line, row in read_csv(path, ("dicom_id", "study_id", "subject_id", "split")):
        where = f"{path} line {line}"
        image, study, patient = row["dicom_id"], f"s{row['study_id']}", f"p{row['subject_id']}"
        split = _SPLITS.get(row["split"])
        if split is None:
            raise DataError(f"{where}: split '{row['split']}'; use train, validate or test")
        if image in images:
            raise DataError(f"{where}: image {image} occurs twice; remove one of the rows")
        images.add(image)
        folder = PurePosixPath("files", patient[:3], patient, study)
        known = listed.setdefault(study, Listed(split, folder))
        if (known.split, known.folder) != (split, folder):
            raise DataError(f"{where}: study {study} is in another split or of another patient too")
        known.images.append(image)
    return listed


def read_metadata(path: Path) -> dict[str, Taken]:
    """What the metadata say of each image, by its id.

    Raises:
        DataError: it cannot be read.
    """
    return {
        row["dicom_id"]: Taken(
            POSITIONS.get(row["ViewPosition"].strip().upper(), Position.UNKNOWN),
            _time(row.get("StudyDate", ""), row.get("StudyTime", "")),
        )
        for _, row in read_csv(path, ("dicom_id", "ViewPosition"))
    }


def _time(date: str, time: str) -> str:
    """'21800723 080556.875' of '21800723' and '80556.875': the table drops zeros in front."""
    day, clock = _DATE.fullmatch(date.strip()), _TIME.fullmatch(time.strip())
    return f"{day[0]} {clock[1].zfill(6)}.{clock[2] or ''}" if day and clock else ""


def span_of(study: Listed, taken: Mapping[str, Taken]) -> Span | None:
    """When a study was made, if that is known of all its images."""
    times = [taken[image].time if image in taken else "" for image in study.images]
    return Span(min(times), max(times)) if times and all(times) else None


def images_of(study: Listed, trees: Sequence[Path]) -> dict[str, Path]:
    """The images in a study's folders, by their id."""
    found: dict[str, Path] = {}
    for tree in trees:
        folder = tree / study.folder
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(path.stem, path)
    return found


@contextmanager
def reports(folders: Folders) -> Generator[Callable[[Listed], Report | None]]:
    """Finds the report of a study: in the unpacked trees, else in the packed archive.

    Raises:
        DataError: the archive is damaged, or a report that is read.
    """
    archives = [path for folder in folders.all if (path := folder / ARCHIVE).is_file()]
    nothing: Mapping[str, Report] = {}
    with _unpacking(archives[0]) if archives else nullcontext(nothing) as packed:

        def find(study: Listed) -> Report | None:
            for tree in folders.trees:
                path = tree / study.folder.with_suffix(".txt")
                if path.is_file():
                    return lambda: _decoded(path.read_bytes(), str(path))
            return packed.get(study.name)

        yield find


@contextmanager
def _unpacking(archive: Path) -> Generator[Mapping[str, Report]]:
    """The readers of an archive's reports, by study."""

    def reader(name: str) -> Report:
        return lambda: _decoded(packed.read(name), f"{archive}:{name}")

    try:
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.endswith(".txt")]
            yield {PurePosixPath(name).stem: reader(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); download it again") from None


def _decoded(report: bytes, where: str) -> str:
    try:
        return report.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 ({error.reason}); download it again") from None
