"""IU X-Ray (Open-i, Indiana University) in any of the forms it circulates in.

- The Open-i archive: `NLMCXR_reports.tgz` or its unpacked `ecgen-radiology/N.xml`.
- Two CSV files: `indiana_reports.csv` and `indiana_projections.csv`.
- R2Gen's `annotation.json`.

When several are there they complete one another. `annotation.json` decides which studies there
are, their split and their findings; impression, indication and view positions come from the CSV
files, and what those lack from the XML files, which know no positions.

Without `annotation.json` every study is read and split 70/10/20 by a hash of its id (the paper,
section IV, states the proportions, not the members). A study's split depends on its uid and the
seed alone, so it is the same on every machine and in every subset.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mrg_r1.data.iu_sources import (
    ANNOTATION,
    ARCHIVE,
    PROJECTIONS,
    REPORTS,
    Annotated,
    Report,
    Tree,
    read_annotation,
    read_reports,
    walk,
)
from mrg_r1.data.study import LeftOut, Position, Studies, Study, View
from mrg_r1.errors import DataError

NO_TEXT = "no findings and no impression"
NO_IMAGE = "no image on disk"
NOT_ANNOTATED = "not in annotation.json"
IMAGE_MISSING = "image listed but not on disk"
IMAGE_REPEATED = "second file of the same image"
IMAGE_UNKNOWN = "image of no known study"


def load(root: Path, *, images_needed: bool = True, split_seed: int = 0) -> Studies:
    """Reads the studies below a folder.

    Study ids are those of `annotation.json` ('CXR2384_IM-0942') where it is, else 'CXR<uid>';
    the patient is the uid. Images are found by name anywhere below the folder, whatever their
    suffix: '1_IM-0001-4001.dcm.png' may be stored as '1_IM-0001-4001.dcm.jpg', as
    'CXR1_1_IM-0001-4001.png' or as a DICOM file. Where a study has none of them, R2Gen's
    numbered copies ('CXR2384_IM-0942/0.png') are its views, of unknown position.

    Args:
        root: the folder that holds reports and images.
        images_needed: leave out studies without an image on disk; False keeps them, without
            views, for work on reports alone.
        split_seed: the seed of the hash that splits studies when there is no `annotation.json`.

    Raises:
        DataError: no known source below `root`, a file that cannot be read, two studies of one
            id, or images needed and not one of them found.
    """
    tree = walk(root)
    reports = read_reports(tree)
    found = ANNOTATION in tree.sources
    annotated = read_annotation(tree.sources[ANNOTATION]) if found else {}
    if not reports and not annotated:
        sources = (ANNOTATION, REPORTS, PROJECTIONS, ARCHIVE, "ecgen-radiology/N.xml")
        raise DataError(
            f"iu-xray: no {', no '.join(sources)} below {root}; unpack NLMCXR_reports.tgz "
            "and NLMCXR_png.tgz of https://openi.nlm.nih.gov into a folder and pass it with --root"
        )
    studies = _annotated_studies(annotated, reports) if found else _all_studies(reports, split_seed)
    left: dict[str, list[str]] = defaultdict(list)
    kept: list[Study] = []
    for study in studies:
        numbered = annotated[study.id].images if found else ()
        views, missing = _views(study.patient, reports.get(study.patient, Report()), numbered, tree)
        if not study.findings and not study.impression:
            left[NO_TEXT].append(study.id)
        elif images_needed and not views:
            left[NO_IMAGE].append(study.id)
        else:
            kept.append(replace(study, views=views))
            left[IMAGE_MISSING] += missing if views else ()
    if left[NO_IMAGE] and not kept:
        raise DataError(
            f"iu-xray: {len(studies)} reports but not one of their images below {root}; unpack "
            "NLMCXR_png.tgz there"
        )
    known = {study.patient for study in studies}
    left[NOT_ANNOTATED] = [f"CXR{uid}" for uid in reports if uid not in known]
    left[IMAGE_REPEATED] = [str(path.relative_to(root)) for path in tree.repeated]
    strangers = tree.images.keys() - known - reports.keys()
    left[IMAGE_UNKNOWN] = sorted(key for uid in strangers for key in tree.images[uid])
    return Studies(
        tuple(kept), tuple(LeftOut(reason, tuple(ids)) for reason, ids in left.items() if ids)
    )


def _annotated_studies(
    annotated: Mapping[str, Annotated], reports: Mapping[str, Report]
) -> list[Study]:
    """The studies of `annotation.json` without their views, in its order."""
    return [
        replace(_study(entry.id, entry.uid, entry.split, report), findings=entry.findings)
        for entry in annotated.values()
        for report in (reports.get(entry.uid, Report()),)
    ]


def _all_studies(reports: Mapping[str, Report], seed: int) -> list[Study]:
    """Every study without its views, in the order of the uids."""
    return [
        _study(f"CXR{uid}", uid, _hash_split(uid, seed), report) for uid, report in reports.items()
    ]


def _study(name: str, uid: str, split: str, report: Report) -> Study:
    return Study(
        id=name,
        views=(),
        split=split,
        findings=report.findings,
        impression=report.impression,
        indication=report.indication,
        patient=uid,
    )


def _hash_split(uid: str, seed: int) -> str:
    """70 % train, 10 % val, 20 % test, by the SHA-256 of seed and uid."""
    digest = hashlib.sha256(f"{seed}:CXR{uid}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return "train" if share < 0.7 else "val" if share < 0.8 else "test"


def _views(
    uid: str, report: Report, numbered: tuple[str, ...], tree: Tree
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """A study's views on disk, in the listed order, then those no source lists; and what misses."""
    images = tree.images.get(uid, {})
    if not images:
        views = tuple(View(tree.numbered[name]) for name in numbered if name in tree.numbered)
        return views, tuple(name for name in numbered if name not in tree.numbered)
    listed = report.images
    keys = [key for key in listed if key in images]
    keys += sorted(key for key in images if key not in listed)
    views = tuple(View(images[key], listed.get(key, Position.UNKNOWN)) for key in keys)
    return views, tuple(key for key in listed if key not in images)
