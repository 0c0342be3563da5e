"""MIMIC-CXR's files as tests write them: its form, with texts of our own."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval for
 infection

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  RIGHT LUNG: no effusion
 at 1.5 cm.

 IMPRESSION:

 No acute process.
"""

# (image, study, patient, split, view position)
ROWS = [
    ("aa", "50000001", "10000001", "train", "PA"),
    ("ab", "50000001", "10000001", "train", "LATERAL"),
    ("ac", "50000001", "10000001", "train", "AP LLD"),
    ("ba", "50000002", "10000001", "validate", "AP"),
    ("ca", "50000003", "11000002", "test", ""),
]


def write(
    root: Path,
    rows: Sequence[tuple[str, str, str, str, str]] = ROWS,
    *,
    reports: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    archive: bool = False,
    packed_tables: bool = True,
    times: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Writes MIMIC-CXR-JPG's files for these rows, with one report for each study.

    `times` are StudyDate and StudyTime by image; those of all are alike where it is not given.
    """
    split = "dicom_id,study_id,subject_id,split\n"
    metadata = "dicom_id,subject_id,study_id,ViewPosition,Rows,StudyDate,StudyTime\n"
    texts: dict[str, str] = {}
    for image, study, patient, part, position in rows:
        split += f"{image},{study},{patient},{part}\n"
        date, time = (times or {}).get(image, ("21800506", "213014.531"))
        metadata += f"{image},{patient},{study},{position},3056,{date},{time}\n"
        folder = f"files/p{patient[:2]}/p{patient}/s{study}"
        texts[f"{folder}.txt"] = (reports or {}).get(study, REPORT)
        if image not in without:
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{image}.jpg").write_bytes(b"x")
    for name, table in (("split", split), ("metadata", metadata)):
        path = root / f"mimic-cxr-2.0.0-{name}.csv"
        if packed_tables:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(table.encode()))
        else:
            path.write_text(table, encoding="utf-8")
    texts = {name: text for name, text in texts.items() if text}
    if archive:
        with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w") as packed:
            for name, text in texts.items():
                packed.writestr(name, text)
    for name, text in () if archive else texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
