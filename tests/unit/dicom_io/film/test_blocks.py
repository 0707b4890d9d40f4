"""The film from the means of stored values: within its bound of the means of greys for any grey curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.film.blocks import TOLERANCE, Blocks
from dicom_io.film.film import film_of_dicom
from tests.support.compressed import compressed
from tests.support.films import film, lut, save
from tests.support.full_route import errors, full_route

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
STEEP = [0] * 2000 + [4095] * 2096
SMOOTH = (4095 / (1 + np.exp(-(np.arange(4096) - 2000) / 400))).round().astype(int).tolist()
CURVES: dict[str, dict[str, Any]] = {
    "no window": {},
    "window over all values": {"WindowCenter": "2048", "WindowWidth": "4096"},
    "window": {"WindowCenter": "1500", "WindowWidth": "1200"},
    "narrow window": {"WindowCenter": "2000", "WindowWidth": "60"},
    "sigmoid": {"WindowCenter": "2000", "WindowWidth": "1500", "VOILUTFunction": "SIGMOID"},
    "rescale": {"RescaleSlope": "-0.5", "RescaleIntercept": "3000", "WindowCenter": "2000", "WindowWidth": "1500"},
    "smooth LUT": {"VOILUTSequence": lut([4096, 0, 12], SMOOTH)},
    "steep LUT": {"VOILUTSequence": lut([4096, 0, 12], STEEP)},
    "LUT of 8 bits": {"VOILUTSequence": lut([4096, 0, 8], [value >> 4 for value in range(4096)])},
    "modality LUT": {"ModalityLUTSequence": lut([4096, 0, 12], SMOOTH)},
    "linear in intensity": {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1},
}


def radiograph(rows: int = 1000, columns: int = 720, *, top: int = 4095) -> NDArray[np.uint16]:
    """Soft shapes, the noise of a detector, letters with hard edges, and a frame that was not exposed."""
    y, x = np.mgrid[:rows, :columns]
    noise = np.random.default_rng(1).normal(0, 0.006, (rows, columns))
    shares = 0.5 + 0.3 * np.sin(x / 90) * np.cos(y / 120) + noise
    shares[80:160, 60:70] = shares[80:90, 60:120] = 1
    shares[:, -9:] = 0
    return np.asarray((shares * top).clip(0, top).round().astype(np.uint16))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_film_is_that_of_every_pixel_looked_up(curve: str, photometric: str, tmp_path: Path) -> None:
    elements = CURVES[curve] | {"PhotometricInterpretation": photometric}
    path = save(film(radiograph(), BitsStored=12, **elements), tmp_path)
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    # rounding alone is up to half a grey level in each pixel of the film
    assert largest <= 0.75
    assert mean <= 0.15


@pytest.mark.parametrize("bits", [8, 10, 14, 16])
def test_values_of_any_depth_are_added_up_without_overflow(bits: int, tmp_path: Path) -> None:
    top = (1 << bits) - 1
    pixels = radiograph(top=top).astype(np.uint8 if bits == 8 else np.uint16)
    window = {"WindowCenter": str(1 << (bits - 1)), "WindowWidth": str(1 << bits)}
    path = save(film(pixels, BitsStored=bits, **window), tmp_path)
    assert errors(film_of_dicom(path).pixels, full_route(path))[0] <= 0.75


def test_a_film_without_loss_is_the_film_of_the_uncompressed_picture(tmp_path: Path) -> None:
    pixels, window = radiograph(), CURVES["window"]
    code = bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=12))
    packed = film_of_dicom(compressed(tmp_path, pixels, JPEG_LOSSLESS, code, BitsStored=12, **window))
    plain = film_of_dicom(save(film(pixels, BitsStored=12, **window), tmp_path, "plain.dcm"))
    assert packed.sha256 == plain.sha256


def test_signed_values_give_the_film_of_the_same_unsigned_ones(tmp_path: Path) -> None:
    pixels = radiograph()
    signed = (pixels.astype(np.int32) - 2048).astype(np.int16)
    plain = save(film(pixels, BitsStored=12, WindowCenter="2048", WindowWidth="2000"), tmp_path)
    shifted = save(film(signed, BitsStored=12, WindowCenter="0", WindowWidth="2000"), tmp_path, "signed.dcm")
    assert np.abs(film_of_dicom(plain).pixels.astype(int) - film_of_dicom(shifted).pixels).max() <= 1


def test_padding_beside_the_anatomy_is_black_and_does_not_enter_a_mean(tmp_path: Path) -> None:
    pixels = radiograph()
    pixels[:203, :205] = 0
    window = {"WindowCenter": "2048", "WindowWidth": "4096", "PhotometricInterpretation": "MONOCHROME1"}
    path = save(film(pixels[:, :-16], BitsStored=12, PixelPaddingValue=0, **window), tmp_path)
    shown = 255 - np.rint(pixels[:, :-16] / 4095 * 255)
    shown[pixels[:, :-16] == 0] = 0
    expected = shown.reshape(500, 2, 352, 2).mean(axis=(1, 3))
    assert np.abs(film_of_dicom(path).pixels - expected).max() <= 1


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(8, 40),
    columns=st.integers(8, 40),
    block=st.sampled_from([2, 4, 8]),
    bits=st.sampled_from([8, 12, 16]),
    knots=st.lists(st.floats(0, 255), min_size=2, max_size=6),
    is_smooth=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_pixel_is_within_the_tolerance_of_the_mean_of_its_greys_for_any_curve(
    rows: int, columns: int, block: int, bits: int, knots: list[float], *, is_smooth: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    top = (1 << bits) - 1
    values = np.clip(rng.normal(top / 2, top / (200 if is_smooth else 5), (rows, columns)), 0, top)
    dtype: type[np.uint8 | np.uint16] = np.uint8 if bits == 8 else np.uint16
    pixels: NDArray[np.uint8 | np.uint16] = values.astype(dtype)
    curve = np.interp(np.arange(top + 1), np.linspace(0, top, len(knots)), knots)
    found = Blocks(pixels, block, top).greys(curve)
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            part = pixels[row * block : (row + 1) * block, column * block : (column + 1) * block]
            # 0.5 for rounding; the look-up of every pixel rounds twice, and Pillow rounds the mean of a part of a block,
            # whose number of pixels is no power of two, down where it is exact: of three pixels by up to two thirds
            rounding = 0.5 if part.size == block**2 else 0.67
            assert abs(found[row, column] - curve[part].mean()) <= TOLERANCE + rounding + 0.02


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(16, 70),
    columns=st.integers(16, 70),
    block=st.sampled_from([1, 2, 4, 8, 16]),
    bits=st.sampled_from([8, 12, 16]),
    centre=st.floats(0, 1),
    width=st.floats(0.01, 2),
    seed=st.integers(0, 999),
)
def test_each_block_is_looked_up_as_its_smallest_and_largest_value_ask(
    rows: int, columns: int, block: int, bits: int, centre: float, width: float, seed: int
) -> None:
    """The short cuts (bends of a window, sums as halves of numbers, tables of means) change no byte."""
    rng = np.random.default_rng(seed)
    top = (1 << bits) - 1
    values = np.clip(rng.normal(top / 2, top / 300, (rows, columns)), 0, top)
    values[rng.random(values.shape) < 0.5 / block**2] = top
    dtype: type[np.uint8 | np.uint16] = np.uint8 if bits == 8 else np.uint16
    pixels: NDArray[np.uint8 | np.uint16] = values.astype(dtype)
    curve = ((np.arange(top + 1) / top - centre) / width + 0.5).clip(0, 1) * 255
    expected, bent = np.empty((-(-rows // block), -(-columns // block)), np.uint8), 0
    for row, column in np.ndindex(expected.shape):
        part = pixels[row * block : (row + 1) * block, column * block : (column + 1) * block]
        between = curve[int(part.min()) : int(part.max()) + 1]
        is_bent = np.abs(np.diff(between, 2)).sum() * (between.size - 1) / 4 > TOLERANCE
        bent += is_bent
        mean = part.mean()
        grey = curve[part].mean() if is_bent else np.interp(mean, np.arange(top + 1), curve)
        expected[row, column] = np.floor(grey + 0.5 + 1e-9)
    found = Blocks(pixels, block, top).greys(curve)
    # with more bent blocks all pixels are looked up, which rounds twice
    apart = 0 if bent <= 0.2 * expected.size else 1
    assert np.abs(found.astype(int) - expected).max() <= apart
