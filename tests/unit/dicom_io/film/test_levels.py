"""Films from a lower resolution of JPEG 2000 and HTJ2K: within their bound of the full picture, or made from it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.film.levels import film_of_levels
from dicom_io.film.route import Route, route_of
from dicom_io.gate.picture_statistics import picture_statistics
from dicom_io.pixels.codestream_j2k import levels_of
from dicom_io.pixels.decode import Frame, StoredPixels, read_frame, stored_pixels
from dicom_io.pixels.wavelet import Wavelet, low_pass, wavelet_of
from dicom_io.reasons import Reason
from model.serving.bundle import builtin_folder, find_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from tests.support.compressed import compressed
from tests.support.films import lut
from tests.support.full_route import errors, full_route

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REVERSIBLE, IRREVERSIBLE, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201"
SYNTAXES = {"5/3": REVERSIBLE, "9/7": IRREVERSIBLE, "HTJ2K": HTJ2K}
WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}
SMOOTH = (4095 / (1 + np.exp(-(np.arange(4096) - 2000) / 700))).round().astype(int).tolist()
SIDES = {"upright": (2504, 2048), "lying": (2048, 2504)}


def soft(rows: int, columns: int) -> NDArray[np.uint16]:
    """Shapes without hard edges, and the noise of a detector; 12 bits."""
    y, x = np.mgrid[:rows, :columns]
    shares = 0.5 + 0.3 * np.sin(x * 9 / columns) * np.cos(y * 7 / rows) + 0.05 * np.sin((x + y) * 60 / columns)
    noise = np.random.default_rng(2).normal(0, 12, (rows, columns))
    return np.asarray((shares * 4095 + noise).clip(0, 4095).round().astype(np.uint16))


def lettered(rows: int, columns: int) -> NDArray[np.uint16]:
    pixels = soft(rows, columns)
    pixels[300:420, 301:309] = pixels[300:309, 301:365] = 4095
    return pixels


def encoded(pixels: NDArray[Any], syntax: str, **options: Any) -> bytes:
    if syntax == HTJ2K:
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    given: dict[str, Any] = {"bitspersample": 12, "resolutions": 6, "codecformat": "j2k"} | options
    return bytes(imagecodecs.jpeg2k_encode(pixels, reversible=syntax == REVERSIBLE, level=70, **given))


def packed(folder: Path, pixels: NDArray[Any], syntax: str, **elements: Any) -> Path:
    code = encoded(pixels, syntax)
    return compressed(folder, pixels, syntax, code, **({"BitsStored": 12} | WINDOW | elements))


def levels_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The levels at which the film of a file was decoded; 0 for the full picture."""
    used: list[int] = []

    def at_level(wavelet: Wavelet, level: int) -> NDArray[np.float64]:
        used.append(level)
        return low_pass(wavelet, level)

    def in_full(frame: Frame) -> StoredPixels:
        used.append(0)
        return stored_pixels(frame)

    monkeypatch.setattr("dicom_io.film.levels.low_pass", at_level)
    monkeypatch.setattr("dicom_io.film.film.stored_pixels", in_full)
    film_of_dicom(path)
    return used


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("coding", SYNTAXES)
def test_a_soft_film_is_made_from_a_lower_resolution_within_the_bound(
    coding: str, sides: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, soft(*SIDES[sides]), SYNTAXES[coding])
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25
    assert levels_used(path, monkeypatch)[-1] > 0


@pytest.mark.parametrize(("coding", "used"), [("5/3", [2]), ("9/7", [2]), ("HTJ2K", [2, 0])])
def test_of_a_film_with_letters_only_the_letters_are_decoded_in_full_where_the_decoder_can(
    coding: str, used: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, lettered(2504, 2048), SYNTAXES[coding])
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25
    assert levels_used(path, monkeypatch) == used


