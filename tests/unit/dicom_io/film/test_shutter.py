"""Padding, collimator and display shutter: hidden pixels are cut off or black, and do not influence the film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.film.shutter import MAX_VERTICES, visible_pixels
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.reasons import Reason
from tests.support.films import close, expected, film, greys, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIGNED = (ramp(top=4095).astype(np.int32) - 2048).astype(np.int16)
WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}
ROWS, COLUMNS = np.mgrid[1:161, 1:257]
MODULES = ["Collimator", "Shutter"]


def rectangle(module: str, left: int, right: int, upper: int, lower: int) -> dict[str, Any]:
    edges = {"LeftVertical": left, "RightVertical": right, "UpperHorizontal": upper, "LowerHorizontal": lower}
    return {f"{module}Shape": "RECTANGULAR"} | {f"{module}{name}Edge": edge for name, edge in edges.items()}


def circle(module: str, center: list[int], radius: int) -> dict[str, Any]:
    return {
        f"{module}Shape": "CIRCULAR",
        f"CenterOfCircular{module}": center,
        f"RadiusOfCircular{module}": radius,
    }


def polygon(module: str, vertices: list[int]) -> dict[str, Any]:
    return {f"{module}Shape": "POLYGONAL", f"VerticesOfThePolygonal{module}": vertices}


def opened(folder: Path, pixels: NDArray[Any] | None = None, **elements: Any) -> Any:
    path = save(film(ramp() if pixels is None else pixels, **elements), folder)
    return visible_pixels(read_stored_pixels(path))


def boxed(plane: NDArray[Any], visible: NDArray[np.bool_]) -> NDArray[Any]:
    """What lies within the outermost visible rows and columns."""
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    return plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_padding_does_not_count_in_the_percentiles_and_is_cut_off(tmp_path: Path) -> None:
    pixels = ramp(top=1500) + np.uint16(1000)
    padded = pixels.copy()
    padded[:, :60] = 4000
    ours = greys(tmp_path, padded, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    low, high = np.percentile(pixels[:, 60:], (0.5, 99.5))
    assert close(ours, 255 - expected(pixels[:, 60:], low, high))


def test_a_range_of_padding_is_black(tmp_path: Path) -> None:
    pixels = ramp().T.copy().reshape(160, 256)
    pixels[::2] = 100
    ours = greys(tmp_path, pixels, PixelPaddingValue=3000, PixelPaddingRangeLimit=4095, **WINDOW)
    visible = pixels < 3000
    assert (ours[~visible] == 0).all()
    assert np.array_equal(ours[visible], greys(tmp_path, pixels, **WINDOW)[visible])


def test_negative_padding_of_signed_pixels_is_black(tmp_path: Path) -> None:
    ds = film(SIGNED, BitsStored=12, WindowCenter="0", WindowWidth="4096", PresentationLUTShape="INVERSE")
    ds.add_new(0x00280120, "SS", -2048)
    ours = film_of_dicom(save(ds, tmp_path)).pixels
    assert (ours[SIGNED == -2048] == 0).all()
    assert ours[SIGNED == -2047].min() > 250


def test_a_padding_value_that_no_pixel_can_hold_is_ignored(tmp_path: Path) -> None:
    ours = greys(tmp_path, PixelPaddingValue=65535, **WINDOW)
    assert np.array_equal(ours, greys(tmp_path, **WINDOW))


def test_a_padding_limit_without_a_padding_value_is_ignored(tmp_path: Path) -> None:
    assert opened(tmp_path, BitsStored=12, PixelPaddingRangeLimit=3000) is None


def test_a_range_of_padding_may_be_written_either_way_round_and_across_zero(tmp_path: Path) -> None:
    for first, limit in ((-500, 200), (200, -500)):
        ds = film(SIGNED, BitsStored=12)
        ds.add_new(0x00280120, "SS", first)
        ds.add_new(0x00280121, "SS", limit)
        visible: Any = visible_pixels(read_stored_pixels(save(ds, tmp_path)))
        assert np.array_equal(visible, (SIGNED < -500) | (SIGNED > 200))


def test_padding_of_nearly_everything_is_a_mistake(tmp_path: Path) -> None:
    ours = greys(tmp_path, PixelPaddingValue=0, PixelPaddingRangeLimit=4000, **WINDOW)
    assert np.array_equal(ours, greys(tmp_path, **WINDOW))


def test_a_film_that_is_one_grey_beside_its_padding_is_constant(tmp_path: Path) -> None:
    pixels = np.where(ramp(320, 256) > 2000, 3000, 0).astype(np.uint16)
    path = save(film(pixels, BitsStored=12, PixelPaddingValue=0, **WINDOW), tmp_path)
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    assert caught.value.reason is Reason.CONSTANT_PICTURE


def test_edges_of_a_collimator_do_not_count_as_contrast(tmp_path: Path) -> None:
    collimator = rectangle("Collimator", 100, 533, 100, 411)
    path = save(film(np.full((512, 640), 2000, np.uint16), BitsStored=12, **collimator, **WINDOW), tmp_path)
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    assert caught.value.reason is Reason.CONSTANT_PICTURE


def test_a_film_without_a_whole_block_off_its_padding_is_still_shown(tmp_path: Path) -> None:
    pixels = ramp(512, 640) | np.uint16(1)
    pixels[::2, ::2] = 0
    ours = greys(tmp_path, pixels, PixelPaddingValue=0, WindowCenter="1024", WindowWidth="2048")
    assert close(ours, expected(pixels, 0, 2047).reshape(256, 2, 320, 2).mean(axis=(1, 3)))


@settings(max_examples=30, deadline=None)
@given(value=st.integers(0, 4095), padding=st.integers(0, 4095), photometric=st.sampled_from([1, 2]))
def test_padding_never_influences_the_other_pixels(
    value: int, padding: int, photometric: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("padding")
    pixels = ramp(160, 160)
    pixels[pixels == padding] = padding + 1 if padding < 4095 else 0
    elements = {"PhotometricInterpretation": f"MONOCHROME{photometric}"}
    framed = pixels.copy()
    framed[:, :20] = padding
    other = pixels.copy()
    other[:, :20] = value
    shown = greys(folder, framed, PixelPaddingValue=padding, **elements)
    masked = greys(folder, other, **rectangle("Collimator", 21, 160, 1, 160), **elements)
    assert np.array_equal(shown, masked)


@pytest.mark.parametrize("module", MODULES)
def test_a_rectangle_counts_rows_and_columns_from_one(module: str, tmp_path: Path) -> None:
    visible = opened(tmp_path, **rectangle(module, 21, 200, 11, 150))
    assert np.array_equal(visible, (COLUMNS >= 21) & (COLUMNS <= 200) & (ROWS >= 11) & (ROWS <= 150))


@pytest.mark.parametrize("module", MODULES)
def test_a_circle_is_named_by_row_and_column_of_its_center(module: str, tmp_path: Path) -> None:
    visible = opened(tmp_path, **circle(module, [60, 140], 70))
    assert np.array_equal(visible, (ROWS - 60) ** 2 + (COLUMNS - 140) ** 2 <= 70**2)


@pytest.mark.parametrize("module", MODULES)
def test_a_polygon_is_named_by_row_and_column_of_its_vertices(module: str, tmp_path: Path) -> None:
    visible = opened(tmp_path, **polygon(module, [11, 21, 11, 201, 151, 201, 151, 21]))
    assert np.array_equal(visible, (COLUMNS >= 21) & (COLUMNS <= 201) & (ROWS >= 11) & (ROWS <= 151))


def test_a_triangle_hides_what_is_beyond_its_slanting_edge(tmp_path: Path) -> None:
    visible = opened(tmp_path, ramp(160, 160), **polygon("Collimator", [1, 1, 1, 160, 160, 1]))
    rows, columns = np.mgrid[1:161, 1:161]
    assert np.array_equal(visible, rows + columns <= 161)


def test_of_several_shapes_the_least_opening_counts(tmp_path: Path) -> None:
    shapes = rectangle("Collimator", 21, 256, 1, 160) | circle("Collimator", [80, 128], 100)
    shapes["CollimatorShape"] = ["RECTANGULAR", "CIRCULAR"]
    visible = opened(tmp_path, **shapes, **polygon("Shutter", [1, 1, 1, 200, 160, 200, 160, 1]))
    assert np.array_equal(
        visible, (COLUMNS >= 21) & (COLUMNS <= 200) & ((ROWS - 80) ** 2 + (COLUMNS - 128) ** 2 <= 100**2)
    )


@pytest.mark.parametrize(
    "shape",
    [
        {"CollimatorShape": "RECTANGULAR"},
        rectangle("Collimator", 200, 21, 11, 150),
        rectangle("Collimator", 1, 40, 1, 40),
        rectangle("Collimator", 300, 400, 1, 160),
        rectangle("Collimator", 1, 256, 1, 160) | {"CollimatorLeftVerticalEdge": None},
        circle("Collimator", [80, 128], 0),
        circle("Collimator", [80, 128], -90),
        circle("Collimator", [80, 128], 2**31 - 1),
        circle("Collimator", [5000, 5000], 90),
        circle("Collimator", [80], 90),
        polygon("Collimator", [11, 21, 11, 200]),
        polygon("Collimator", [11, 21, 11, 200, 150, 200, 150]),
        polygon("Collimator", [11, 21, 11, 2**31 - 1, 150, 2**31 - 1]),
        polygon("Collimator", [0, 0, 0, 0, 0, 0]),
        rectangle("Collimator", 21, 200, 11, 150) | {"CollimatorShape": "HEXAGONAL"},
        rectangle("Collimator", 21, 200, 11, 150) | {"CollimatorShape": None},
    ],
)
def test_an_impossible_or_tiny_opening_is_as_none(shape: dict[str, Any], tmp_path: Path) -> None:
    assert np.array_equal(greys(tmp_path, **shape, **WINDOW), greys(tmp_path, **WINDOW))


def round_polygon(vertices: int) -> list[int]:
    angles = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    corners = np.column_stack((80 + 70 * np.sin(angles), 128 + 100 * np.cos(angles)))
    return [round(number) for number in corners.ravel()]


@pytest.mark.parametrize("coding", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("vr", ["IS", "US", "SS", "UL", "SL", "OB"])
@pytest.mark.parametrize("vertices", [MAX_VERTICES, MAX_VERTICES + 1])
def test_vertices_are_counted_by_their_number_whatever_their_coding(
    vertices: int, vr: str, coding: str, tmp_path: Path
) -> None:
    numbers = round_polygon(vertices)
    ds = film(ramp(), syntax=coding, CollimatorShape="POLYGONAL", BitsStored=12)
    # an implicit data set names no representation: there it is the dictionary's
    if vr == "OB":
        text = "\\".join(map(str, numbers)).encode()
        ds.add_new(0x00181720, vr, text + b" " * (len(text) % 2))
    elif coding == "1.2.840.10008.1.2":
        ds.add_new(0x00181720, "IS", numbers)
    else:
        ds.add_new(0x00181720, vr, numbers)
    visible = visible_pixels(read_stored_pixels(save(ds, tmp_path)))
    assert (visible is None) == (vertices > MAX_VERTICES)
    if visible is not None:
        assert 0.5 < visible.mean() < 0.6


def test_openings_that_contradict_each_other_are_as_none(tmp_path: Path) -> None:
    shapes = rectangle("Collimator", 1, 120, 1, 160) | rectangle("Shutter", 130, 256, 1, 160)
    assert opened(tmp_path, **shapes) is None


def test_padding_that_contradicts_the_opening_is_left_out(tmp_path: Path) -> None:
    pixels = ramp()
    pixels[:, :120] = 0
    visible = opened(tmp_path, pixels, BitsStored=12, PixelPaddingValue=0, **rectangle("Collimator", 1, 120, 1, 160))
    assert np.array_equal(visible, COLUMNS <= 120)


@pytest.mark.parametrize("edges", [(0, 511, 0, 319), (1, 512, 1, 320), (-20, 600, -7, 400)])
def test_an_opening_as_large_as_the_picture_needs_no_mask(edges: tuple[int, int, int, int], tmp_path: Path) -> None:
    assert opened(tmp_path, ramp(320, 512), **rectangle("Collimator", *edges)) is None


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "shape", [rectangle("Collimator", 21, 200, 11, 150), circle("Collimator", [80, 128], 75)], ids=["box", "circle"]
)
def test_what_the_collimator_hides_is_black_or_cut_off_whatever_the_polarity(
    shape: dict[str, Any], photometric: str, tmp_path: Path
) -> None:
    ours = greys(tmp_path, PhotometricInterpretation=photometric, **shape, **WINDOW)
    visible = opened(tmp_path, **shape)
    whole = boxed(greys(tmp_path, PhotometricInterpretation=photometric, **WINDOW), visible)
    assert np.array_equal(ours, whole * boxed(visible, visible))


def test_what_the_collimator_hides_does_not_count_in_the_automatic_window(tmp_path: Path) -> None:
    pixels = (ramp(top=1000) + 500).astype(np.uint16)
    pixels[:, :50] = 4095
    ours = greys(tmp_path, pixels, **rectangle("Collimator", 51, 256, 1, 160))
    low, high = np.percentile(pixels[:, 50:], (0.5, 99.5))
    assert close(ours, expected(pixels[:, 50:], low, high))


@settings(max_examples=30, deadline=None)
@given(
    edges=st.tuples(st.integers(-5, 150), st.integers(300, 700), st.integers(-5, 150), st.integers(300, 700)),
    hidden=st.integers(0, 4095),
    shape=st.sampled_from(["rectangle", "circle", "polygon"]),
)
def test_hidden_pixels_never_influence_those_inside(
    edges: tuple[int, int, int, int], hidden: int, shape: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shutter")
    left, right, upper, lower = edges
    header = {
        "rectangle": rectangle("Collimator", left, right, upper, lower),
        "circle": circle("Shutter", [256, right // 2], 250),
        "polygon": polygon("Collimator", [upper, left, lower, right, lower, left]),
    }[shape]
    pixels = ramp(512, 640)
    visible = opened(folder, pixels, BitsStored=12, **header)
    plain = greys(folder, pixels, **header)
    if visible is not None:
        pixels[~visible] = hidden
    assert np.array_equal(greys(folder, pixels, **header), plain)


def test_a_collimated_colour_capture_is_masked_too(tmp_path: Path) -> None:
    grey = ramp(dtype=np.uint8, top=255)
    ours = greys(tmp_path, np.dstack([grey] * 3), **rectangle("Collimator", 21, 200, 1, 160))
    assert np.array_equal(ours, grey[:, 20:200])


COORDINATES = st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 600) | st.sampled_from([0, 65535, -65535, 65536])


@settings(max_examples=150, deadline=None)
@given(
    shapes=st.lists(st.sampled_from(["RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP", ""]), max_size=4),
    edges=st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES),
    center=st.lists(COORDINATES, max_size=3),
    radius=COORDINATES,
    vertices=st.lists(COORDINATES, max_size=40),
)
def test_no_geometry_breaks_the_mask(
    shapes: list[str],
    edges: tuple[int, int, int, int],
    center: list[int],
    radius: int,
    vertices: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    header = rectangle("Collimator", *edges) | circle("Collimator", center, radius) | polygon("Collimator", vertices)
    visible = opened(tmp_path_factory.mktemp("geometry"), **header | {"CollimatorShape": shapes})
    assert visible is None or (visible.shape == (160, 256) and 0.1 <= visible.mean() <= 0.99)
