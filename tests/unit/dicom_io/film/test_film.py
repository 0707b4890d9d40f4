"""The film: its size, its hash and the decoder that read its pixels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from dicom_io.errors import FilmError
from dicom_io.film.film import Film, film_of_dicom, film_of_picture
from dicom_io.reasons import Reason
from tests.support.films import film, ramp, save

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


def test_a_film_names_what_read_the_pixels(tmp_path: Path) -> None:
    assert film_of_picture(picture(tmp_path, GREYS)).decoder == "Pillow"
    assert film_of_dicom(save(film(GREYS), tmp_path)).decoder == "numpy"


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(GREYS[:127], Reason.TOO_SMALL), (np.full((300, 300), 7, np.uint8), Reason.CONSTANT_PICTURE)],
)
def test_a_picture_that_shows_nothing_is_refused(pixels: Any, reason: Reason, tmp_path: Path) -> None:
    with pytest.raises(FilmError) as caught:
        film_of_picture(picture(tmp_path, pixels))
    assert caught.value.reason is reason
