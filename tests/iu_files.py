"""IU X-Ray's files as tests write them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from mrg_r1.data.study import Studies

REPORT_COLUMNS = ("uid", "MeSH", "indication", "findings", "impression")
QUOTED = 'Lungs are clear, XXXX "clear".\nNo effusion.'


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), 128).save(path, "PNG")
    return path


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_csvs(
    root: Path, reports: Sequence[Sequence[str]], projections: Sequence[Sequence[str]]
) -> None:
    write_csv(root / "indiana_reports.csv", REPORT_COLUMNS, reports)
    write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), projections)


def xml(uid: str, findings: str, impression: str = "", images: Sequence[str] = ()) -> str:
    parents = "".join(f'<parentImage id="{name}"/>' for name in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{uid}"/><Abstract>'
        f'<AbstractText Label="INDICATION">cough &amp; fever</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract>'
        f"{parents}</eCitation>"
    )


def write_annotation(root: Path, **splits: Sequence[Mapping[str, object]]) -> None:
    document = {split: list(splits.get(split, ())) for split in ("train", "val", "test")}
    (root / "annotation.json").write_text(json.dumps(document), encoding="utf-8")


def entry(
    name: str, report: str = "Clear.", images: Sequence[str] | None = None
) -> dict[str, object]:
    paths = [f"{name}/0.png", f"{name}/1.png"] if images is None else list(images)
    return {"id": name, "report": report, "image_path": paths}


def reasons(loaded: Studies) -> dict[str, tuple[str, ...]]:
    return {left.reason: left.ids for left in loaded.left_out}
