"""The files IU X-Ray comes in: where they are below a folder, and what each of them says."""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

from mrg_r1.data.rows import read_csv
from mrg_r1.data.study import Position
from mrg_r1.errors import DataError
from mrg_r1.records import read_json

ANNOTATION = "annotation.json"
REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
ARCHIVE = "NLMCXR_reports.tgz"
SPLITS = ("train", "val", "test")

_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
_IMAGE = re.compile(r"(?:CXR)?(\d+)_(?:\1_)?(IM-[\w-]+)", re.ASCII)
_STUDY = re.compile(r"CXR\d+_", re.ASCII)
_XML = re.compile(r"\d+\.xml", re.ASCII)


@dataclass(frozen=True, slots=True)
class Report:
    """What the reports say of one study; `images` are keys (see `image_key`) with positions."""

    findings: str = ""
    impression: str = ""
    indication: str = ""
    images: Mapping[str, Position] = field(default_factory=dict[str, Position])

    def completed_by(self, other: Report) -> Report:
        """This report with what it lacks taken from another."""
        return Report(
            findings=self.findings or other.findings,
            impression=self.impression or other.impression,
            indication=self.indication or other.indication,
            # Twice: once for the order of the keys, once for the positions to prevail.
            images={**self.images, **other.images, **self.images},
        )


@dataclass(frozen=True, slots=True)
class Annotated:
    """One entry of `annotation.json`; `images` are its paths without suffix."""

    id: str
    uid: str
    split: str
    findings: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """What one walk over a folder found.

    `images` holds the images named after their uid, by uid and key; `numbered` R2Gen's copies,
    as '<study>/<number>'; `repeated` the files whose image was found under a preferred name.
    """

    root: Path
    sources: Mapping[str, Path]
    xmls: tuple[Path, ...]
    images: Mapping[str, Mapping[str, Path]]
    numbered: Mapping[str, Path]
    repeated: tuple[Path, ...]


def image_key(name: str) -> tuple[str, str] | None:
    """The uid and the key of an image file's name or XML id, None when it is not one of IU's.

    Names differ by prefix and suffix: '1_IM-0001-4001.dcm.png', '1_IM-0001-4001.dcm' and
    'CXR1_1_IM-0001-4001' are one image, '1_IM-0001-4001' of uid '1'.
    """
    match = _IMAGE.fullmatch(name.split(".", 1)[0])
    return (match[1], f"{match[1]}_{match[2]}") if match else None


def walk(root: Path) -> Tree:
    """Looks through a folder once; of two files of one image, PNG is preferred, then JPEG.

    Raises:
        DataError: `root` is not a folder, or holds two files of one source.
    """
    if not root.is_dir():
        raise DataError(f"iu-xray: no folder {root}; pass the folder of the reports with --root")
    files = sorted(_files(root), key=_preference)
    sources: dict[str, Path] = {}
    images: dict[str, dict[str, Path]] = {}
    numbered: dict[str, Path] = {}
    repeated: list[Path] = []
    for path in files:
        if path.name in (ANNOTATION, REPORTS, PROJECTIONS, ARCHIVE):
            if path.name in sources:
                raise DataError(
                    f"iu-xray: both {sources[path.name]} and {path}; pass the folder of one of them"
                )
            sources[path.name] = path
        elif path.suffix.lower() in _SUFFIXES:
            key = image_key(path.name)
            if key and images.setdefault(key[0], {}).setdefault(key[1], path) != path:
                repeated.append(path)
            copy = f"{path.parent.name}/{path.stem}"
            if not key and _STUDY.match(copy) and numbered.setdefault(copy, path) != path:
                repeated.append(path)
    xmls = tuple(path for path in files if _XML.fullmatch(path.name))
    return Tree(root, sources, xmls, images, numbered, tuple(repeated))


