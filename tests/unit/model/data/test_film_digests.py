from __future__ import annotations

import numpy as np
import pytest

from dicom_io.film.film import Film
from model.data.film_digests import film_sha256, picture_digest


@pytest.mark.parametrize("shape", [(1, 1), (2, 6), (6, 2), (160, 200)])
def test_a_film_has_the_digest_that_sql_has_of_it(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert film_sha256(pixels) == Film(pixels).sha256


def test_films_of_the_same_pixels_in_another_shape_have_other_digests():
    pixels = np.zeros((2, 6), dtype=np.uint8)
    for digest in (film_sha256, picture_digest):
        assert digest(pixels) != digest(pixels.T.copy())


def test_the_digest_that_released_bundles_hold_stays_as_it_is():
    assert picture_digest(np.arange(6, dtype=np.uint8).reshape(2, 3)) == (
        "fd9c2c9287704d31ee237dcf842d06abba4e9ae4a6efbeef60b6813716f3e8ed"
    )
