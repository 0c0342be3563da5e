"""MIMIC-CXR: the images of MIMIC-CXR-JPG (or MIMIC-CXR), the reports, the official split.

Below the folder, or below folders in it, are expected, named as PhysioNet serves them:

    mimic-cxr-2.0.0-split.csv[.gz]
    mimic-cxr-2.0.0-metadata.csv[.gz]
    files/p10/p10000032/s50414267/<dicom_id>.jpg
    files/p10/p10000032/s50414267.txt, or mimic-cxr-reports.zip as it is
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from mrg_r1.data.mimic_files import (
    Listed,
    Taken,
    find_folders,
    find_table,
    images_of,
    read_metadata,
    read_split,
    reports,
    span_of,
)
from mrg_r1.data.mimic_sections import Sections, sections
from mrg_r1.data.priors import with_priors
from mrg_r1.data.study import LeftOut, Position, Studies, Study, View
from mrg_r1.errors import DataError

NO_REPORT = "no report"
NO_TEXT = "no findings and no impression section"
NO_IMAGE = "no image on disk"
IMAGE_MISSING = "image listed but not on disk"


def load(
    root: Path, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Studies:
    """Reads the studies below a folder, in the order of the official split.

    Study ids are 's50414267', patients 'p10000032'; 'validate' is the split 'val'. PA and AP
    views are frontal, LATERAL and LL lateral, others unknown. For the sections see
    `mimic_sections`, for previous studies, by StudyDate and StudyTime, `priors`.

    Args:
        root: the folder.
        on_progress: told how many studies of how many are read.

    Raises:
        DataError: split, metadata or reports are not there or cannot be read, a study is in two
            splits, an image is listed twice, or no study has both image and report.
    """
    folders = find_folders(root)
    listed = read_split(find_table(folders, "split"))
    taken = read_metadata(find_table(folders, "metadata"))
    left: dict[str, list[str]] = defaultdict(list)
    studies: list[Study] = []
    on_progress(0, len(listed))
    with reports(folders) as find:
        for done, study in enumerate(listed.values(), start=1):
            views, missing = _views(study, taken, images_of(study, folders.trees))
            read = find(study)
            found = sections(read() if read else "")
            if not views:
                left[NO_IMAGE].append(study.name)
            elif read is None:
                left[NO_REPORT].append(study.name)
            elif not found.findings and not found.impression:
                left[NO_TEXT].append(study.name)
            else:
                left[IMAGE_MISSING] += missing
                studies.append(_study(study, views, found))
            on_progress(done, len(listed))
    if not studies:
        reason = max(left, key=lambda reason: len(left[reason]), default="an empty split file")
        raise DataError(
            f"mimic-cxr: not one study below {root}: {reason}; put files/p10/... of MIMIC-CXR-JPG "
            "and mimic-cxr-reports.zip of MIMIC-CXR there, and see what is missing with: "
            f"mrg-r1 data mimic-cxr --root {root} --check"
        )
    spans = {name: span for name, study in listed.items() if (span := span_of(study, taken))}
    return Studies(
        tuple(with_priors(studies, spans)),
        tuple(LeftOut(reason, tuple(ids)) for reason, ids in left.items() if ids),
    )


def _study(study: Listed, views: tuple[View, ...], found: Sections) -> Study:
    return Study(
        id=study.name,
        views=views,
        split=study.split,
        findings=found.findings,
        impression=found.impression,
        indication=found.indication,
        patient=study.patient,
    )


def _views(
    study: Listed, taken: Mapping[str, Taken], found: Mapping[str, Path]
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """A study's views on disk, and its images that are not."""
    unknown = Taken(Position.UNKNOWN, "")
    views = tuple(
        View(found[image], taken.get(image, unknown).position)
        for image in study.images
        if image in found
    )
    return views, tuple(image for image in study.images if image not in found)
