"""Reading radiographs: PNG, JPEG and DICOM files to 8-bit RGB.

The content of a file decides its type, not its name. Greys of more than 8 bits are brought to 8
by a window: the file's own where it has one (DICOM), else the range of the values in the image,
so that 12 bits stored in 16 do not come out black. 8-bit images keep their values.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError, MrgError

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
    kind = _kind(path)
    with _errors_naming(path):
        if kind == _DICOM:
            from mrg_r1.data import dicom

            return dicom.read(path, MAX_PIXELS)
        with _open(path, kind) as image:
            return _to_rgb(ImageOps.exif_transpose(image))


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
            _check_image(path)
        except MrgError as error:
            errors.append(error)
    if errors:
        raise DataError(f"{errors[0]} ({len(errors)} of {len(paths)} images cannot be read)")


def _check_image(path: Path) -> None:
    kind = _kind(path)
    with _errors_naming(path):
        if kind == _DICOM:
            from mrg_r1.data import dicom

            whole = dicom.looks_whole(path, MAX_PIXELS)
        else:
            _open(path, kind).close()
            with open(path, "rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL))
                whole = _ENDS[kind] in file.read()
    if not whole:
        read_image(path)


def _kind(path: Path) -> bytes:
    """The signature of the file's type."""
    try:
        with open(path, "rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise DataError(f"{path}: the file is empty; copy or download it again")
    for kind in (_PNG, _JPEG):
        if head.startswith(kind):
            return kind
    # Old DICOM files have no preamble; they start with a group 2 or group 8 element.
    if head[128:] == _DICOM or head[:2] in (b"\x02\x00", b"\x08\x00"):
        return _DICOM
    raise DataError(f"{path}: neither PNG, JPEG nor DICOM; convert it to one of them")


def _open(path: Path, kind: bytes) -> Image.Image:
    """The image of a PNG or JPEG file, its header read, its pixels not yet.

    Not `Image.open`: it would try formats that only look alike, and its size limit is a warning.
    """
    image = PngImageFile(path) if kind == _PNG else JpegImageFile(path)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise DataError(
            f"{path}: {image.width} x {image.height} pixels, over {MAX_PIXELS:,}; scale it down"
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        values = (values - low) * (255 / max(high - low, 1))
        return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


@contextmanager
def _errors_naming(path: Path) -> Generator[None]:
    """Turns whatever a decoder raises on hostile bytes into one line that names the file."""
    try:
        yield
    except MrgError:
        raise
    except Exception as error:
        # The decoders raise nearly every built-in exception, and document none of them.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: cannot be decoded ({reason}); copy or download it again"
        ) from error
