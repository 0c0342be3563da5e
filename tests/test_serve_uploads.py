"""What the server does with uploads that are no images, or more than that."""

from __future__ import annotations

import functools
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

import serving
from mrg_r1.serve import reader
from serving import BOUNDARY, FORM, Server, dicom, encoded, form, png

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

PIXELS = 1_000_000
UPLOAD = 4 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"pixels": PIXELS, "upload": UPLOAD, "images": 4, "decoding_seconds": 10}
    with serving.stub(tmp_path_factory.mktemp("uploads"), limits=limits) as server:
        yield server


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def hand_made_png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(width: int = 64, height: int = 64) -> bytes:
    """A JPEG file that claims a size."""
    whole = bytearray(encoded(Image.new("L", (64, 64), 99), "JPEG"))
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(whole)


def compressed(syntax: str, frame: bytes, **elements: Any) -> bytes:
    """A DICOM file whose pixels are said to be compressed."""
    data = pydicom.dcmread(io.BytesIO(dicom(**elements)))
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def rle_bomb() -> bytes:
    """A million runs of 128 bytes for an image of 4096."""
    runs = b"\x81\x00" * 1_000_000
    return compressed(RLELossless, struct.pack("<16I", 1, 64, *[0] * 14) + runs)


@functools.cache
def deflated_bomb() -> bytes:
    """A few hundred kilobytes that become most of a gigabyte."""
    data = pydicom.dcmread(io.BytesIO(dicom()))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    content = buffer.getvalue()
    meta = content[
        : 132 + 12 + pydicom.dcmread(io.BytesIO(content)).file_meta.FileMetaInformationGroupLength
    ]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0)
    pieces = [deflate.compress(piece) for piece in [element, *[bytes(1 << 20)] * 800]]
    return meta + b"".join(pieces) + deflate.flush()


def without(*names: str) -> bytes:
    data = pydicom.dcmread(io.BytesIO(dicom()))
    for name in names:
        delattr(data, name)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


Make = Callable[[], bytes]

FILES: dict[str, tuple[Make, int, str]] = {
    "nothing": (lambda: b"", 422, "empty"),
    "a byte": (lambda: b"\x00", 415, "neither PNG"),
    "text": (lambda: b"a report", 415, "neither PNG"),
    "a GIF": (lambda: encoded(Image.new("L", (9, 9)), "GIF"), 415, "neither PNG"),
    "a BMP": (lambda: encoded(Image.new("L", (9, 9)), "BMP"), 415, "neither PNG"),
    "a TIFF": (lambda: encoded(Image.new("L", (9, 9)), "TIFF"), 415, "neither PNG"),
    "a WebP": (lambda: encoded(Image.new("L", (9, 9)), "WEBP"), 415, "neither PNG"),
    "an SVG with a script": (lambda: b"<svg><script>1</script></svg>", 415, "neither PNG"),
    "a page": (lambda: b"<!doctype html><script>1</script>", 415, "neither PNG"),
    "an EPS program": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "neither PNG"),
    "a PDF": (lambda: b"%PDF-1.7\n", 415, "neither PNG"),
    "an archive": (lambda: b"PK\x03\x04" + bytes(60), 415, "neither PNG"),
    "a pickle": (lambda: b"\x80\x04cos\nsystem\n", 415, "neither PNG"),
    "a signature of PNG": (lambda: b"\x89PNG\r\n\x1a\n", 422, "damaged"),
    "a cut PNG": (lambda: png()[:60], 422, "damaged"),
    "a PNG without pixels": (lambda: hand_made_png(64, 64, b""), 422, "damaged"),
    "a PNG with too few pixels": (
        lambda: hand_made_png(64, 64, zlib.compress(bytes(9))),
        422,
        "damaged",
    ),
    "a PNG of bad data": (lambda: hand_made_png(64, 64, b"zebra" * 9), 422, "damaged"),
    "a PNG of no size": (lambda: hand_made_png(0, 0, b""), 422, "damaged"),
    "a PNG bomb": (
        lambda: hand_made_png(50_000, 50_000, zlib.compress(bytes(1_000_000), 9)),
        413,
        "50000 x 50000",
    ),
    "a PNG of a whole billion wide": (lambda: hand_made_png(2**31 - 1, 1, b""), 413, "pixels"),
    "a bomb of text in a PNG": (
        lambda: hand_made_png(
            64, 64, b"", chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(2_000_000), 9))
        ),
        422,
        "damaged",
    ),
    "a signature of JPEG": (lambda: b"\xff\xd8\xff", 422, "damaged"),
    "a cut JPEG": (lambda: jpeg()[:300], 422, "damaged"),
    "a JPEG bomb": (lambda: jpeg(65_500, 65_500), 413, "pixels"),
    "a JPEG of noise": (lambda: b"\xff\xd8\xff\xe0" + b"\x51" * 3000, 422, "damaged"),
    "a preamble of DICOM": (lambda: bytes(128) + b"DICM", 422, "without an image"),
    "DICOM without an image": (
        lambda: without("PixelData", "Rows", "Columns"),
        422,
        "without an image",
    ),
    "DICOM without pixels": (lambda: without("PixelData"), 422, "without an image"),
    "a cut DICOM": (lambda: dicom()[:-900], 422, "damaged"),
    "a DICOM of 200 frames": (lambda: dicom(NumberOfFrames=200), 422, "frames"),
    "a DICOM bomb": (lambda: dicom(Rows=65_535, Columns=65_535), 413, "pixels"),
    "a DICOM of 7 bits": (lambda: dicom(BitsAllocated=7), 422, "damaged"),
    "a film in DICOM": (lambda: compressed(MPEG2MPML, b"x"), 415, "MPEG2"),
    "bad JPEG 2000 in DICOM": (lambda: compressed(JPEG2000Lossless, b"zebra" * 20), 422, "damaged"),
    "bad RLE in DICOM": (lambda: compressed(RLELossless, b"zebra" * 20), 422, "damaged"),
    "an RLE bomb in DICOM": (rle_bomb, 422, "more data than pixels"),
    "a deflated bomb in DICOM": (deflated_bomb, 413, ""),
}
"""A file, the status it gets, and what the answer says."""


