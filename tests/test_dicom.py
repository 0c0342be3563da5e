from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from image_files import RAMP, dicom, greys, sample
from mrg_r1.data.images import check_images, read_image
from mrg_r1.errors import DataError, MissingExtra


def test_eight_bit_is_kept(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", RAMP[:, :20].copy())
    np.testing.assert_array_equal(greys(read_image(path)), RAMP[:, :20])


def test_monochrome1_is_inverted(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", RAMP, photometric="MONOCHROME1")
    np.testing.assert_array_equal(greys(read_image(path)), 255 - RAMP)


TWELVE = np.linspace(100, 4000, 256).astype(np.uint16).reshape(8, 32)


def test_without_a_window_takes_the_range_of_its_values(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", TWELVE, bits=12)
    np.testing.assert_allclose(greys(read_image(path)), RAMP, atol=1)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # PS3.3 C.11.2.1.2.1 and C.11.2.1.3: centre 2048, width 4096 over x.
        (None, lambda x: (x - 2047.5) / 4095 + 0.5),
        ("LINEAR", lambda x: (x - 2047.5) / 4095 + 0.5),
        ("LINEAR_EXACT", lambda x: (x - 2048) / 4096 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2048) / 4096))),
    ],
)
def test_window(tmp_path: Path, function: str | None, expected: Callable[[np.ndarray], np.ndarray]):
    elements = {"VOILUTFunction": function} if function else {}
    path = dicom(
        tmp_path / "a.dcm", TWELVE, bits=12, WindowCenter=2048, WindowWidth=4096, **elements
    )
    np.testing.assert_array_equal(
        greys(read_image(path)), np.rint(expected(TWELVE.astype(float)) * 255)
    )


def test_window_clips_and_the_first_of_several_counts(tmp_path: Path):
    path = dicom(
        tmp_path / "a.dcm", TWELVE, bits=12, WindowCenter=[1000, 2048], WindowWidth=[1, 4096]
    )
    np.testing.assert_array_equal(greys(read_image(path)), np.where(TWELVE > 999, 255, 0))


@pytest.mark.parametrize("width", [0, -5, "", None])
def test_window_that_is_none_is_passed_over(tmp_path: Path, width: object):
    path = dicom(tmp_path / "a.dcm", TWELVE, bits=12, WindowCenter=2048, WindowWidth=width)
    np.testing.assert_allclose(greys(read_image(path)), RAMP, atol=1)


def test_window_stands_in_rescaled_values(tmp_path: Path):
    signed = (TWELVE.astype(int) - 2048).astype(np.int16)
    path = dicom(
        tmp_path / "a.dcm",
        signed,
        RescaleSlope=2,
        RescaleIntercept=4096,
        WindowCenter=4096,
        WindowWidth=8192,
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_array_equal(greys(read_image(path)), np.rint(TWELVE / 4096 * 255))


def test_negative_slope_turns_eight_bits_around(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=-1, RescaleIntercept=255)
    np.testing.assert_array_equal(greys(read_image(path)), 255 - RAMP)


def test_voi_lut_goes_before_the_window(tmp_path: Path):
    item = Dataset()
    item.LUTDescriptor = [4, 1000, 16]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.array([0, 65535, 13107, 26214], "<u2").tobytes()
    item["LUTData"].VR = "OW"
    path = dicom(
        tmp_path / "a.dcm",
        np.array([[0, 1000, 1001], [1002, 1003, 4000]], np.uint16),
        bits=12,
        VOILUTSequence=[item],
        WindowCenter=1,
        WindowWidth=2,
    )
    assert greys(read_image(path)).tolist() == [[0, 0, 255], [51, 102, 102]]


def test_padding_does_not_count_as_a_value(tmp_path: Path):
    values = TWELVE.copy()
    values[0, 0] = 65535
    path = dicom(tmp_path / "a.dcm", values, PixelPaddingValue=65535)
    np.testing.assert_allclose(greys(read_image(path))[1:], RAMP[1:], atol=1)


def test_colours(tmp_path: Path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = dicom(tmp_path / "a.dcm", colours, photometric="RGB")
    np.testing.assert_array_equal(np.asarray(read_image(path)), colours)


def test_compressed_losslessly(tmp_path: Path):
    data = pydicom.dcmread(dicom(tmp_path / "a.dcm", RAMP))
    data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(greys(read_image(tmp_path / "rle.dcm")), RAMP)
    code = io.BytesIO()
    Image.fromarray(RAMP).save(code, "JPEG2000", irreversible=False)
    path = dicom(
        tmp_path / "j2k.dcm",
        RAMP,
        syntax=JPEG2000Lossless,
        pixels=encapsulate([code.getvalue()[code.getvalue().index(b"\xff\x4f\xff\x51") :]]),
    )
    np.testing.assert_array_equal(greys(read_image(path)), RAMP)


def test_compressed_as_jpeg(tmp_path: Path):
    code = io.BytesIO()
    Image.fromarray(RAMP).save(code, "JPEG", quality=95)
    path = dicom(
        tmp_path / "a.dcm", RAMP, syntax=JPEGBaseline8Bit, pixels=encapsulate([code.getvalue()])
    )
    assert np.abs(greys(read_image(path)).astype(int) - RAMP).max() < 12


def test_without_preamble(tmp_path: Path):
    whole = dicom(tmp_path / "a.dcm", RAMP, syntax=ImplicitVRLittleEndian).read_bytes()
    start = whole.index(b"\x08\x00\x16\x00")
    path = tmp_path / "bare.dcm"
    path.write_bytes(whole[start:])
    np.testing.assert_array_equal(greys(read_image(path)), RAMP)
    check_images([sample(path)])


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, HTJ2KLossless])
def test_missing_decoder_names_the_package(tmp_path: Path, syntax: str):
    path = dicom(tmp_path / "a.dcm", RAMP, syntax=syntax, pixels=encapsulate([b"\xff\xd8"]))
    with pytest.raises(
        MissingExtra, match=r"a\.dcm: compressed as .*JPEG.*; pip install pylibjpeg "
    ):
        read_image(path)
    with pytest.raises(DataError, match="pip install pylibjpeg"):
        check_images([sample(path)])


def test_of_several_frames_is_refused(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", RAMP, pixels=RAMP.tobytes() * 2, NumberOfFrames=2)
    with pytest.raises(DataError, match=r"a\.dcm: 2 frames; a radiograph has one"):
        read_image(path)


def test_bomb_is_refused_before_its_pixels_are_read(tmp_path: Path):
    path = dicom(tmp_path / "a.dcm", RAMP, Rows=60_000, Columns=60_000)
    with pytest.raises(DataError, match="60000 x 60000 pixels, over 80,000,000"):
        read_image(path)


def test_video_and_missing_pixels_are_refused(tmp_path: Path):
    video = dicom(tmp_path / "v.dcm", RAMP, syntax=MPEG2MPML, pixels=encapsulate([b"\0\0"]))
    with pytest.raises(DataError, match=r"v\.dcm: encoded as MPEG2.*; save it as"):
        read_image(video)
    bare = pydicom.dcmread(dicom(tmp_path / "a.dcm", RAMP))
    del bare.PixelData
    bare.save_as(tmp_path / "bare.dcm")
    with pytest.raises(DataError, match="without an image"):
        read_image(tmp_path / "bare.dcm")
    with pytest.raises(DataError, match="without an image"):
        check_images([sample(tmp_path / "bare.dcm")])
