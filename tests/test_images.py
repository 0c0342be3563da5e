from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from image_files import RAMP, dicom, greys, sample
from mrg_r1.data import images
from mrg_r1.data.images import check_images, read_image
from mrg_r1.errors import DataError, MrgError


def _png(path: Path, image: Image.Image) -> Path:
    image.save(path, "PNG")
    return path


def test_eight_bit_greys_are_kept(tmp_path: Path):
    for suffix in (".png", ".jpg", ".dcm", ""):
        path = _png(tmp_path / f"image{suffix}", Image.fromarray(RAMP))
        np.testing.assert_array_equal(greys(read_image(path)), RAMP)


def test_colours_are_kept(tmp_path: Path):
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = _png(tmp_path / "a.png", Image.fromarray(colours))
    np.testing.assert_array_equal(np.asarray(read_image(path)), colours)


def test_jpeg_is_read_whatever_its_suffix(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path, "JPEG", quality=95)
    assert np.abs(greys(read_image(path)).astype(int) - RAMP).max() < 12


@pytest.mark.parametrize("top", [255, 4095, 65535])
def test_sixteen_bit_png_is_stretched_to_its_own_range(tmp_path: Path, top: int):
    values = np.linspace(0, top, 256).astype(np.uint16).reshape(8, 32)
    path = _png(tmp_path / "a.png", Image.fromarray(values))
    with Image.open(path) as image:
        assert image.mode == "I;16"
    np.testing.assert_allclose(greys(read_image(path)), RAMP, atol=1)


def test_constant_sixteen_bit_png_is_black(tmp_path: Path):
    path = _png(tmp_path / "a.png", Image.fromarray(np.full((4, 4), 3000, np.uint16)))
    assert (greys(read_image(path)) == 0).all()


def test_palette_and_bilevel_are_expanded(tmp_path: Path):
    palette = Image.fromarray(RAMP).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    np.testing.assert_allclose(greys(read_image(_png(tmp_path / "p.png", palette))), RAMP, atol=1)
    bilevel = Image.fromarray(RAMP > 127)
    np.testing.assert_array_equal(
        greys(read_image(_png(tmp_path / "1.png", bilevel))), np.where(RAMP > 127, 255, 0)
    )


def test_transparency_lies_over_black(tmp_path: Path):
    alpha = np.zeros((8, 32), np.uint8)
    alpha[:, :16] = 255
    layers = np.stack([RAMP, alpha], axis=-1)
    path = _png(tmp_path / "a.png", Image.fromarray(layers))
    np.testing.assert_array_equal(greys(read_image(path)), np.where(alpha > 0, RAMP, 0))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, RAMP), (3, RAMP[::-1, ::-1]), (6, np.rot90(RAMP, -1)), (8, np.rot90(RAMP))],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, upright: np.ndarray):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path, exif=exif)
    np.testing.assert_array_equal(greys(read_image(path)), upright)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(width: int, height: int, pixels: bytes = b"\0") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


def whole_png() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


BAD_BYTES = [
    ("empty", b"", "the file is empty"),
    ("text", b"not an image at all", "neither PNG, JPEG nor DICOM"),
    ("page", b"<!DOCTYPE html><html>", "neither PNG, JPEG nor DICOM"),
    ("gif", b"GIF89a\x01\0\x01\0\x80\0\0", "neither PNG, JPEG nor DICOM"),
    ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n", "neither PNG, JPEG nor DICOM"),
    ("PNG signature", b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
    ("cut PNG", whole_png()[:-200], "cannot be decoded"),
    ("PNG without end", whole_png()[: len(whole_png()) // 2], "cannot be decoded"),
    ("PNG bomb", png_bytes(100_000, 100_000), "100000 x 100000 pixels, over 80,000,000"),
    ("PNG of no width", png_bytes(0, 5), "cannot be decoded"),
    ("JPEG start", b"\xff\xd8\xff\xe0", "cannot be decoded"),
    ("DICOM preamble", b"\0" * 128 + b"DICM", "a DICOM file without an image"),
    ("DICOM group", b"\x08\x00", "DICOM"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_BYTES, ids=[b[0] for b in BAD_BYTES])
def test_bad_bytes_are_named_on_one_line(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (lambda: read_image(path), lambda: check_images([sample(path)])):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pixels_that_are_lacking_inside_a_whole_png_are_seen_by_reading(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(64, 64))
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(DataError, match=r"a\.png: no such image"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def _whole_files(folder: Path) -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise).save(folder / "a.jpg")
    dicom(folder / "a.dcm", noise.astype(np.uint16), bits=12)
    code = io.BytesIO()
    Image.fromarray(noise).save(code, "JPEG")
    dicom(folder / "b.dcm", noise, syntax=JPEGBaseline8Bit, pixels=encapsulate([code.getvalue()]))
    return {name: (folder / name).read_bytes() for name in ("a.png", "a.jpg", "a.dcm", "b.dcm")}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.dcm", "b.dcm"])
def test_a_cut_file_is_refused_by_both_wherever_it_is_cut(tmp_path: Path, name: str):
    whole = _whole_files(tmp_path)[name]
    path = tmp_path / name
    read = greys(read_image(path))
    for size in range(1, len(whole) - 20, 37):
        path.write_bytes(whole[:size])
        for load in (read_image, lambda path: check_images([sample(path)])):
            with pytest.raises(MrgError):
                load(path)
    path.write_bytes(whole)
    np.testing.assert_array_equal(greys(read_image(path)), read)
    check_images([sample(path)])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_image_or_a_data_error(tmp_path: Path, data: st.DataObject):
    files = _whole_files(tmp_path)
    content = bytearray(files[data.draw(st.sampled_from(sorted(files)))])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 900) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(MrgError):
        assert read_image(path).mode == "RGB"


def test_check_names_the_first_and_counts_each_image_once(tmp_path: Path):
    good = _png(tmp_path / "good.png", Image.fromarray(RAMP))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    check_images([sample(good), sample(good, good)])
    check_images([])
    with pytest.raises(DataError) as caught:
        check_images([sample(good), sample(bad, tmp_path / "none.png"), sample(bad)])
    assert str(caught.value) == (
        f"{bad}: the file is empty; copy or download it again (2 of 3 images cannot be read)"
    )


def test_check_decodes_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [tmp_path / name for name in _whole_files(tmp_path)]

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(images, "read_image", refuse)
    check_images([sample(*paths)])


def test_reads_radiographs_of_other_sources(radiographs: Path):
    sizes = {
        path.name: read_image(path).size for path in radiographs.glob("*.*") if path.suffix != ".md"
    }
    assert sizes == {
        "cr_chest.dcm": (1024, 1024),
        "00000001_000.png": (512, 512),
        "16747_3_1.jpg": (1036, 885),
    }
    chest = greys(read_image(radiographs / "cr_chest.dcm"))
    # Air beside the neck is dark, the mediastinum is bright.
    assert chest[60, 60] < 60 < 200 < chest[600, 520]


def test_real_images_are_all_readable(iu_xray_root: Path):
    paths = sorted((iu_xray_root / "images_256").iterdir())
    check_images([sample(*paths)])
    assert all(read_image(path).size == (256, 256) for path in paths[::200])