@pytest.mark.parametrize(
    ("height", "grey", "coding"), [(12, 1000, "5/3"), (12, 4000, "9/7"), (20, 1000, "9/7"), (36, 300, "5/3")]
)
def test_words_of_any_size_and_grey_keep_the_bound_without_the_full_picture(
    height: int, grey: int, coding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.fromarray(soft(2504, 2048).astype(np.float32) * 0.6)
    pen = ImageDraw.Draw(picture)
    for place in range(40, 2400, 300):
        pen.text((place % 1700, place), "AP ERECT R 12.5", float(grey), ImageFont.load_default(height))
    path = packed(tmp_path, np.asarray(picture).astype(np.uint16), SYNTAXES[coding])
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25
    assert levels_used(path, monkeypatch) == [2]


@pytest.mark.parametrize(("width", "grey"), [(1, 1200), (2, 3000), (3, 1200)])
def test_wires_keep_the_bound(grey: int, width: int, tmp_path: Path) -> None:
    picture = Image.fromarray(soft(2504, 2048).astype(np.float32) * 0.6)
    pen = ImageDraw.Draw(picture)
    for left in range(0, 2048, 512):
        pen.line((left, 0, left * 7 % 2048, 2503), float(grey), width)
    path = packed(tmp_path, np.asarray(picture).astype(np.uint16), REVERSIBLE)
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25


@pytest.mark.parametrize(("period", "amplitude"), [(2.3, 200), (2.3, 800), (3.1, 200), (5, 200), (7.7, 60), (20, 60)])
def test_the_lines_of_a_grid_keep_the_bound_whether_or_not_a_level_shows_them(
    period: float, amplitude: int, tmp_path: Path
) -> None:
    lines = amplitude * np.sin(2 * np.pi * np.arange(2048) / period)
    pixels = (soft(2504, 2048) * 0.7 + lines).clip(0, 4095).astype(np.uint16)
    path = packed(tmp_path, pixels, REVERSIBLE)
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25


def test_a_pattern_that_no_level_shows_is_found_by_what_is_decoded_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = (soft(2504, 2048) * 0.7 + 60 * np.sin(2 * np.pi * np.arange(2048) / 5)).clip(0, 4095).astype(np.uint16)
    assert levels_used(packed(tmp_path, pixels, REVERSIBLE), monkeypatch) == [2, 0]


def test_a_film_full_of_edges_takes_the_full_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = soft(2504, 2048)
    pixels[::24, ::3] = 4095
    assert levels_used(packed(tmp_path, pixels, REVERSIBLE), monkeypatch) == [2, 0]


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"VOILUTSequence": lut([4096, 0, 12], SMOOTH)},
        {"WindowCenter": "1800", "WindowWidth": "2400"},
        {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "3000", "WindowWidth": "8000"},
        {"WindowCenter": "2000", "WindowWidth": "1500", "VOILUTFunction": "SIGMOID"},
    ],
    ids=["MONOCHROME1", "LUT", "window", "rescale", "sigmoid"],
)
def test_any_grey_curve_keeps_the_bound(elements: dict[str, Any], tmp_path: Path) -> None:
    path = packed(tmp_path, soft(2056, 2048), HTJ2K, **elements)
    largest, mean = errors(film_of_dicom(path).pixels, full_route(path))
    assert largest <= 1.5
    assert mean <= 0.25


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": "2000", "WindowWidth": "200"},
        {"PixelPaddingValue": 0},
        {"CollimatorShape": "RECTANGULAR"},
        {"PixelRepresentation": 1},
        {"HighBit": 15},
    ],
    ids=["no window", "narrow window", "padding", "collimator", "signed", "high bit"],
)
def test_a_class_that_cannot_keep_the_bound_takes_the_full_route(
    elements: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, soft(2056, 2048), REVERSIBLE, **elements)
    assert levels_used(path, monkeypatch) == [0]


@pytest.mark.parametrize(
    "options",
    [{"tile_size": (512, 512)}, {"num_resolutions": 1}],
    ids=["tiles", "no levels"],
)
def test_a_stream_without_the_expected_samples_takes_the_full_route(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = soft(2056, 2048)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, **options)
    code = stream.getvalue()
    path = compressed(tmp_path, pixels, REVERSIBLE, code, BitsStored=12, **WINDOW)
    assert levels_used(path, monkeypatch) == [0]


