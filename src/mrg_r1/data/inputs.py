"""Images as a person names them: files, folders, patterns and lists; what is made of them."""

from __future__ import annotations

import glob
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mrg_r1.data.context import given_context
from mrg_r1.data.images import image_kind
from mrg_r1.data.predictions import IMAGE_COLUMNS, PRIOR_IMAGE_COLUMNS, images
from mrg_r1.data.rows import missing_column, read_csv, read_jsonl
from mrg_r1.data.study import LeftOut, Sample
from mrg_r1.errors import DataError

Together = Literal["each", "study"]

_NO_IMAGE = "files in folders that are no image"
_NO_PIXELS = "DICOM files in folders that hold no image"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The samples, and which files of folders are none, by reason."""

    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()


def find_inputs(named: Sequence[Path], together: Together = "each") -> Inputs:
    """The samples of what was named, in its order.

    - a file is an image, whatever its name, and is not opened here;
    - a folder gives the PNG, JPEG and DICOM files in it and below it, by content, sorted by path;
    - a name with `*`, `?` or `[` that is no file is a pattern; `**` crosses folders;
    - a CSV or JSON lines file (by its name) is a list: a sample per row, its images (several parted
      by ';', relative to the list) under `image`, `images` or `image_path`, and if they are there
      `id`, `study_id`, `reference`, and for the prompt `indication`, `prior_report` and
      `prior_image`.

    Args:
        named: what was named.
        together: 'each' makes a sample of every image; 'study' of the images of a DICOM study
            (its Study Instance UID), and of other images that lie in one folder. Lists are
            followed as they are.

    Returns:
        Samples with distinct ids: those of lists as written, else the file's stem (the folder's
        name for all images of one), or the whole path where these collide.

    Raises:
        DataError: a pattern without a match, a folder without an image, a damaged list, or an id
            that occurs twice.
    """
    left: dict[str, list[str]] = defaultdict(list)
    rows: list[Sample] = []
    files: dict[Path, None] = {}
    for path in named:
        if _is_list(path):
            rows += _listed(path)
        else:
            files |= dict.fromkeys(_files(path, left))
    groups = [(path,) for path in files] if together == "each" else list(_studies(files))
    made = [*_named(groups), *rows]
    for id_, count in Counter(sample.id for sample in made).items():
        if count > 1:
            raise DataError(f"generate: id {id_} occurs {count} times; give each row its own")
    return Inputs(tuple(made), tuple(LeftOut(why, tuple(ids)) for why, ids in left.items()))


def _files(path: Path, left: dict[str, list[str]]) -> Iterator[Path]:
    if path.is_dir():
        found = list(_in_folder(path, left))
        if not found:
            raise DataError(f"{path}: no PNG, JPEG or DICOM image in this folder")
        yield from found
    elif path.exists() or not glob.has_magic(str(path)):
        yield path
    else:
        # `Path.glob` takes no absolute pattern.
        names = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
        matches = sorted(match for match in names if match.is_file())
        if not matches:
            raise DataError(f"{path}: no file matches this pattern")
        yield from matches


def _in_folder(folder: Path, left: dict[str, list[str]]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        kind = image_kind(path)
        if not kind:
            left[_NO_IMAGE].append(str(path))
        elif kind == "DICOM" and not _has_pixels(path):
            left[_NO_PIXELS].append(str(path))
        else:
            yield path


def _has_pixels(path: Path) -> bool:
    """Whether a DICOM file has an image: reports and directories lie beside images in exports."""
    from mrg_r1.data.dicom import read_header

    try:
        return "Rows" in read_header(path)
    except Exception:
        # A file that says it is DICOM and cannot be read is named as such when it is its turn.
        return True


def _studies(files: Iterable[Path]) -> Iterator[tuple[Path, ...]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        groups[_study_of(path)].append(path)
    yield from map(tuple, groups.values())


def _study_of(path: Path) -> str:
    """The Study Instance UID of a DICOM file, else its folder."""
    from mrg_r1.data.dicom import read_header

    if image_kind(path) == "DICOM":
        try:
            return str(read_header(path).get("StudyInstanceUID") or path.parent)
        except Exception:
            return str(path)  # damaged: by itself, so that it takes no other image with it
    return str(path.parent)


def _named(groups: Sequence[tuple[Path, ...]]) -> Iterator[Sample]:
    """Samples of groups of files, named after the file, or after the folder of several."""
    firsts = [group[0] for group in groups]
    bases = [
        first.parent if len(group) > 1 else first
        for first, group in zip(firsts, groups, strict=True)
    ]
    clashing = {base for base, count in Counter(bases).items() if count > 1}
    bases = [first if base in clashing else base for first, base in zip(firsts, bases, strict=True)]
    names = [base.name if base.is_dir() else base.stem for base in bases]
    often = Counter(names)
    for base, name, group in zip(bases, names, groups, strict=True):
        id_ = name if name and often[name] == 1 else str(base)
        yield Sample(id=id_, study_id=id_, images=group, reference="")


def _is_list(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".csv", ".jsonl", ".ndjson"))


def _listed(path: Path) -> Iterator[Sample]:
    csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    for line, row in read_csv(path) if csv else read_jsonl(path):
        where = f"{path} line {line}"
        if not any(column in row for column in IMAGE_COLUMNS):
            raise DataError(f"{where}: {missing_column(IMAGE_COLUMNS[1], list(row))}")
        files = tuple(path.parent / name.strip() for name in images(row) if name.strip())
        if not files:
            raise DataError(f"{where}: no image; write its path, or remove the row")
        before = tuple(
            path.parent / name.strip() for name in images(row, PRIOR_IMAGE_COLUMNS) if name.strip()
        )
        id_ = str(row.get("id") or "").strip() or files[0].stem
        study, reference = str(row.get("study_id") or id_), str(row.get("reference") or "")
        why, last = str(row.get("indication") or ""), str(row.get("prior_report") or "")
        context = given_context(why, last, len(before))
        yield Sample(id_, study, (*files, *before), reference, context)
