"""JPEG and PNG files of every kind: turned upright, and shown at any depth and in any colours."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from dicom_io.create.wrap import wrap_picture
from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom, film_of_picture, grey_of_picture
from dicom_io.film.picture_file import is_picture, size_of_picture
from dicom_io.reasons import Reason
from model.data.dataset import read_picture
from model.errors import DataError
from tests.support.films import film, ramp, save
from worker.judging.readers import read_labelled, size_of_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GREYS = ramp(300, 420, dtype=np.uint8, top=255)
DEEP = (ramp(300, 420, top=1500) + np.uint16(1000)).astype(np.uint16)


def saved(folder: Path, pixels: Any, name: str = "film.png") -> Path:
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def with_orientation(folder: Path, orientation: object, suffix: str = ".png") -> Path:
    path = folder / f"film{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(GREYS).save(path, exif=exif, quality=95)
    return path


def deep_png(folder: Path, samples: NDArray[Any]) -> Path:
    path = folder / "deep.png"
    path.write_bytes(bytes(imagecodecs.png_encode(samples)))
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_turned_as_every_viewer_turns_it(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = with_orientation(tmp_path, orientation, suffix)
    with Image.open(path) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(grey_of_picture(path), upright)
    assert np.array_equal(read_picture(path), upright)
    assert size_of_picture(path) == size_of_file(path) == upright.shape


@pytest.mark.parametrize("orientation", [0, 9, 6000])
def test_an_invalid_orientation_turns_nothing(orientation: object, tmp_path: Path) -> None:
    assert np.array_equal(grey_of_picture(with_orientation(tmp_path, orientation)), GREYS)


def test_damaged_exif_data_turn_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    Image.fromarray(GREYS).save(path, quality=95)
    plain = grey_of_picture(path)
    Image.fromarray(GREYS).save(path, quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\0\1\2\3")
    assert np.array_equal(grey_of_picture(path), plain)


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_turned_picture_is_the_same_film_for_serving_wrapping_and_evaluation(
    orientation: int, tmp_path: Path
) -> None:
    path = with_orientation(tmp_path, orientation, ".jpg")
    wrapped = tmp_path / "film.dcm"
    wrap_picture(path).save_as(wrapped, enforce_file_format=True)
    assert film_of_dicom(wrapped).sha256 == film_of_picture(path).sha256
    assert np.array_equal(read_labelled(path), film_of_picture(path).pixels)


@pytest.mark.parametrize("shift", [0, 2, 4])
def test_a_deep_picture_is_shown_by_the_automatic_window_as_the_same_values_in_dicom(
    shift: int, tmp_path: Path
) -> None:
    path = deep_png(tmp_path, DEEP << shift)
    film_of_it = film_of_picture(path)
    assert np.ptp(film_of_it.pixels) == 255
    assert film_of_it.sha256 == film_of_dicom(save(film(DEEP << shift, BitsStored=16), tmp_path)).sha256
    wrapped = tmp_path / "wrapped.dcm"
    wrap_picture(path).save_as(wrapped, enforce_file_format=True)
    assert film_of_dicom(wrapped).sha256 == film_of_it.sha256


@pytest.mark.parametrize("bands", [2, 3, 4], ids=["grey and alpha", "rgb", "rgb and alpha"])
def test_a_deep_picture_of_several_bands_shows_what_its_greys_show(bands: int, tmp_path: Path) -> None:
    plain = grey_of_picture(deep_png(tmp_path, DEEP))
    opaque = np.full_like(DEEP, 65535)
    several = np.dstack([DEEP] * bands if bands == 3 else [*[DEEP] * (bands - 1), opaque])
    assert np.array_equal(grey_of_picture(deep_png(tmp_path, several)), plain)


def test_a_deep_picture_is_turned_too(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(DEEP).save(path, exif=exif)
    turned = grey_of_picture(path)
    assert np.array_equal(turned, np.rot90(grey_of_picture(deep_png(tmp_path, DEEP))))


def test_a_deep_picture_of_one_value_is_blank(tmp_path: Path) -> None:
    with pytest.raises(FilmError) as caught:
        film_of_picture(deep_png(tmp_path, np.full((300, 300), 1234, np.uint16)))
    assert caught.value.reason is Reason.CONSTANT_PICTURE


def test_a_deep_picture_cut_short_fails_to_decode(tmp_path: Path) -> None:
    path = deep_png(tmp_path, np.random.default_rng(1).integers(0, 4096, (300, 300), dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.DECODE_FAILED


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_a_picture_of_eight_bits_keeps_its_greys_whatever_its_colours(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    grey = Image.fromarray(GREYS)
    if mode == "P":
        grey.convert(mode).save(path, transparency=0)
    else:
        grey.convert(mode).save(path)
    expected = grey.convert("1").convert("L") if mode == "1" else grey
    assert np.array_equal(grey_of_picture(path), np.asarray(expected))


def test_a_jpeg_of_four_colours_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    Image.fromarray(GREYS).convert("RGB").convert("CMYK").save(path, quality=95)
    assert np.abs(grey_of_picture(path).astype(int) - GREYS).mean() < 3


def test_a_colour_profile_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    Image.fromarray(GREYS).save(path, icc_profile=b"no profile at all", gamma=0.1)
    assert np.array_equal(grey_of_picture(path), GREYS)


def test_an_animation_is_several_pictures(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    frames = [Image.fromarray(GREYS), Image.fromarray(255 - GREYS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.MULTI_FRAME


def test_the_models_own_reader_leaves_deep_pictures_to_a_reader_that_windows_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than 8 bits"):
        read_picture(deep_png(tmp_path, DEEP))


def test_colour_becomes_grey_by_pillows_formula(tmp_path: Path) -> None:
    colour = np.dstack((GREYS, GREYS[::-1], GREYS // 3))
    path = saved(tmp_path, colour)
    assert np.array_equal(grey_of_picture(path), np.asarray(Image.open(path).convert("L")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no picture", Reason.NOT_DICOM), (b"GIF89a" + b"\0" * 99, Reason.NOT_DICOM), (b"", Reason.NOT_DICOM)],
)
def test_a_file_that_is_not_a_picture_has_the_reason_not_dicom(content: bytes, reason: Reason, tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is reason


def test_a_picture_cut_short_fails_to_decode(tmp_path: Path) -> None:
    path = saved(tmp_path, np.random.default_rng(1).integers(0, 256, (300, 300), dtype=np.uint8), "film.jpg")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.DECODE_FAILED


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_picture_bomb_is_refused_before_it_is_decoded(side: int, tmp_path: Path) -> None:
    path = saved(tmp_path, GREYS)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_picture_is_recognised_by_its_first_bytes(tmp_path: Path) -> None:
    assert is_picture(saved(tmp_path, GREYS))
    assert is_picture(saved(tmp_path, GREYS, "film.jpg"))
    assert not is_picture(save(film(), tmp_path))
    assert not is_picture(tmp_path / "absent")
    assert not is_picture(tmp_path)
