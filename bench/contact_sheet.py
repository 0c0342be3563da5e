"""What the drawn studies look like: every finding by severity, and studies drawn at random.

    python bench/contact_sheet.py OUT_FOLDER [--size 128] [--zoom 2] [--seed 0]

Writes `findings-1.png`, `findings-2.png` (each finding at severity .25, .6 and 1 beside the same
patient without it, frontal and lateral) and `studies.png` (24 random studies with their report).
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mrg_r1.data.phantom import cases, draw_study
from mrg_r1.data.phantom.cases import Case, Sign
from mrg_r1.data.phantom.raster import Map
from mrg_r1.data.phantom.signs import render
from mrg_r1.findings import Finding

SEVERITIES = (0.25, 0.6, 1.0)
SIGNS = (
    Sign(Finding.ENLARGED_CARDIOMEDIASTINUM, 1),
    Sign(Finding.CARDIOMEGALY, 1),
    Sign(Finding.LUNG_OPACITY, 1, cases.RIGHT, cases.LOWER),
    Sign(Finding.LUNG_LESION, 1, cases.LEFT, cases.UPPER, cases.NODULE),
    Sign(Finding.EDEMA, 1),
    Sign(Finding.CONSOLIDATION, 1, cases.RIGHT, cases.MID),
    Sign(Finding.PNEUMONIA, 1, cases.LEFT, cases.LOWER),
    Sign(Finding.ATELECTASIS, 1, cases.RIGHT),
    Sign(Finding.PNEUMOTHORAX, 1, cases.LEFT),
    Sign(Finding.PLEURAL_EFFUSION, 1, cases.RIGHT),
    Sign(Finding.PLEURAL_OTHER, 1, cases.RIGHT, kind=cases.PLAQUE),
    Sign(Finding.PLEURAL_OTHER, 1, cases.LEFT, kind=cases.APICAL),
    Sign(Finding.FRACTURE, 1, cases.LEFT),
    Sign(Finding.SUPPORT_DEVICES, 1, cases.LEFT, kind=cases.PACEMAKER),
    Sign(Finding.SUPPORT_DEVICES, 1, kind=cases.WIRES),
    Sign(Finding.SUPPORT_DEVICES, 1, cases.RIGHT, kind=cases.LINE),
    Sign(Finding.SUPPORT_DEVICES, 1, kind=cases.TUBE),
)
GAP, CAPTION = 4, 16


def by_severity(signs: Sequence[Sign], size: int, zoom: int, seed: int) -> Image.Image:
    """A row a finding: normal and three severities from the front, then from the side."""
    cell, columns = size * zoom, 2 * (1 + len(SEVERITIES))
    sheet = Image.new("L", (columns * (cell + GAP), len(signs) * (cell + CAPTION)))
    for row, sign in enumerate(signs):
        patient = cases.sample_patient(np.random.default_rng((seed, row)))
        graded = [replace(sign, severity=severity, seed=seed + row) for severity in SEVERITIES]
        studies = [render(Case(patient, "", s), size) for s in ((), *((g,) for g in graded))]
        top = row * (cell + CAPTION)
        for column, view in enumerate([f for f, _ in studies] + [s for _, s in studies]):
            sheet.paste(_zoomed(view, zoom), (column * (cell + GAP), top + CAPTION))
        words = " ".join(filter(None, (sign.finding.value, sign.kind, sign.side, sign.zone)))
        caption = f"{words}: normal, {', '.join(map(str, SEVERITIES))}"
        ImageDraw.Draw(sheet).text((2, top + 1), caption, fill=255)
    return sheet


def random_studies(count: int, size: int, zoom: int, seed: int) -> Image.Image:
    """Frontal views with what was drawn and what is written."""
    cell, columns, text = size * zoom, 6, 130
    sheet = Image.new("L", (columns * (cell + GAP), -(-count // columns) * (cell + text)))
    font = ImageFont.load_default(10)
    for index in range(count):
        drawn, frontal, _ = draw_study(seed, "train", index, size)
        left, top = index % columns * (cell + GAP), index // columns * (cell + text)
        sheet.paste(_zoomed(frontal, zoom), (left, top))
        signs = [f"{s['kind'] or s['finding']} {s['severity']:.2f}" for s in drawn.signs]
        lines = textwrap.wrap(drawn.findings + " | " + ", ".join(signs), cell // 5)
        place = (left + 2, top + cell + 2)
        ImageDraw.Draw(sheet).multiline_text(place, "\n".join(lines), fill=255, font=font)
    return sheet


def _zoomed(view: Map, zoom: int) -> Image.Image:
    image = Image.fromarray((view * 255).astype(np.uint8))
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.BICUBIC)


def main() -> None:
    """Writes the three sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--zoom", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    half = len(SIGNS) // 2
    for number, signs in enumerate((SIGNS[:half], SIGNS[half:]), start=1):
        sheet = by_severity(signs, given.size, given.zoom, given.seed)
        sheet.save(given.folder / f"findings-{number}.png")
    random_studies(24, given.size, given.zoom, given.seed).save(given.folder / "studies.png")
    print(f"{given.folder}: findings-1.png, findings-2.png, studies.png")


if __name__ == "__main__":
    main()
