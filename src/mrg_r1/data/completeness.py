"""What is missing of a data set in a folder: files that its own tables list."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mrg_r1.data import iu_xray
from mrg_r1.data.iu_sources import ANNOTATION, PROJECTIONS, walk
from mrg_r1.data.mimic_files import (
    ARCHIVE,
    Folders,
    Listed,
    find_folders,
    find_table,
    images_of,
    read_split,
    reports,
)
from mrg_r1.data.rows import read_csv
from mrg_r1.errors import ConfigError, DataError

OnProgress = Callable[[int, int], None]

CHECKSUMS = "SHA256SUMS.txt"

_JPG = "https://physionet.org/files/mimic-cxr-jpg/2.1.0/"
_WGET = f"wget -r -N -c -np --user NAME --ask-password {_JPG}"


@dataclass(frozen=True, slots=True)
class Part:
    """What a folder should hold, how much of it is there, and how to get the rest.

    `missing` are names; `needed` tells whether studies cannot be read without them.
    """

    name: str
    found: int
    expected: int
    missing: tuple[str, ...] = ()
    remedy: str = ""
    needed: bool = True


def check(source: str, root: Path, on_progress: OnProgress) -> list[Part]:
    """The parts of a data set in a folder; complete where no part misses anything.

    Raises:
        ConfigError: the source has no list of its files.
        DataError: `root` is not a folder, or a table in it is damaged.
    """
    if source == "mimic-cxr":
        return list(_mimic(find_folders(root), on_progress))
    if source == "iu-xray":
        return list(_iu(root))
    raise ConfigError(f"data: {source} has no list of its files; leave out --check")


def _mimic(folders: Folders, on_progress: OnProgress) -> Iterator[Part]:
    tables = {what: _table(folders, what) for what in ("split", "metadata")}
    for what, path in tables.items():
        name = f"mimic-cxr-2.0.0-{what}.csv.gz"
        found = path is not None
        yield Part(name, found, 1, () if found else (name,), f"download {_JPG}{name}")
    split = read_split(tables["split"]) if tables["split"] else None
    described = _described(tables["metadata"]) if tables["metadata"] else None
    if split and described is not None:
        yield _both(split, described)
    listed = split or _by_study(described or {})
    if listed:
        yield _images(folders, listed, on_progress)
        yield _reports(folders, listed)


def _table(folders: Folders, what: str) -> Path | None:
    try:
        return find_table(folders, what)
    except DataError:
        return None


def _described(path: Path) -> dict[str, PurePosixPath]:
    """The folder of each image, by what the metadata say."""
    return {
        row["dicom_id"]: PurePosixPath("files", f"p{row['subject_id']}"[:3])
        / f"p{row['subject_id']}"
        / f"s{row['study_id']}"
        for _, row in read_csv(path, ("dicom_id", "study_id", "subject_id"))
    }


def _by_study(described: Mapping[str, PurePosixPath]) -> dict[str, Listed]:
    listed: dict[str, Listed] = {}
    for image, folder in described.items():
        listed.setdefault(folder.name, Listed("", folder)).images.append(image)
    return listed


def _both(split: Mapping[str, Listed], described: Mapping[str, PurePosixPath]) -> Part:
    images = [image for study in split.values() for image in study.images]
    absent = tuple(image for image in images if image not in described)
    remedy = "take both tables of one release"
    return Part(
        "images of split in metadata", len(images) - len(absent), len(images), absent, remedy
    )


def _images(folders: Folders, listed: Mapping[str, Listed], on_progress: OnProgress) -> Part:
    """The images of the studies listed; an empty file is none."""
    missing: list[str] = []
    for done, study in enumerate(listed.values(), start=1):
        there = images_of(study, folders.trees)
        missing += (
            f"{study.folder}/{image}.jpg"
            for image in study.images
            if image not in there or not there[image].stat().st_size
        )
        on_progress(done, len(listed))
    total = sum(len(study.images) for study in listed.values())
    return Part("images", total - len(missing), total, tuple(missing), f"go on with: {_WGET}")


def _reports(folders: Folders, listed: Mapping[str, Listed]) -> Part:
    try:
        with reports(folders) as find:
            missing = tuple(
                f"{study.folder}.txt" for study in listed.values() if find(study) is None
            )
    except DataError as damage:
        return Part("reports", 0, len(listed), (ARCHIVE,), str(damage))
    remedy = f"download {ARCHIVE} of https://physionet.org/content/mimic-cxr"
    return Part("reports", len(listed) - len(missing), len(listed), missing, remedy)


def check_sums(root: Path, on_progress: OnProgress) -> Part:
    """The files that are there and have a checksum, and those that are not what it says.

    Raises:
        DataError: `root` is not a folder, or there are no checksums, or no file of theirs.
    """
    sums = [(path, hash_) for folder in find_folders(root).all for path, hash_ in _sums(folder)]
    if not sums:
        raise DataError(f"{root}: no {CHECKSUMS} with a file that is here; download it from {_JPG}")
    damaged: list[str] = []
    for done, (path, hash_) in enumerate(sums, start=1):
        if _sha256(path) != hash_:
            damaged.append(str(path.relative_to(root)))
        on_progress(done, len(sums))
    remedy = f"remove the damaged files and go on with: {_WGET}"
    return Part(
        f"files as in {CHECKSUMS}", len(sums) - len(damaged), len(sums), tuple(damaged), remedy
    )


def _sums(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of a folder's list that are there, with their checksums."""
    listing = folder / CHECKSUMS
    for line in listing.read_text("utf-8").splitlines() if listing.is_file() else ():
        hash_, _, name = line.partition(" ")
        path = folder / name.strip().lstrip("*")
        if name and path.is_file():
            yield path, hash_.lower()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iu(root: Path) -> Iterator[Part]:
    sources = walk(root).sources
    loaded = iu_xray.load(root, images_needed=False)
    bare = tuple(study.id for study in loaded.studies if not study.views)
    count = len(loaded.studies)
    images = sum(len(study.views) for study in loaded.studies)
    gone = {left.reason: left.ids for left in loaded.left_out}.get(iu_xray.IMAGE_MISSING, ())
    unpack = "unpack NLMCXR_png.tgz of https://openi.nlm.nih.gov there"
    yield Part("reports", count, count)
    yield Part("studies with an image", count - len(bare), count, bare, unpack)
    yield Part("images of these studies", images, images + len(gone), gone, unpack)
    for name, use in ((ANNOTATION, "R2Gen's split"), (PROJECTIONS, "which views are frontal")):
        found = name in sources
        missing = () if found else (name,)
        yield Part(name, found, 1, missing, f"without it nothing tells {use}", needed=False)
