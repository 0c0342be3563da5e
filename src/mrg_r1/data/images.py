"""Reading radiographs: PNG, JPEG and DICOM files to 8-bit RGB.

The content of a file decides its type, not its name. Greys of more than 8 bits are brought to 8
by a window: the file's own where it has one (DICOM), else the range of the values in the image,
so that 12 bits stored in 16 do not come out black. 8-bit images keep their values.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mrg_r1.data.study import Sample
from mrg_r1.data.windows import Windowed
from mrg_r1.errors import DataError, MrgError, TooLarge, WrongType

MAX_PIXELS = 80_000_000
"""Four times the largest chest radiographs: a file that claims more is not decoded."""

_PNG, _JPEG, _DICOM = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"DICM"
_ENDS = {_PNG: b"IEND\xaeB`\x82", _JPEG: b"\xff\xd9"}
_TAIL = 1024


def read_image(path: Path) -> Image.Image:
    """The image of a file, decoded in full, 8-bit 'RGB', upright.

    EXIF orientation is applied. Transparent pixels are laid over black, the background of a
    radiograph. DICOM: see `mrg_r1.data.dicom.read`.

    Raises:
        DataError: the file is missing, empty, truncated or corrupt, is neither PNG, JPEG nor
            DICOM, claims more than `MAX_PIXELS`, or is a DICOM file without a single frame.
        MissingExtra: a DICOM file compressed in a way that needs another package.
    """
    with _opened(path) as file:
        return decode_image(file, str(path))


def decode_image(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The same of an open file, or of bytes in memory; `name` stands for it in errors.

    Raises:
        DataError, MissingExtra: as `read_image`.
    """
    kind = _kind(file, name)
    with _errors_naming(name):
        if kind == _DICOM:
            from mrg_r1.data import dicom

            return dicom.read(file, name, max_pixels)
        return _to_rgb(ImageOps.exif_transpose(_open(file, name, kind, max_pixels)))


def decode_greys(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Windowed:
    """The values from which `decode_image` makes its 8 bits, with the window it applies.

    Raises:
        DataError, MissingExtra: as `read_image`.
    """
    kind = _kind(file, name)
    with _errors_naming(name):
        if kind == _DICOM:
            from mrg_r1.data import dicom

            return dicom.windowed(file, name, max_pixels)
        image = ImageOps.exif_transpose(_open(file, name, kind, max_pixels))
        if image.mode.startswith("I"):
            return _stretched(image)
        return Windowed(np.asarray(_to_rgb(image).convert("L")), 0, 255)


def check_images(samples: Iterable[Sample]) -> None:
    """Makes sure, before training starts, that the images of all samples can be read.

    Headers are read, and the ends of files; only a file whose end looks cut is decoded.

    Raises:
        DataError: names the first image that cannot be read and says how many cannot.
    """
    paths = dict.fromkeys(path for sample in samples for path in sample.images)
    errors: list[MrgError] = []
    for path in paths:
        try:
            check_image(path)
        except MrgError as error:
            errors.append(error)
    if errors:
        raise DataError(f"{errors[0]} ({len(errors)} of {len(paths)} images cannot be read)")


def image_kind(path: Path) -> str:
    """'PNG', 'JPEG', 'DICOM', or '' where the content of a file is none of them."""
    try:
        with _opened(path) as file:
            return {_PNG: "PNG", _JPEG: "JPEG", _DICOM: "DICOM"}[_kind(file, str(path))]
    except DataError:
        return ""


def check_image(path: Path) -> None:
    """Makes sure of one image, as `check_images` does of many.

    Raises:
        DataError, MissingExtra: it cannot be read.
    """
    with _opened(path) as file:
        kind = _kind(file, str(path))
        with _errors_naming(str(path)):
            if kind == _DICOM:
                from mrg_r1.data import dicom

                whole = dicom.looks_whole(file, str(path), MAX_PIXELS)
            else:
                _open(file, str(path), kind, MAX_PIXELS)
                file.seek(max(0, path.stat().st_size - _TAIL))
                whole = _ENDS[kind] in file.read()
    if not whole:
        read_image(path)


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _kind(file: BinaryIO, name: str) -> bytes:
    """The signature of the file's type; the file is left at its start."""
    head = file.read(132)
    file.seek(0)
    if not head:
        raise DataError(f"{name}: the file is empty; copy or download it again")
    for kind in (_PNG, _JPEG):
        if head.startswith(kind):
            return kind
    # Old DICOM files have no preamble; they start with a group 2 or group 8 element.
    if head[128:] == _DICOM or head[:2] in (b"\x02\x00", b"\x08\x00"):
        return _DICOM
    raise WrongType(f"{name}: neither PNG, JPEG nor DICOM; convert it to one of them")


def _open(file: BinaryIO, name: str, kind: bytes, max_pixels: int) -> Image.Image:
    """The image of a PNG or JPEG file, its header read, its pixels not yet.

    Not `Image.open`: it would try formats that only look alike, and its size limit is a warning.
    """
    image = PngImageFile(file) if kind == _PNG else JpegImageFile(file)
    if image.width * image.height > max_pixels:
        raise TooLarge(
            f"{name}: {image.width} x {image.height} pixels, over {max_pixels:,}; scale it down"
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_stretched(image).eight_bits()).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Windowed:
    """Deep greys with their own range for a window."""
    values = np.asarray(image).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    return Windowed(values, low, max(high, low + 1))


@contextmanager
def _errors_naming(name: str) -> Generator[None]:
    """Turns whatever a decoder raises on hostile bytes into one line that names the file."""
    try:
        yield
    except MrgError:
        raise
    except Exception as error:
        # The decoders raise nearly every built-in exception, and document none of them.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name}: cannot be decoded ({reason}); copy or download it again"
        ) from error
