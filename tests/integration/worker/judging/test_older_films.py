"""Films that an older version of the code made: they go on working, and are made again where the original is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from dicom_io.film.film import FILM_VERSION, Film, film_of_dicom
from dicom_io.film.store import FilmStore
from dicom_io.inbox.store import Store
from tests.support.films import ramp
from tests.support.studies import chest_film
from worker.judging.pipeline import OriginalMissing, load_film

if TYPE_CHECKING:
    from pathlib import Path

    from worker.db.tasks.claims import ImageFacts

KEY = "ab" * 16
OLDER = Film(ramp(300, 256, dtype=np.uint8, top=255), FILM_VERSION - 1, "numpy")


def image(film: Film) -> ImageFacts:
    return cast("ImageFacts", SimpleNamespace(store_key=KEY, film_key=film.sha256, film_version=film.version))


def test_an_older_film_is_used_when_its_original_is_gone(tmp_path: Path) -> None:
    store, films = Store(tmp_path / "store"), FilmStore(tmp_path / "films")
    films.save(OLDER)
    found = load_film(store, films, image(OLDER))
    assert np.array_equal(found.pixels, OLDER.pixels)
    assert (found.version, found.decoder) == (FILM_VERSION - 1, "numpy")


def test_a_film_is_made_again_from_an_original_that_is_there(tmp_path: Path) -> None:
    store, films = Store(tmp_path / "store"), FilmStore(tmp_path / "films")
    original = tmp_path / "film.dcm"
    chest_film(0.5).save_as(original)
    store.file(original, KEY)
    films.save(OLDER)
    found = load_film(store, films, image(OLDER))
    assert (found.version, found.sha256) == (FILM_VERSION, film_of_dicom(original).sha256)


def test_a_film_of_this_version_needs_no_original(tmp_path: Path) -> None:
    films = FilmStore(tmp_path / "films")
    made = Film(OLDER.pixels)
    films.save(made)
    assert load_film(Store(tmp_path / "store"), films, image(made)).sha256 == made.sha256


def test_without_either_the_original_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OriginalMissing):
        load_film(Store(tmp_path / "store"), FilmStore(tmp_path / "films"), image(OLDER))
