"""The film itself: its size, its hash, and its way to disk and back."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dicom_io.errors import FilmError
from dicom_io.film import (
    FILM_VERSION,
    Film,
    film_of_dicom,
    film_of_picture,
    grey_of_picture,
    is_picture,
    read_png,
    write_png,
)
from dicom_io.reasons import Reason
from tests.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

GREYS = ramp(300, 200, dtype=np.uint8, top=255)


def picture(folder: Path, pixels: Any, name: str = "film.png") -> Path:
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((128, 128), (128, 128)),
        ((255, 900), (255, 900)),
        ((511, 600), (511, 600)),
        ((512, 600), (256, 300)),
        ((513, 601), (257, 301)),
        ((1023, 1500), (512, 750)),
        ((1024, 1024), (256, 256)),
        ((2500, 2048), (313, 256)),
        ((2047, 2500), (512, 625)),
    ],
)
def test_the_shortest_side_is_reduced_to_256_to_512_and_never_enlarged(
    size: tuple[int, int], reduced: tuple[int, int], tmp_path: Path
) -> None:
    path = save(film(ramp(*size, dtype=np.uint8, top=255)), tmp_path)
    assert film_of_dicom(path).pixels.shape == reduced


def test_a_pixel_of_the_film_is_the_mean_of_its_block_also_at_the_edges(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (515, 1031), dtype=np.uint8)
    ours = film_of_picture(picture(tmp_path, pixels)).pixels
    assert ours.shape == (258, 516)
    padded = np.full((516, 1032), np.nan)
    padded[:515, :1031] = pixels
    means = np.nanmean(padded.reshape(258, 2, 516, 2), axis=(1, 3))
    assert np.abs(ours - means).max() <= 0.5 + 1e-6


def test_the_hash_is_over_size_and_pixels() -> None:
    assert Film(GREYS).sha256 == hashlib.sha256(b"300x200\n" + GREYS.tobytes()).hexdigest()
    assert Film(GREYS).sha256 != Film(GREYS.reshape(200, 300)).sha256
    assert Film(GREYS, version=9, decoder="CharLS").sha256 == Film(GREYS).sha256


def test_the_hash_does_not_hang_on_the_layout_in_memory() -> None:
    assert Film(np.asfortranarray(GREYS)).sha256 == Film(GREYS).sha256


def test_a_film_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    write_png(Film(GREYS, version=7, decoder="CharLS"), path)
    again = read_png(path)
    assert np.array_equal(again.pixels, GREYS)
    assert again.version == 7
    assert again.decoder == "CharLS"
    assert Film(GREYS).version == FILM_VERSION


def test_a_film_of_an_older_release_names_no_decoder(tmp_path: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("auscult-film-version", "1")
    Image.fromarray(GREYS).save(tmp_path / "film.png", pnginfo=notes)
    again = read_png(tmp_path / "film.png")
    assert (again.version, again.decoder) == (1, "")


def test_a_film_names_what_read_the_pixels(tmp_path: Path) -> None:
    assert film_of_picture(picture(tmp_path, GREYS)).decoder == "Pillow"
    assert film_of_dicom(save(film(GREYS), tmp_path)).decoder == "numpy"


def test_a_film_on_disk_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    mask = os.umask(0)
    try:
        write_png(Film(GREYS), path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_writing_a_film_again_replaces_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    write_png(Film(GREYS), path)
    write_png(Film(255 - GREYS), path)
    assert np.array_equal(read_png(path).pixels, 255 - GREYS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.png"]


def test_a_film_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "film.png").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_png(Film(GREYS), tmp_path / "film.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.png"]


@pytest.mark.parametrize("content", [b"", b"no film", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_damaged_film_is_unreadable(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        read_png(path)
    assert caught.value.reason is Reason.UNREADABLE


def test_a_picture_that_is_no_film_of_ours_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FilmError) as caught:
        read_png(picture(tmp_path, GREYS))
    assert caught.value.reason is Reason.UNREADABLE


def test_colour_becomes_grey_by_pillows_formula(tmp_path: Path) -> None:
    colour = np.dstack((GREYS, GREYS[::-1], GREYS // 3))
    path = picture(tmp_path, colour)
    assert np.array_equal(grey_of_picture(path), np.asarray(Image.open(path).convert("L")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no picture", Reason.NOT_DICOM), (b"GIF89a" + b"\0" * 99, Reason.NOT_DICOM), (b"", Reason.NOT_DICOM)],
)
def test_what_is_no_picture_is_said_to_be_none(content: bytes, reason: Reason, tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is reason


def test_a_picture_cut_short_fails_to_decode(tmp_path: Path) -> None:
    path = picture(tmp_path, np.random.default_rng(1).integers(0, 256, (300, 300), dtype=np.uint8), "film.jpg")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.DECODE_FAILED


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_picture_bomb_is_refused_before_it_is_decoded(side: int, tmp_path: Path) -> None:
    path = picture(tmp_path, GREYS)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        film_of_picture(path)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(GREYS[:127], Reason.TOO_SMALL), (np.full((300, 300), 7, np.uint8), Reason.CONSTANT_PICTURE)],
)
def test_a_picture_that_shows_nothing_is_refused(pixels: Any, reason: Reason, tmp_path: Path) -> None:
    with pytest.raises(FilmError) as caught:
        film_of_picture(picture(tmp_path, pixels))
    assert caught.value.reason is reason


def test_a_picture_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    assert is_picture(picture(tmp_path, GREYS, "film.png"))
    assert is_picture(picture(tmp_path, GREYS, "film.jpg"))
    assert not is_picture(save(film(), tmp_path))
    assert not is_picture(tmp_path / "absent")
    assert not is_picture(tmp_path)