@pytest.mark.parametrize(("make", "status", "says"), FILES.values(), ids=FILES)
def test_a_bad_file(server: Server, make: Make, status: int, says: str) -> None:
    file = make()
    assert len(file) < UPLOAD, "this would test the size limit"
    answer = server.upload("/preview", file)
    assert answer.status == status, answer.text
    assert says in answer.text
    assert "zebra" not in answer.text.lower()


def part(name: str, value: str, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return f"{head}{value}\r\n".encode()


END = f"--{BOUNDARY}--\r\n".encode()

BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "JSON": (b"{}", {"Content-Type": "application/json"}, 415),
    "a bare PNG": (png(), {"Content-Type": "image/png"}, 415),
    "no type": (png(), {"Content-Type": ""}, 415),
    "no boundary": (form([png()], {}), {"Content-Type": "multipart/form-data"}, 422),
    "another boundary": (
        form([png()], {}),
        {"Content-Type": "multipart/form-data; boundary=x"},
        422,
    ),
    "an empty body": (b"", FORM, 422),
    "no parts": (END, FORM, 422),
    "a part without a name": (f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n".encode() + END, FORM, 422),
    "a file of another name": (part("picture", "x", '; filename="a"') + END, FORM, 422),
    "an image as text": (part("image", "x") + END, FORM, 422),
    "a misspelt option": (form([png()], {"draft": 2}), FORM, 422),
    "an option twice": (part("seed", "1") + form([png()], {"seed": 2}), FORM, 422),
    "drafts in words": (form([png()], {"drafts": "many"}), FORM, 422),
    "no drafts": (form([png()], {"drafts": 0}), FORM, 422),
    "too many drafts": (form([png()], {"drafts": 17}), FORM, 422),
    "equal drafts": (form([png()], {"drafts": 2, "temperature": 0}), FORM, 422),
    "a temperature that is no number": (form([png()], {"temperature": "nan"}), FORM, 422),
    "a negative seed": (form([png()], {"seed": -1}), FORM, 422),
    "a report too long": (form([png()], {"max_tokens": 100_000}), FORM, 422),
    "an option too long": (form([png()], {"seed": "1" * 5000}), FORM, 422),
    "too many images": (form([png()] * 5, {}), FORM, 422),
    "a thousand fields": (
        b"".join(part(f"f{number}", "x") for number in range(1000)) + form([png()], {}),
        FORM,
        422,
    ),
    "more bytes than may be": (form([bytes(UPLOAD)], {}), FORM, 413),
}


@pytest.mark.parametrize(("body", "headers", "status"), BODIES.values(), ids=BODIES)
def test_a_bad_body(server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    assert server.call("POST", "/report", raw=body, headers=headers).status == status


def test_the_file_at_fault_is_named(server: Server) -> None:
    answer = server.upload("/report", png(), b"text")
    assert answer.json["detail"][0]["field"] == "image.1"


def test_a_body_that_never_ends_is_stopped(server: Server) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    pieces = (bytes(1 << 16) for _ in range(UPLOAD // (1 << 16) + 8))
    connection.request("POST", "/labels", pieces, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.slow
def test_bombs_leave_the_server_as_it_was(server: Server) -> None:
    bad = [make() for make, _, _ in FILES.values()]

    def all_of_them() -> None:
        for file in bad:
            assert server.upload("/report", file).status >= 400
        assert server.upload("/report", png(7)).status == 200

    all_of_them()  # what is loaded once
    before = server.resident()
    for _ in range(2):
        all_of_them()
    assert server.resident() - before < 20
    assert server.upload("/report", dicom(9)).json["think"].startswith("grey 9,")


def test_a_name_does_not_make_a_type(server: Server) -> None:
    body = form([png(77)], {}).replace(b"Doe^Zebra.dcm", b"../../chest.exe")
    assert server.call("POST", "/report", raw=body, headers=FORM).status == 200


def test_what_is_decoded_is_what_training_reads() -> None:
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    deep = encoded(Image.fromarray(values))
    header, content = reader.decode(reader.IMAGE, deep, PIXELS)
    assert (header["mode"], header["size"]) == ("L", (64, 64))
    assert content == np.rint(values / values.max() * 255).astype(np.uint8).tobytes()
    colours = encoded(Image.new("RGB", (2, 2), (1, 2, 3)))
    assert reader.decode(reader.IMAGE, colours, PIXELS)[0]["mode"] == "RGB"
    header, content = reader.decode(reader.GREYS, deep, PIXELS)
    assert json.dumps(header)
    restored = header["offset"] + header["step"] * np.frombuffer(content, "<u2")
    np.testing.assert_allclose(restored.reshape(64, 64), values, atol=0.05)


def test_deep_dicom_keeps_its_depth(tmp_path: Path) -> None:
    file = dicom(0, WindowCenter=2048, WindowWidth=4096, BitsStored=8)
    header, _ = reader.decode(reader.GREYS, file, PIXELS)
    assert (header["low"], header["high"]) == (0, 4095)
