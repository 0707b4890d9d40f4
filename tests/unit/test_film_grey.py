"""The grey-scale chain: each transform alone against the standard or pydicom, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from dicom_io.decode import read_stored
from dicom_io.film import film_of_dicom
from dicom_io.greyscale import grey_table
from tests.films import film, lut, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# 160 to 255 pixels on the short side: the film is not reduced, so that greys can be compared one by one.
SIGNED = (ramp(top=4095).astype(np.int32) - 2048).astype(np.int16)
BYTES = ramp(dtype=np.uint8, top=255)
WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}


def greys(folder: Path, pixels: NDArray[Any] | None = None, **elements: Any) -> NDArray[np.uint8]:
    pixels = ramp() if pixels is None else pixels
    elements.setdefault("BitsStored", 12 if pixels.dtype.itemsize == 2 else 8)
    path = save(film(pixels, **elements), folder)
    return film_of_dicom(path).pixels


def expected(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    shares: NDArray[Any] = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(np.rint(shares * 255), dtype=np.uint8)


def close(ours: NDArray[np.uint8], theirs: NDArray[Any]) -> bool:
    return bool(np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= 1)


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


def test_a_film_without_a_window_spans_its_percentiles(tmp_path: Path) -> None:
    pixels = ramp(top=1500) + np.uint16(1000)
    pixels[0, :50], pixels[-1, -50:] = 0, 4095  # a few dead and hot pixels
    low, high = np.percentile(pixels, (0.5, 99.5))
    assert close(greys(tmp_path, pixels), expected(pixels, low, high))


def test_padding_does_not_count_in_the_percentiles_and_is_black(tmp_path: Path) -> None:
    pixels = ramp(top=1500) + np.uint16(1000)
    padded = pixels.copy()
    padded[:, :60] = 4000
    ours = greys(tmp_path, padded, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    assert (ours[:, :60] == 0).all()
    low, high = np.percentile(pixels[:, 60:], (0.5, 99.5))
    assert close(ours[:, 60:], 255 - expected(pixels[:, 60:], low, high))


def test_a_range_of_padding_is_black(tmp_path: Path) -> None:
    ours = greys(tmp_path, PixelPaddingValue=3000, PixelPaddingRangeLimit=4095, **WINDOW)
    assert (ours[ramp() >= 3000] == 0).all()
    assert np.array_equal(ours[ramp() < 3000], greys(tmp_path, **WINDOW)[ramp() < 3000])


def test_negative_padding_of_signed_pixels_is_black(tmp_path: Path) -> None:
    ds = film(SIGNED, BitsStored=12, WindowCenter="0", WindowWidth="4096", PresentationLUTShape="INVERSE")
    ds.add_new(0x00280120, "SS", -2048)
    ours = film_of_dicom(save(ds, tmp_path)).pixels
    assert (ours[SIGNED == -2048] == 0).all()
    assert ours[SIGNED == -2047].min() > 250


def test_padding_that_no_pixel_can_hold_is_no_padding(tmp_path: Path) -> None:
    ours = greys(tmp_path, PixelPaddingValue=65535, **WINDOW)
    assert np.array_equal(ours, greys(tmp_path, **WINDOW))


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


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_a_voi_lut_goes_before_the_window(syntax: str, tmp_path: Path) -> None:
    table = lut([1024, 500, 12], [int(4095 * (i / 1023) ** 2) for i in range(1024)])
    ours = greys(tmp_path, syntax=syntax, VOILUTSequence=table, **WINDOW)
    theirs = apply_voi_lut(ramp(), film(ramp(), BitsStored=12, VOILUTSequence=table))
    assert close(ours, theirs / 4095 * 255)


def test_a_voi_lut_of_signed_values_begins_below_zero(tmp_path: Path) -> None:
    table = lut([4096, -2048, 16], [16 * i for i in range(4096)])
    assert close(greys(tmp_path, SIGNED, VOILUTSequence=table), expected(SIGNED, -2048.0, 2047.9))


def test_a_lut_of_65536_entries_declares_zero(tmp_path: Path) -> None:
    table = lut([0, 0, 16], list(range(65536)))
    full = ramp(top=65535)
    assert close(greys(tmp_path, full, BitsStored=16, VOILUTSequence=table), expected(full, 0.0, 65535.0))


def test_a_lut_of_bytes_may_be_packed(tmp_path: Path) -> None:
    table = lut([256, 0, 8], [0])
    table[0].add_new(0x00283006, "OW", bytes(255 - i for i in range(256)))
    assert np.array_equal(greys(tmp_path, BYTES, VOILUTSequence=table), 255 - BYTES)


def test_a_lut_that_declares_more_bits_than_it_uses_is_not_shown_dark(tmp_path: Path) -> None:
    table = lut([4096, 0, 16], list(range(4096)))
    assert close(greys(tmp_path, VOILUTSequence=table), expected(ramp(), 0.0, 4095.0))


def test_a_broken_lut_is_as_none(tmp_path: Path) -> None:
    table = lut([256, 0, 8], [0])
    del table[0][0x00283006]
    assert np.array_equal(greys(tmp_path, VOILUTSequence=table, **WINDOW), greys(tmp_path, **WINDOW))


def test_a_modality_lut_goes_before_the_window(tmp_path: Path) -> None:
    table = lut([4096, 0, 16], [65535 - 16 * i for i in range(4096)])
    window: dict[str, Any] = {"WindowCenter": "32768", "WindowWidth": "65536"}
    ours = greys(tmp_path, ModalityLUTSequence=table, RescaleSlope="7", **window)
    ds = film(ramp(), BitsStored=12, ModalityLUTSequence=table, **window)
    theirs = apply_modality_lut(ramp(), ds).astype(float)
    assert close(ours, expected(theirs, 0.0, 65535.0))


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
    table = grey_table(read_stored(path), 1)
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
    stored = read_stored(path)
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