@pytest.mark.parametrize(("at", "value"), [(16, 8), (42, 0x8B)], ids=["offset", "signed"])
def test_the_samples_of_a_stream_with_an_offset_or_signs_are_not_where_they_are_expected(at: int, value: int) -> None:
    code = bytearray(encoded(soft(64, 64), REVERSIBLE, resolutions=3))
    found = levels_of(bytes(code))
    assert found is not None
    assert (found.count, found.rows, found.columns, found.precision, found.is_reversible) == (2, 64, 64, 12, True)
    code[at : at + 1 if at == 42 else at + 4] = value.to_bytes(1 if at == 42 else 4, "big")
    assert levels_of(bytes(code)) is None


@pytest.mark.parametrize("size", [(2052, 2049), (2050, 2055)], ids=str)
@pytest.mark.parametrize("coding", SYNTAXES)
def test_odd_sizes_keep_the_size_of_the_film_and_its_place(coding: str, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = soft(*size)
    film = film_of_dicom(packed(tmp_path, pixels, SYNTAXES[coding])).pixels
    block = 8
    rows, columns = (side // block for side in size)
    means = (
        pixels[: rows * block, : columns * block].reshape(rows, block, columns, block).mean(axis=(1, 3)) / 4095 * 255
    )
    assert film.shape == tuple(-(-side // block) for side in size)
    assert np.abs(film[:rows, :columns] - means).max() <= 3.5
    assert np.abs(film[:rows, :columns] - means).mean() <= 0.5


def test_the_phase_of_the_wavelet_is_compensated(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 4095, 2048).round().astype(np.uint16), (2048, 1))
    wavelet = wavelet_of(read_frame(packed(tmp_path, ramp, REVERSIBLE)))
    assert wavelet is not None
    film = film_of_levels(wavelet, np.arange(4096) / 4095 * 255, 8)
    assert film is not None
    middles = (np.arange(256) * 8 + 3.5) / 2047 * 255
    # without it the ramp would be 0.19 levels darker at level 2
    assert np.abs((film[:, 8:-8] - middles[8:-8]).mean()) <= 0.06


@pytest.mark.parametrize("coding", SYNTAXES)
def test_a_stream_that_was_cut_short_is_refused_as_before(coding: str, tmp_path: Path) -> None:
    pixels = soft(2056, 2048)
    code = encoded(pixels, SYNTAXES[coding])[: -len(pixels)]
    path = compressed(tmp_path, pixels, SYNTAXES[coding], code, BitsStored=12, **WINDOW)
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    assert caught.value.reason is Reason.DECODE_FAILED


def test_smaller_films_take_the_full_route(tmp_path: Path) -> None:
    assert route_of(read_frame(packed(tmp_path, soft(1280, 1024), REVERSIBLE))) is Route.FULL


@pytest.mark.data
@pytest.mark.parametrize("coding", SYNTAXES)
def test_real_films_keep_the_bounds_the_score_and_the_verdicts_of_the_gate(
    coding: str, test_data: Path, tmp_path: Path
) -> None:
    classifiers = [_classifier(name) for name in ("auscult-2", "notebook-1")]
    for original in sorted((test_data / "chest_xray" / "fullres_train_samples").glob("*/*.jpeg"))[::2]:
        grey = np.asarray(Image.open(original).convert("L").resize((2048, 2504), Image.Resampling.BICUBIC))
        noise = np.random.default_rng(3).normal(0, 10, grey.shape)
        pixels = (grey * 15.0 + 100 + noise).clip(0, 4095).round().astype(np.uint16)
        path = packed(tmp_path, pixels, SYNTAXES[coding])
        film, reference = film_of_dicom(path).pixels, full_route(path)
        plain = np.rint(reference).astype(np.uint8)
        largest, mean = errors(film, reference)
        assert largest <= 1.5
        assert mean <= 0.25
        for classifier in classifiers:
            assert abs(classifier.score(film).probability - classifier.score(plain).probability) <= 0.01
        ours, full = picture_statistics(film), picture_statistics(plain)
        assert (ours.is_constant, ours.is_test_pattern) == (full.is_constant, full.is_test_pattern)
        assert ours.is_inverted(tags_contradict=True) == full.is_inverted(tags_contradict=True)


def _classifier(name: str) -> Classifier:
    bundle = find_bundle(name, [builtin_folder()])
    return Classifier(bundle, open_engine(bundle, "litert"))
