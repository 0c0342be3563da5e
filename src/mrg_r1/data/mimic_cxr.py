"""MIMIC-CXR: the images of MIMIC-CXR-JPG (or MIMIC-CXR), the reports, the official split.

Below the folder, or below folders in it, are expected, named as PhysioNet serves them:

    mimic-cxr-2.0.0-split.csv[.gz]
    mimic-cxr-2.0.0-metadata.csv[.gz]
    files/p10/p10000032/s50414267/<dicom_id>.jpg
    files/p10/p10000032/s50414267.txt, or mimic-cxr-reports.zip as it is
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mrg_r1.data.positions import POSITIONS
from mrg_r1.data.rows import read_csv
from mrg_r1.data.study import LeftOut, Position, Studies, Study, View
from mrg_r1.errors import DataError

NO_REPORT = "no report"
NO_TEXT = "no findings and no impression section"
NO_IMAGE = "no image on disk"
IMAGE_MISSING = "image listed but not on disk"

_SUFFIXES = (".jpg", ".png", ".dcm")
_NO_REPORTS: Mapping[str, Callable[[], str]] = {}
_SPLITS = {"train": "train", "validate": "val", "test": "test"}

_SECTIONS = {
    "findings": ("FINDINGS", "FINDING", "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION"),
    "impression": ("IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS"),
    "indication": (
        "INDICATION",
        "INDICATIONS",
        "HISTORY",
        "CLINICAL HISTORY",
        "CLINICAL INFORMATION",
        "CLINICAL INDICATION",
        "REASON FOR EXAM",
        "REASON FOR EXAMINATION",
        "REASON FOR STUDY",
    ),
    "": (
        "EXAMINATION",
        "EXAM",
        "STUDY",
        "TECHNIQUE",
        "COMPARISON",
        "COMPARISONS",
        "RECOMMENDATION",
        "RECOMMENDATIONS",
        "NOTIFICATION",
        "ADDENDUM",
        "WET READ",
    ),
}
_SECTION_OF = {name: section for section, names in _SECTIONS.items() for name in names}
_NAMES = "|".join(re.escape(name) for name in sorted(_SECTION_OF, key=len, reverse=True))
_HEADING = re.compile(rf"^[ \t]*(?=[A-Z])((?i:{_NAMES}))(?:\(S\))?[ \t]*:", re.MULTILINE)
_FINAL = re.compile(r"^[ \t]*FINAL REPORT\s*?$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_RULE = re.compile(r"_{10,}")


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a report that studies hold, each on one line, '' where there is none."""

    findings: str
    impression: str
    indication: str


def sections(report: str) -> Sections:
    """Takes the sections out of a MIMIC-CXR report.

    - What stands before the last line 'FINAL REPORT' (a wet read, say) is not read.
    - A section begins at the start of a line with one of the names in this module and a colon,
      in capitals or with a capital first letter, and ends at the next of them. Other headings
      ('RIGHT LUNG:') belong to the section they stand in.
    - 'FINDINGS AND IMPRESSION' is findings. A section that occurs twice is joined.
    - The indication ends at its first empty line: what follows without a heading is often the
      findings, which nobody who is shown the indication may see.
    - Text under no heading is no section; such reports have no findings (ours; the official
      code takes the last paragraph).
    - White space is collapsed, ruled lines are dropped; '___' stays, it stands for a word.
    """
    final = list(_FINAL.finditer(report))
    text = report[final[-1].end() :] if final else report
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    parts: dict[str, list[str]] = defaultdict(list)
    for heading, end in zip(headings, ends, strict=False):
        section = _SECTION_OF[heading[1].upper()]
        part = _RULE.sub(" ", text[heading.end() : end]).strip()
        if section == "indication":
            part = _PARAGRAPH.split(part)[0]
        parts[section].append(" ".join(part.split()))
    return Sections(*(" ".join(filter(None, parts[f])) for f in Sections.__slots__))


