"""Films on disk: they come back as they were, and a damaged or foreign file is refused."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dicom_io.errors import FilmError
from dicom_io.film.film import FILM_VERSION, Film
from dicom_io.film.png import read_png, write_png
from dicom_io.reasons import Reason
from tests.support.films import ramp

if TYPE_CHECKING:
    from pathlib import Path

GREYS = ramp(300, 200, dtype=np.uint8, top=255)


def test_a_film_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    write_png(Film(GREYS, version=7, decoder="CharLS"), path)
    again = read_png(path)
    assert np.array_equal(again.pixels, GREYS)
    assert again.version == 7
    assert again.decoder == "CharLS"
    assert Film(GREYS).version == FILM_VERSION


@pytest.mark.parametrize("shape", [(64, 64), (257, 301), (1, 1)])
def test_other_programs_read_the_film(shape: tuple[int, int], tmp_path: Path) -> None:
    greys = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    write_png(Film(greys, decoder="OpenJPEG"), tmp_path / "film.png")
    with Image.open(tmp_path / "film.png") as picture:
        assert picture.mode == "L"
        assert picture.info == {"auscult-film-version": str(FILM_VERSION), "auscult-decoder": "OpenJPEG"}
        assert np.array_equal(np.asarray(picture), greys)


def test_a_film_of_an_older_release_names_no_decoder(tmp_path: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("auscult-film-version", "1")
    Image.fromarray(GREYS).save(tmp_path / "film.png", pnginfo=notes)
    again = read_png(tmp_path / "film.png")
    assert (again.version, again.decoder) == (1, "")


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


def test_a_png_that_is_not_a_stored_film_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    Image.fromarray(GREYS).save(path)
    with pytest.raises(FilmError) as caught:
        read_png(path)
    assert caught.value.reason is Reason.UNREADABLE
