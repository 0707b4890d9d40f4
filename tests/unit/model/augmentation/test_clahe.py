from __future__ import annotations

import numpy as np

from model.augmentation.clahe import equalised


def test_one_tile_is_the_equalisation_that_is_computed_by_hand():
    """Four pixels of greys 0, 0, 100 and 200; no grey may count more than 64 * 4 / 256 = 1 pixel.

    Grey 0 is clipped to 1, and the pixel taken off is dealt out, 1/256 to each grey. Up to grey 0 there are then
    1 + 1/256 pixels, up to 100 there are 2 + 101/256 and up to 200 there are 3 + 201/256, of 4 that become 255.
    """
    film = np.array([[0, 0], [100, 200]], dtype=np.uint8)
    wanted = [[1 + 1 / 256, 1 + 1 / 256], [2 + 101 / 256, 3 + 201 / 256]]
    assert np.array_equal(equalised(film, tiles=1, limit=64), np.floor(np.array(wanted) * 255 / 4 + 0.5))


def test_between_two_tiles_their_curves_are_mixed_by_distance():
    film = np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 8, axis=0).astype(np.uint8)
    found = equalised(film, tiles=2, limit=256.0)[0].astype(int)
    # No clipping: the dark tile makes 255 of grey 0, the bright one 0; centres lie at the pixels' edges 2 and 6.
    assert list(found[:4]) == [255, 255, 223, 159]
    assert list(found[4:]) == [255, 255, 255, 255]


def test_a_limit_of_one_hardly_changes_an_even_film_and_one_pixel_is_a_film():
    flat = np.full((64, 64), 120, dtype=np.uint8)
    assert abs(int(equalised(flat, limit=1.0)[0, 0]) - 120) <= 1
    assert equalised(np.array([[7]], dtype=np.uint8)).shape == (1, 1)


def test_faint_structure_comes_out():
    rows = np.indices((128, 128)).sum(axis=0)
    film = (120 + 4 * (rows // 8 % 2)).astype(np.uint8)
    assert equalised(film).std() >= 1.5 * film.std()
