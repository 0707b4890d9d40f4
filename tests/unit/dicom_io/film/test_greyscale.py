"""The grey-scale chain: each transform alone against the standard or pydicom, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from dicom_io.film.film import film_of_dicom
from dicom_io.film.greyscale import grey_table
from dicom_io.pixels.decode import read_stored_pixels
from tests.support.films import close, expected, film, greys, ramp, save

if TYPE_CHECKING:
    from pathlib import Path


# 160 to 255 pixels on the short side: the film is not reduced, so that greys can be compared one by one.
SIGNED = (ramp(top=4095).astype(np.int32) - 2048).astype(np.int16)
BYTES = ramp(dtype=np.uint8, top=255)
WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}


def test_eight_bit_greys_without_a_window_stay_as_they_are(tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, BYTES), BYTES)


def test_fewer_bits_span_the_whole_grey_scale(tmp_path: Path) -> None:
    pixels = ramp(dtype=np.uint8, top=15)
    assert np.array_equal(greys(tmp_path, pixels, BitsStored=4), pixels * 17)


def test_eight_bit_greys_keep_their_order_through_a_rescale(tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, BYTES, RescaleSlope="2", RescaleIntercept="-100"), BYTES)
    assert np.array_equal(greys(tmp_path, BYTES, RescaleSlope="-1", RescaleIntercept="255"), 255 - BYTES)


@pytest.mark.parametrize(
    ("elements", "is_inverted"),
    [
        ({}, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PresentationLUTShape": "INVERSE"}, True),
        ({"PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, True),
    ],
)
def test_a_film_is_inverted_once_or_not_at_all(elements: dict[str, str], is_inverted: bool, tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, BYTES, **elements), 255 - BYTES if is_inverted else BYTES)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID", "linear", "NONSENSE"])
@pytest.mark.parametrize(("center", "width"), [("2048", "4096"), ("1000", "500"), ("3000.5", "100"), ("-50", "8000")])
def test_a_window_is_applied_as_pydicom_does(function: str | None, center: str, width: str, tmp_path: Path) -> None:
    ours = greys(tmp_path, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    known = (function or "").upper() if (function or "").upper() in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else None
    ds = film(ramp(), BitsStored=12, WindowCenter=center, WindowWidth=width, VOILUTFunction=known)
    assert close(ours, apply_voi_lut(ramp(), ds) / 4095 * 255)


def test_the_first_of_several_windows_is_taken(tmp_path: Path) -> None:
    ours = greys(tmp_path, WindowCenter=["1000", "3000"], WindowWidth=["500", "100"])
    assert np.array_equal(ours, greys(tmp_path, WindowCenter="1000", WindowWidth="500"))


def test_a_window_of_width_one_is_a_threshold(tmp_path: Path) -> None:
    ours = greys(tmp_path, WindowCenter="2000", WindowWidth="1")
    assert np.array_equal(ours, np.where(ramp() > 1999.5, 255, 0))


@pytest.mark.parametrize("width", ["0", "-5", "nan", "wide", ""])
def test_an_impossible_window_is_as_none(width: str, tmp_path: Path) -> None:
    ds = film(ramp(), BitsStored=12, WindowCenter="2000")
    ds.add_new(0x00281051, "LO", width)  # DS would not take such values
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, greys(tmp_path))


def test_signed_pixels_are_read_in_twos_complement(tmp_path: Path) -> None:
    assert close(greys(tmp_path, SIGNED, WindowCenter="0", WindowWidth="4096"), expected(SIGNED, -2048.0, 2047.0))


def test_bits_beside_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    with_overlay = ramp() | np.uint16(0xA000)
    assert np.array_equal(greys(tmp_path, with_overlay, **WINDOW), greys(tmp_path, **WINDOW))


def test_stored_bits_may_lie_high(tmp_path: Path) -> None:
    high = (ramp() << 4) | np.uint16(7)
    assert np.array_equal(greys(tmp_path, high, HighBit=15, **WINDOW), greys(tmp_path, **WINDOW))


def test_the_window_is_applied_after_the_rescale(tmp_path: Path) -> None:
    ours = greys(tmp_path, RescaleSlope="0.5", RescaleIntercept="-100", WindowCenter="900", WindowWidth="1000")
    ds = film(
        ramp(), BitsStored=12, RescaleSlope="0.5", RescaleIntercept="-100", WindowCenter="900", WindowWidth="1000"
    )
    theirs = apply_voi_lut(apply_modality_lut(ramp(), ds), ds)
    assert close(ours, (theirs - theirs.min()) / (theirs.max() - theirs.min()) * 255)


@pytest.mark.parametrize("rescale", [{"RescaleSlope": "0"}, {"RescaleSlope": None, "RescaleIntercept": "0"}])
def test_a_useless_rescale_is_as_none(rescale: dict[str, Any], tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, **WINDOW, **rescale), greys(tmp_path, **WINDOW))


@settings(max_examples=40, deadline=None)
@given(
    center=st.floats(-5000, 9000),
    width=st.floats(1.5, 20_000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_a_window_never_turns_the_order_of_greys(
    center: float, width: float, function: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = ramp(128, 128)
    pixels[0, 0], pixels[-1, -1] = 0, 4095
    elements = {"WindowCenter": f"{center:.6g}", "WindowWidth": f"{width:.6g}", "VOILUTFunction": function}
    path = save(film(pixels, BitsStored=12, **elements), tmp_path_factory.mktemp("window"))
    table = grey_table(read_stored_pixels(path), 1)
    assert (np.diff(table.astype(int)) >= 0).all()


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "*966_fixed.dcm",
        "*RG1_J2KI.dcm",
        "*RG3_J2KR.dcm",
        "*JPEGLSLossless__RG2_JLSL.dcm",
        "*JPEGLosslessSV1__RG2_JPLL.dcm",
        "*850819.dcm",
        "*693_J2KR.dcm",
        "*vlut_04.dcm",
    ],
)
def test_the_chain_equals_pydicoms_on_real_files(name: str, test_data: Path) -> None:
    path = next((test_data / "dicom").rglob(name))
    ds = dcmread(path)
    stored = read_stored_pixels(path)
    ours = grey_table(stored, 1)[stored.pixels]
    modality = apply_modality_lut(ds.pixel_array, ds)
    if "VOILUTSequence" in ds or "WindowCenter" in ds:
        theirs = np.asarray(apply_voi_lut(modality, ds), dtype=float)
        low, high = _output_range(ds)
    else:
        theirs, low, high = np.asarray(modality, dtype=float), 0.0, 255.0
    theirs = ((theirs - low) / (high - low)).clip(0, 1) * 255
    if ds.PhotometricInterpretation == "MONOCHROME1":
        theirs = 255 - theirs
    assert np.abs(ours - theirs).max() <= 1


def _output_range(ds: Any) -> tuple[float, float]:
    """The range pydicom's VOI step maps to: of the LUT's bits, else of every value the stored bits can hold."""
    if "VOILUTSequence" in ds:
        return 0.0, float(2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    low = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    high = low + 2**ds.BitsStored - 1
    return low * slope + intercept, high * slope + intercept