def load(root: Path) -> Studies:
    """Reads the studies below a folder, in the order of the official split.

    Study ids are 's50414267', patients 'p10000032'; 'validate' is the split 'val'. PA and AP
    views are frontal, LATERAL and LL lateral, others unknown. For the sections see `sections`.

    Raises:
        DataError: split, metadata or reports are not there or cannot be read, a study is in two
            splits, an image is listed twice, or no study has both image and report.
    """
    folders = [root, *sorted(path for path in root.glob("*") if path.is_dir())]
    listed = _read_split(_table(root, folders, "split"))
    positions = _read_positions(_table(root, folders, "metadata"))
    trees = [folder for folder in folders if (folder / "files").is_dir()]
    reports = _read_reports(listed.values(), folders, trees)
    left: dict[str, list[str]] = defaultdict(list)
    studies: list[Study] = []
    for (name, study), report in zip(listed.items(), reports, strict=True):
        views, missing = _views(study, positions, trees)
        found = sections(report or "")
        if not views:
            left[NO_IMAGE].append(name)
        elif report is None:
            left[NO_REPORT].append(name)
        elif not found.findings and not found.impression:
            left[NO_TEXT].append(name)
        else:
            left[IMAGE_MISSING] += missing
            studies.append(_study(name, study, views, found))
    if not studies:
        reason = max(left, key=lambda reason: len(left[reason]), default="an empty split file")
        raise DataError(
            f"mimic-cxr: not one study below {root}: {reason}; put files/p10/... of MIMIC-CXR-JPG "
            "and mimic-cxr-reports.zip of MIMIC-CXR there"
        )
    return Studies(
        tuple(studies), tuple(LeftOut(reason, tuple(ids)) for reason, ids in left.items() if ids)
    )


def _study(name: str, study: _Listed, views: tuple[View, ...], found: Sections) -> Study:
    return Study(
        id=name,
        views=views,
        split=study.split,
        findings=found.findings,
        impression=found.impression,
        indication=found.indication,
        patient=study.folder.parent.name,
    )


@dataclass(slots=True)
class _Listed:
    """One study of the split file; `folder` is 'files/p10/p10000032/s50414267'."""

    split: str
    folder: PurePosixPath
    images: list[str] = field(default_factory=list[str])


def _table(root: Path, folders: Sequence[Path], what: str) -> Path:
    for folder in folders:
        for path in sorted(folder.glob(f"mimic-cxr-*-{what}.csv*")):
            return path
    raise DataError(
        f"mimic-cxr: no mimic-cxr-2.0.0-{what}.csv.gz in {root}; download it from "
        "https://physionet.org/content/mimic-cxr-jpg and pass its folder with --root"
    )


def _read_split(path: Path) -> dict[str, _Listed]:
    listed: dict[str, _Listed] = {}
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
        known = listed.setdefault(study, _Listed(split, folder))
        if (known.split, known.folder) != (split, folder):
            raise DataError(f"{where}: study {study} is in another split or of another patient too")
        known.images.append(image)
    return listed


def _read_positions(path: Path) -> dict[str, Position]:
    return {
        row["dicom_id"]: POSITIONS.get(row["ViewPosition"].strip().upper(), Position.UNKNOWN)
        for _, row in read_csv(path, ("dicom_id", "ViewPosition"))
    }


def _views(
    study: _Listed, positions: Mapping[str, Position], trees: Sequence[Path]
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """A study's views on disk, and its images that are not."""
    found: dict[str, Path] = {}
    for path in _files(study, trees):
        if path.suffix.lower() in _SUFFIXES:
            found.setdefault(path.stem, path)
    views = tuple(
        View(found[image], positions.get(image, Position.UNKNOWN))
        for image in study.images
        if image in found
    )
    return views, tuple(image for image in study.images if image not in found)


def _files(study: _Listed, trees: Sequence[Path]) -> Iterator[Path]:
    for tree in trees:
        folder = tree / study.folder
        if folder.is_dir():
            yield from sorted(folder.iterdir())


def _read_reports(
    listed: Iterable[_Listed], folders: Sequence[Path], trees: Sequence[Path]
) -> Iterator[str | None]:
    """The report of each study in turn: from the unpacked trees, else from the packed archive."""
    archives = [path for folder in folders if (path := folder / "mimic-cxr-reports.zip").is_file()]
    with _unpacking(archives[0]) if archives else nullcontext(_NO_REPORTS) as packed:
        for study in listed:
            paths = [tree / study.folder.with_suffix(".txt") for tree in trees]
            path = next((path for path in paths if path.is_file()), None)
            if path:
                yield _decoded(path.read_bytes(), str(path))
            else:
                member = packed.get(study.folder.name)
                yield member() if member else None


@contextmanager
def _unpacking(archive: Path) -> Generator[Mapping[str, Callable[[], str]]]:
    """The readers of an archive's reports, by study."""

    def reader(name: str) -> Callable[[], str]:
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