def _files(root: Path) -> Iterator[Path]:
    """Every file below a folder, through links, without hidden files and resource forks."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else [n for n in folders if n != "__MACOSX"]
        if real not in seen:
            yield from (Path(folder, name) for name in names if not name.startswith("."))
        seen.add(real)


def _preference(path: Path) -> tuple[int, str]:
    suffix = path.suffix.lower()
    return (_SUFFIXES.index(suffix) if suffix in _SUFFIXES else -1, str(path))


def read_reports(tree: Tree) -> dict[str, Report]:
    """Reports by uid, in the order of the uids; the CSV files first, completed by the XML files.

    Raises:
        DataError: a file cannot be read, or a uid occurs twice in one source.
    """
    csvs, xmls = _read_csvs(tree), _read_xmls(tree)
    return {
        uid: csvs.get(uid, Report()).completed_by(xmls.get(uid, Report()))
        for uid in sorted(csvs.keys() | xmls.keys(), key=int)
    }


def _read_csvs(tree: Tree) -> dict[str, Report]:
    images: dict[str, dict[str, Position]] = {}
    if PROJECTIONS in tree.sources:
        images = _read_projections(tree.sources[PROJECTIONS])
    if REPORTS not in tree.sources:
        return {uid: Report(images=views) for uid, views in images.items()}
    reports: dict[str, Report] = {}
    path = tree.sources[REPORTS]
    for line, row in read_csv(path, ("uid", "findings", "impression", "indication")):
        uid = _uid(row["uid"], f"{path} line {line}")
        if uid in reports:
            raise DataError(f"{path} line {line}: uid {uid} occurs twice; remove one of the rows")
        reports[uid] = Report(
            findings=row["findings"].strip(),
            impression=row["impression"].strip(),
            indication=row["indication"].strip(),
            images=images.pop(uid, {}),
        )
    return reports | {uid: Report(images=views) for uid, views in images.items()}


def _read_projections(path: Path) -> dict[str, dict[str, Position]]:
    images: dict[str, dict[str, Position]] = {}
    for line, row in read_csv(path, ("uid", "filename", "projection")):
        where = f"{path} line {line}"
        uid, name = _uid(row["uid"], where), row["filename"].strip()
        key = image_key(name)
        if key is None or key[0] != uid:
            raise DataError(f"{where}: '{name}' is no image of uid {uid}; write <uid>_IM-...png")
        if key[1] in images.setdefault(uid, {}):
            raise DataError(f"{where}: image {name} occurs twice; remove one of the rows")
        images[uid][key[1]] = _position(row["projection"], where)
    return images


def _position(projection: str, where: str) -> Position:
    try:
        return Position(projection.strip().lower() or "unknown")
    except ValueError:
        raise DataError(f"{where}: projection '{projection}'; use Frontal or Lateral") from None


def _uid(text: str, where: str) -> str:
    uid = text.strip()
    if not (uid.isascii() and uid.isdigit()):
        raise DataError(f"{where}: uid '{uid}'; a uid is a whole number, as in 'CXR1'")
    return uid


def _read_xmls(tree: Tree) -> dict[str, Report]:
    reports: dict[str, Report] = {}
    origin: dict[str, str] = {}
    for name, document in _xml_documents(tree):
        uid, report = _parse_xml(name, document)
        if uid in reports:
            raise DataError(f"{name}: uid {uid} is in {origin[uid]} too; remove one of the files")
        reports[uid], origin[uid] = report, name
    return reports


def _xml_documents(tree: Tree) -> Iterator[tuple[str, bytes]]:
    """The XML files of the folder, or, when there is none, those of the packed archive."""
    if tree.xmls or ARCHIVE not in tree.sources:
        for path in tree.xmls:
            yield str(path), path.read_bytes()
        return
    archive = tree.sources[ARCHIVE]
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file and _XML.fullmatch(member.name.rsplit("/", 1)[-1]):
                    yield f"{archive}:{member.name}", file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); download it again") from None


def _parse_xml(name: str, document: bytes) -> tuple[str, Report]:
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise DataError(f"{name}: not XML ({error}); download it again") from None
    identity = root.find("uId")
    if identity is None:
        raise DataError(f"{name}: no uId, so no Open-i report; move it out of the folder")
    sections: dict[str, list[str]] = {}
    for text in root.iter("AbstractText"):
        sections.setdefault(text.get("Label", ""), []).append("".join(text.itertext()).strip())
    keys = (image_key(image.get("id", "")) for image in root.iter("parentImage"))
    return _uid(identity.get("id", "").removeprefix("CXR"), name), Report(
        findings=" ".join(sections.get("FINDINGS", ())).strip(),
        impression=" ".join(sections.get("IMPRESSION", ())).strip(),
        indication=" ".join(sections.get("INDICATION", ())).strip(),
        images={key[1]: Position.UNKNOWN for key in keys if key},
    )


def read_annotation(path: Path) -> dict[str, Annotated]:
    """The entries of R2Gen's `annotation.json` by id, in its order.

    Raises:
        DataError: the file is not of that form, or a study occurs twice.
    """
    document: Any = read_json(path)
    annotated: dict[str, Annotated] = {}
    uids: dict[str, str] = {}
    for split in SPLITS:
        for number, entry in enumerate(_entries(path, document, split), start=1):
            study = _parse_entry(entry, split, f"{path} {split} entry {number}")
            if study.uid in uids:
                raise DataError(
                    f"{path} {split} entry {number}: {study.id} has the uid of "
                    f"{uids[study.uid]}; remove one of them"
                )
            annotated[study.id], uids[study.uid] = study, study.id
    return annotated


def _entries(path: Path, document: Any, split: str) -> list[Any]:
    try:
        entries = document[split]
    except (KeyError, TypeError, IndexError):
        entries = None
    if not isinstance(entries, list):
        raise DataError(f"{path}: no list '{split}'; take the annotation.json of R2Gen's IU X-Ray")
    return cast("list[Any]", entries)


def _parse_entry(entry: Any, split: str, where: str) -> Annotated:
    try:
        name, report, paths = entry["id"], entry["report"], entry["image_path"]
        return Annotated(
            id=name,
            uid=_uid(name.removeprefix("CXR").split("_", 1)[0], where),
            split=split,
            findings=report.strip(),
            images=tuple(path.rsplit(".", 1)[0] for path in paths),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: {error!r}; an entry holds the texts id and report and the list image_path"
        ) from None
