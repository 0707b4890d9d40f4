"""The folder of films: those of a take are synced together, and one that is there is not written again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from dicom_io import durable
from dicom_io.errors import SpoolFull
from dicom_io.film.film import Film
from dicom_io.film.store import FilmStore


def drawn(number: int) -> list[Film]:
    rng = np.random.default_rng(number)
    return [Film(rng.integers(0, 256, (32, 24)).astype(np.uint8), 7, "CharLS") for _ in range(number)]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of films, and those above them, that are synced from now on."""
    real, seen = durable.fsync_folder, list[Path]()

    def fsync_folder(folder: Path) -> None:
        seen.append(folder)
        real(folder)

    for module in ("dicom_io.durable", "dicom_io.film.store"):
        monkeypatch.setattr(f"{module}.fsync_folder", fsync_folder)
    return seen


def test_films_that_are_saved_together_come_back_and_the_names_of_their_folders_are_durable(
    tmp_path: Path, synced: list[Path]
) -> None:
    films, store = drawn(4), FilmStore(tmp_path / "films")
    store.save(films[0])
    synced.clear()
    store.save_all(films)
    for film in films:
        assert np.array_equal(store.load(film.sha256, 7).pixels, film.pixels)
    paths = [store.path(film.sha256) for film in films[1:]]
    assert {path.parent for path in paths} <= set(synced)
    assert {path.parent.parent for path in paths} <= set(synced)
    assert synced.count(store.root) == 1
    assert not list((store.root / "tmp").iterdir())


def test_a_film_that_is_there_and_one_that_comes_twice_are_written_once(tmp_path: Path, synced: list[Path]) -> None:
    (film,), store = drawn(1), FilmStore(tmp_path / "films")
    store.save_all([film, film])
    synced.clear()
    store.save_all([film])
    assert not synced


def test_a_disk_that_is_full_at_the_second_film_leaves_no_half_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, store = drawn(2), FilmStore(tmp_path / "films")
    real, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        written.append(descriptor)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "no space")
        return real(descriptor, data)

    monkeypatch.setattr("dicom_io.durable.os.write", write)
    with pytest.raises(SpoolFull):
        store.save_all(films)
    assert not any(store.exists(film.sha256) for film in films)
    assert not list((store.root / "tmp").iterdir())


def test_a_folder_that_another_process_made_does_not_count_as_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("dicom_io.film.store.fsync_folder", synced.append)
    films = FilmStore(tmp_path / "films")
    film = Film(np.full((300, 256), 7, np.uint8))
    films.path(film.sha256).parent.mkdir(parents=True)
    films.save(film)
    assert film.sha256[:2] not in films._durable
    assert synced == []
