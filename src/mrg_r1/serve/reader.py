"""A process that decodes uploads: what a hostile file can exhaust is this process, not the server.

Run as `python -m mrg_r1.serve.reader`. It reads requests from standard input and answers on
standard output, one after the other, until its input ends; its memory is limited by the system.
A request is `REQUEST` (what is wanted, pixels allowed, length) and the file; an answer is `LENGTH`,
a header in JSON of that length, and as many bytes as the header's 'bytes' says.
"""

from __future__ import annotations

import io
import json
import logging
import resource
import struct
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from mrg_r1.data import dicom  # noqa: F401 - now, so that the first DICOM file pays no import
from mrg_r1.data.images import decode_greys, decode_image
from mrg_r1.errors import DataError, MissingExtra, MrgError, TooLarge, WrongType

REQUEST = struct.Struct("<cQQ")
LENGTH = struct.Struct("<I")
IMAGE, GREYS = b"i", b"g"

SIDE = 2048
"""The longest side of what the page is shown: more than a screen, less than a film."""

_STATUS = {TooLarge: 413, WrongType: 415, MissingExtra: 415, DataError: 422}
_BASE = 1 << 30  # what the interpreter and its libraries map
_PER_PIXEL = 64  # 16-bit greys as they pass through floating point

Answer = tuple[dict[str, Any], bytes]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers until `source` ends."""
    _keep_silent()
    while head := source.read(REQUEST.size):
        wanted, pixels, length = REQUEST.unpack(head)
        _limit_memory(pixels)
        header, content = decode(wanted, source.read(length), pixels)
        text = json.dumps(header | {"bytes": len(content)}).encode()
        sink.write(LENGTH.pack(len(text)) + text + content)
        sink.flush()


def decode(wanted: bytes, data: bytes, pixels: int) -> Answer:
    """The header and the content of the answer.

    `IMAGE` gives 'mode' ('L' where all is grey, or 'RGB'), 'size' (width, height) and the pixels
    as Pillow has them. `GREYS` gives 'rows', 'columns', 'offset', 'step', 'low', 'high', 'inverted'
    and 16-bit little-endian numbers: a value is offset + step x number. What cannot be decoded
    gives 'status' and 'problem', which holds nothing of the file but its dimensions.
    """
    try:
        return _greys(data, pixels) if wanted == GREYS else _image(data, pixels)
    except MrgError as error:
        # A cause is what a decoder said, and may quote the file.
        known = error.__cause__ is None
        problem = str(error).removeprefix("image: ") if known else "damaged or cut; save it again"
        too_much = isinstance(error.__cause__, (MemoryError, Image.DecompressionBombError))
        status = 413 if too_much else _STATUS[type(error)]
        return {"status": status, "problem": problem if not too_much else "too large"}, b""
    except MemoryError:
        return {"status": 413, "problem": "too large"}, b""


def _image(data: bytes, pixels: int) -> Answer:
    image = decode_image(io.BytesIO(data), "image", pixels)
    red, green, blue = (band.tobytes() for band in image.split())
    if red == green == blue:
        image, content = image.getchannel(0), red
    else:
        content = image.tobytes()
    return {"mode": image.mode, "size": image.size}, content


def _greys(data: bytes, pixels: int) -> Answer:
    shown = decode_greys(io.BytesIO(data), "image", pixels)
    small = Image.fromarray(shown.values.astype(np.float32))
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small)
    offset = float(values.min())
    step = (float(values.max()) - offset) / 65535 or 1.0
    header = {
        "rows": small.height,
        "columns": small.width,
        "offset": offset,
        "step": step,
        "low": shown.low,
        "high": shown.high,
        "inverted": shown.inverted,
    }
    return header, np.rint((values - offset) / step).astype("<u2").tobytes()


def _keep_silent() -> None:
    """Libraries would quote headers in warnings and logs."""
    logging.disable()
    warnings.simplefilter("ignore")


def _limit_memory(pixels: int) -> None:
    # Pillow raises above twice its limit, also where pydicom calls it.
    Image.MAX_IMAGE_PIXELS = pixels // 2
    limit = _BASE + _PER_PIXEL * pixels
    # Not every system knows the limit; the server's time limit still holds there.
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
