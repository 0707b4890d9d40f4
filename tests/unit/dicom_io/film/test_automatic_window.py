"""Films whose header has no window, or one that shows nothing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicom_io.create.phantom import drawn_chests
from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.film.greyscale import grey_curves, grey_table, table_of
from dicom_io.gate.picture_statistics import picture_statistics
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.reasons import Reason
from tests.support.films import close, expected, film, greys, lut, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

BYTES = ramp(dtype=np.uint8, top=255)


def test_a_film_without_a_window_spans_its_percentiles(tmp_path: Path) -> None:
    pixels = ramp(top=1500) + np.uint16(1000)
    pixels[0, :50], pixels[-1, -50:] = 0, 4095  # a few dead and hot pixels
    low, high = np.percentile(pixels, (0.5, 99.5))
    assert close(greys(tmp_path, pixels), expected(pixels, low, high))


@pytest.mark.parametrize("times", [2, 4, 6, 7, 8, 9, 10, 16])
def test_no_window_however_wide_makes_a_chest_a_blank_film(times: int, tmp_path: Path) -> None:
    chest = drawn_chests()["NORMAL"].astype(np.uint16) * 16
    shown = greys(tmp_path, chest, WindowCenter="2048", WindowWidth=str(times * 4096))
    assert not picture_statistics(shown).is_constant


@pytest.mark.parametrize(
    ("center", "width"),
    [("30000", "100"), ("-30000", "100"), ("2048", "1e9"), ("2048", "1e300"), ("1e300", "1e300"), ("60000", "1")],
)
@pytest.mark.parametrize("function", [None, "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_shows_nothing_is_as_none(
    center: str, width: str, function: str | None, photometric: str, tmp_path: Path
) -> None:
    elements: dict[str, Any] = {"PhotometricInterpretation": photometric}
    ds = film(ramp(), BitsStored=12, VOILUTFunction=function, **elements)
    ds.add_new(0x00281050, "LO", center)
    ds.add_new(0x00281051, "LO", width)
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, greys(tmp_path, **elements))


def test_a_lut_that_shows_nothing_leaves_its_place_to_the_window(tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": "1000", "WindowWidth": "2000"}
    ours = greys(tmp_path, VOILUTSequence=lut([2, 0, 12], [7, 7]), **window)
    assert np.array_equal(ours, greys(tmp_path, **window))


def test_a_narrow_window_on_the_picture_is_believed(tmp_path: Path) -> None:
    ours = greys(tmp_path, WindowCenter="4000", WindowWidth="100")
    assert close(ours, expected(ramp(), 3950, 4049))


def test_a_window_beside_eight_bit_greys_leaves_them_as_they_are(tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, BYTES, WindowCenter="2048", WindowWidth="4096"), BYTES)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "2048", "WindowWidth": "4096"}])
def test_a_picture_of_one_grey_stays_constant(window: dict[str, str], tmp_path: Path) -> None:
    path = save(film(np.full((160, 256), 1000, np.uint16), BitsStored=12, **window), tmp_path)
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    assert caught.value.reason is Reason.CONSTANT_PICTURE


def test_an_unexposed_film_is_not_blown_up_against_its_window(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).integers(1000, 1008, (160, 256)).astype(np.uint16)
    path = save(film(noise, BitsStored=12, WindowCenter="2048", WindowWidth="4096"), tmp_path)
    assert np.ptp(film_of_dicom(path).pixels.astype(int)) <= 1
    assert len(list(grey_curves(read_stored_pixels(path), 1))) == 1


def test_windows_are_pairs_by_their_place(tmp_path: Path) -> None:
    ds = film(ramp(), BitsStored=12)
    ds.add_new(0x00281050, "LO", "1000\\3000")
    ds.add_new(0x00281051, "LO", "none\\500")
    ours = film_of_dicom(save(ds, tmp_path)).pixels
    assert np.array_equal(ours, greys(tmp_path, WindowCenter="3000", WindowWidth="500"))


def test_the_explanations_of_windows_change_nothing(tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": ["1000", "3000"], "WindowWidth": ["500", "100"]}
    ours = greys(tmp_path, WindowCenterWidthExplanation=["HARDER", "NORMAL"], **window)
    assert np.array_equal(ours, greys(tmp_path, **window))


def test_a_width_below_one_is_of_fractions(tmp_path: Path) -> None:
    fractions: dict[str, Any] = {"RescaleSlope": "0.0002", "RescaleIntercept": "0"}
    ours = greys(tmp_path, WindowCenter="0.4", WindowWidth="0.5", **fractions)
    assert close(ours, expected(ramp() * 0.0002, 0.15, 0.65))


@pytest.mark.parametrize("slope", ["0", "1e40", "1e-40", "-1e300"])
def test_an_absurd_rescale_is_as_none(slope: str, tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": "1000", "WindowWidth": "2000"}
    ours = greys(tmp_path, RescaleSlope=slope, RescaleIntercept="-500", **window)
    assert np.array_equal(ours, greys(tmp_path, **window))


@pytest.mark.parametrize(("sign", "turned"), [(1, False), (-1, True)])
def test_raw_intensities_without_a_window_are_shown_by_their_logarithm(sign: int, turned: bool, tmp_path: Path) -> None:
    pixels = ramp(top=4095)
    ours = greys(tmp_path, pixels, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=sign)
    intensity = (4095.0 - pixels if turned else pixels.astype(float)) + 1
    logarithm = -np.log(intensity) if turned else np.log(intensity)
    low, high = np.percentile(logarithm, (0.5, 99.5))
    assert close(ours, expected(logarithm, low, high))


@pytest.mark.parametrize("relationship", ["LOG", "DISP", "SQRT", "lin?", ""])
def test_no_other_relationship_to_the_beam_changes_anything(relationship: str, tmp_path: Path) -> None:
    ours = greys(tmp_path, PixelIntensityRelationship=relationship, PixelIntensityRelationshipSign=-1)
    assert np.array_equal(ours, greys(tmp_path))


def test_a_window_of_the_header_needs_no_logarithm(tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}
    ours = greys(tmp_path, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1, **window)
    assert np.array_equal(ours, greys(tmp_path, **window))


def test_eight_bit_greys_need_no_logarithm(tmp_path: Path) -> None:
    ours = greys(tmp_path, BYTES, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
    assert np.array_equal(ours, BYTES)


@pytest.mark.parametrize("elements", [{}, {"OverlayRows": 160, "OverlayColumns": 256, "OverlayBitPosition": 0}])
def test_overlays_are_not_drawn(elements: dict[str, int], tmp_path: Path) -> None:
    ds = film(ramp() | np.uint16(0x8000), BitsStored=12, WindowCenter="2048", WindowWidth="4096")
    ds.add_new(0x60000010, "US", 160)
    ds.add_new(0x60000011, "US", 256)
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 16 if not elements else 1)
    ds.add_new(0x60000102, "US", 15 if not elements else 0)
    if elements:
        ds.add_new(0x60003000, "OW", b"\xff" * (160 * 256 // 8))
    ours = film_of_dicom(save(ds, tmp_path)).pixels
    assert close(ours, expected(ramp(), 0, 4095))


@settings(max_examples=60, deadline=None)
@given(
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    shape=st.sampled_from([None, "IDENTITY", "INVERSE", "LIN OD"]),
    slope=st.floats(0.01, 50),
    center=st.floats(-500, 5000),
    width=st.floats(2, 9000),
    has_window=st.booleans(),
)
def test_whatever_the_header_says_the_picture_is_inverted_once_or_not_at_all(
    photometric: str,
    shape: str | None,
    slope: float,
    center: float,
    width: float,
    has_window: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    elements: dict[str, Any] = {"RescaleSlope": f"{slope:.6g}", "RescaleIntercept": "-7"}
    if has_window:
        elements |= {"WindowCenter": f"{center:.6g}", "WindowWidth": f"{width:.6g}"}
    folder = tmp_path_factory.mktemp("polarity")
    tables = []
    said: dict[str, Any] = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    for extra in ({}, said):
        path = save(film(ramp(128, 128), BitsStored=12, **elements, **extra), folder)
        tables.append(grey_table(read_stored_pixels(path), 1).astype(int))
    plain, ours = tables
    is_inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    assert np.abs(ours - (255 - plain if is_inverted else plain)).max() <= 1


NUMBERS = st.sampled_from(
    ["", "0", "-0", "1e12", "-1e12", "1e-12", "1e308", "1e-308", "9" * 16, "nan", "1\\2"]
) | st.floats(allow_nan=False, allow_infinity=False).map("{:.8g}".format)


@settings(max_examples=150, deadline=None)
@example(numbers=("0", "1e-308", "0", "1"), function=None, relationship=None, has_lut=False)
@example(numbers=("0", "0.001", "1e308", "1"), function=None, relationship=None, has_lut=False)
@given(
    numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    function=st.sampled_from([None, "LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    relationship=st.sampled_from([None, "LIN"]),
    has_lut=st.booleans(),
)
def test_no_number_of_a_header_breaks_the_arithmetic(
    numbers: tuple[str, str, str, str],
    function: str | None,
    relationship: str | None,
    has_lut: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ds = film(ramp(128, 128), BitsStored=12, VOILUTFunction=function, PixelIntensityRelationship=relationship)
    for tag, number in zip((0x00281050, 0x00281051, 0x00281052, 0x00281053), numbers, strict=True):
        ds.add_new(tag, "LO", number)
    if has_lut:
        ds.VOILUTSequence = lut([512, 100, 12], list(range(0, 4096, 8)))
    stored = read_stored_pixels(save(ds, tmp_path_factory.mktemp("numbers")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = [table_of(curve) for curve in grey_curves(stored, 1)]
    assert 1 <= len(tables) <= 3
    assert all(table.dtype == np.uint8 and table.shape == (4096,) for table in tables)
