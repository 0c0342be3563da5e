"""A DICOM file as a viewer would show it, in 8 bits.

Stored values go through the modality transform (rescale or LUT), then the VOI transform (the
first LUT, else the first window), then MONOCHROME1 is inverted (DICOM PS3.3, C.7.6.3.1.2, C.11.1
and C.11.2).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread  # pyright: ignore[reportUnknownVariableType]
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian, RLELossless

from mrg_r1.data.windows import Windowed
from mrg_r1.errors import DataError, MissingExtra, TooLarge, WrongType

_SEQUENCE_END = b"\xfe\xff\xdd\xe0"


def read(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The image of a DICOM file, 8-bit 'RGB'; `name` stands for the file in errors.

    A window or LUT that is absent or unusable (no number, a width not above 0) is replaced by
    the range of the values in the image, 8-bit files keep theirs. A file of several frames is
    refused: a radiograph is one image, and which frame is meant cannot be known.

    Raises:
        DataError: no image in the file, several frames, or more than `max_pixels`.
        MissingExtra: the file's compression needs a package that is not installed.
        Exception: whatever pydicom raises on a corrupt file.
    """
    stored, dataset = _pixels(file, name, max_pixels)
    if stored.ndim == 3:
        return Image.fromarray(stored).convert("RGB")
    return Image.fromarray(_windowed(stored, dataset).eight_bits()).convert("RGB")


def windowed(file: BinaryIO, name: str, max_pixels: int) -> Windowed:
    """The greys that `read` brings to 8 bits; those of a colour image are its luminance.

    Raises:
        DataError, MissingExtra, Exception: as `read`.
    """
    stored, dataset = _pixels(file, name, max_pixels)
    if stored.ndim == 3:
        return Windowed(np.asarray(Image.fromarray(stored).convert("L")), 0, 255)
    return _windowed(stored, dataset)


def read_header(path: Path) -> Dataset:
    """The data set of a DICOM file without its pixels.

    Raises:
        Exception: whatever pydicom raises on a corrupt file.
    """
    return dcmread(path, force=True, stop_before_pixels=True)


def looks_whole(file: BinaryIO, name: str, max_pixels: int) -> bool:
    """Whether the file has the length its header promises; False calls for a full `read`.

    Raises:
        DataError, MissingExtra, Exception: as `read`, for what the header shows.
    """
    dataset = _dataset(file, name, max_pixels, header_only=True)
    start, end = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(max(start, end - 1024))
    tail = file.read()
    syntax: UID = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return _SEQUENCE_END in tail
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
    return not syntax.is_deflated and end - start > bits // 8


def _pixels(file: BinaryIO, name: str, max_pixels: int) -> tuple[NDArray[Any], Dataset]:
    """Stored greys (rows, columns), or 8-bit colours (rows, columns, 3)."""
    dataset = _dataset(file, name, max_pixels)
    if "PixelData" not in dataset:
        raise DataError(f"{name}: a DICOM file without an image; leave it out")
    _check_length(name, dataset)
    stored = pixel_array(dataset, index=0)
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)[..., :3]
    if stored.ndim == 3:
        stored = (stored if stored.dtype == np.uint8 else stored >> 8).astype(np.uint8)
    return stored, dataset


def _dataset(file: BinaryIO, name: str, max_pixels: int, *, header_only: bool = False) -> Dataset:
    """The file's data set, if its header shows an image that can and should be decoded.

    With `header_only` its pixels are not read, and the file is left where they begin.
    """
    dataset = dcmread(file, force=True, stop_before_pixels=header_only)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Files without a preamble say nothing of their encoding, which is then the default one.
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    _check_image(name, dataset, max_pixels)
    _check_syntax(name, dataset.file_meta.TransferSyntaxUID)
    return dataset


def _check_image(name: str, dataset: Dataset, max_pixels: int) -> None:
    rows, columns = int(dataset.get("Rows", 0)), int(dataset.get("Columns", 0))
    frames = int(dataset.get("NumberOfFrames", None) or 1)
    if not rows * columns:
        raise DataError(f"{name}: a DICOM file without an image; leave it out")
    if rows * columns > max_pixels:
        raise TooLarge(f"{name}: {columns} x {rows} pixels, over {max_pixels:,}; scale it down")
    if frames > 1:
        raise DataError(f"{name}: {frames} frames; a radiograph has one, save the one you mean")


def _check_length(name: str, dataset: Dataset) -> None:
    """Refuses run lengths that expand far beyond the image: 2 bytes of them become 128."""
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
    runs = dataset.file_meta.TransferSyntaxUID == RLELossless
    if runs and len(dataset.PixelData) > bits // 4 + 4096:
        raise DataError(f"{name}: more data than pixels; save it again")


def _check_syntax(name: str, syntax: UID) -> None:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise WrongType(
            f"{name}: encoded as {syntax.name}; save it as an uncompressed DICOM file"
        ) from None
    if not decoder.is_available:
        needs = [need for need in decoder.missing_dependencies if need.startswith("pylibjpeg")]
        packages = re.findall(r"pylibjpeg[\w-]*", " ".join(needs).partition("requires")[2])
        raise MissingExtra(f"{name}: compressed as {syntax.name}; pip install {' '.join(packages)}")


def _windowed(stored: NDArray[Any], dataset: Dataset) -> Windowed:
    """The values a viewer shows, through the file's LUT or with its window."""
    values = apply_modality_lut(stored, dataset).astype(np.float64)
    inverted = str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    if dataset.get("VOILUTSequence"):
        return Windowed(_through_lut(values, dataset), 0, 1, inverted)
    center, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if center is None or width is None or width <= 0:
        return Windowed(values, *_range(values, stored, dataset), inverted)
    function = str(dataset.get("VOILUTFunction") or "")
    if function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
        greys = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -50, 50)))
        return Windowed(greys, 0, 1, inverted)
    if function != "LINEAR_EXACT":  # PS3.3 C.11.2.1.3.2, else LINEAR, C.11.2.1.2.1
        center, width = center - 0.5, max(width - 1, 1e-6)
    return Windowed(values, center - width / 2, center + width / 2, inverted)


def _first(dataset: Dataset, name: str) -> float | None:
    """The first of an element's numbers, None when it has none."""
    value: Any = dataset.get(name)
    if isinstance(value, MultiValue):
        value = cast("Any", value[0] if value else None)
    return None if value in (None, "") else float(value)


def _through_lut(values: NDArray[np.float64], dataset: Dataset) -> NDArray[np.float64]:
    """The first VOI LUT; values beyond its ends take the end's entry (PS3.3 C.11.2.1.1)."""
    item: Dataset = dataset.VOILUTSequence[0]
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 65536
    data: Any = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, f"{order}u{len(data) // entries}")
    lut = np.asarray(data, np.float64)[:entries] / (2**bits - 1)
    return np.clip(lut, 0, 1)[np.clip(np.rint(values) - first, 0, len(lut) - 1).astype(np.int64)]


def _range(
    values: NDArray[np.float64], stored: NDArray[Any], dataset: Dataset
) -> tuple[float, float]:
    """What 8-bit values can be, or what deeper ones are in this image without its padding."""
    if dataset.BitsStored > 8:
        padding = dataset.get("PixelPaddingValue")
        inside = values if padding is None else values[stored != padding]
        return float(inside.min()), float(inside.max())
    lowest = -(1 << (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
    ends = np.array([lowest, lowest + (1 << dataset.BitsStored) - 1])
    ends = apply_modality_lut(ends, dataset)
    return float(ends.min()), float(ends.max())
