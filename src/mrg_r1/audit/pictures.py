"""Images as small JPEG data URIs, or a reason why there is none."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mrg_r1.data.images import read_image
from mrg_r1.errors import MrgError

_SIDE = 224
"""The longest side in pixels: enough to recognise the film, too small to read it."""


Images = Literal["auto", "none", "mimic-cxr"]
"""Which images are embedded: those whose licence may allow it, none, or MIMIC-CXR's as well."""

_MIMIC_CXR = re.compile(r"\bp\d{2}[/\\]p\d{8}[/\\]s\d{8}\b")
"""Folders of a group of patients, a patient and a study, as MIMIC-CXR lays out its files."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a sample; `problem` says why `uri` is empty."""

    uri: str
    width: int
    height: int
    problem: str = ""


def withheld(source: object, path: str, images: Images) -> str:
    """Why an image is left out of the page; '' if it is not.

    Args:
        source: the recipe's, where there is one.
        path: the image's.
        images: what was asked for.
    """
    if images == "none":
        return "left out, as asked"
    restricted = source == "mimic-cxr" or _MIMIC_CXR.search(path)
    if restricted and images != "mimic-cxr":
        return "left out: MIMIC-CXR is restricted; add --images mimic-cxr"
    return ""


def picture(folder: Path, path: str) -> Picture:
    """The image at `path`, made small and grey; it keeps none of the file's metadata.

    Args:
        folder: the run folder, to which a relative path is resolved first; else it is taken as
            it stands, since a run started with a relative `--out` records such paths.
        path: as `predictions.jsonl` has it.
    """
    inside = folder / path
    try:
        small = read_image(inside if inside.exists() else Path(path)).convert("L")
    except MrgError as error:
        return Picture("", 0, 0, str(error))
    except (OSError, ValueError) as error:
        # Some strings can be no path at all: with a NUL, or too long for the file system.
        return Picture("", 0, 0, f"{path[:80]}: {getattr(error, 'strerror', None) or error}")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/jpeg;base64,{data}", *small.size)
