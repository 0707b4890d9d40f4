from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.errors import DataError
from tests.support.films import film, ramp, save
from worker.judging.readers import film_of_file, read_labelled, size_of_file


def test_a_picture_and_the_same_greys_as_dicom_are_one_film(tmp_path):
    greys = ramp(dtype=np.uint8, top=255)
    Image.fromarray(greys).save(tmp_path / "film.png")
    dicom = save(film(greys), tmp_path)
    assert film_of_file(tmp_path / "film.png").sha256 == film_of_file(dicom).sha256
    assert np.array_equal(read_labelled(dicom), read_labelled(tmp_path / "film.png"))


def test_a_film_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    (tmp_path / "words.dcm").write_text("words")
    with pytest.raises(DataError, match=r"words\.dcm cannot be read as a film: "):
        read_labelled(tmp_path / "words.dcm")
    with pytest.raises(DataError, match=r"absent\.dcm cannot be read"):
        read_labelled(tmp_path / "absent.dcm")


def test_the_size_is_that_of_the_original_not_of_the_film(tmp_path):
    greys = ramp(600, 1100, dtype=np.uint8, top=255)
    Image.fromarray(greys).save(tmp_path / "film.png")
    assert size_of_file(tmp_path / "film.png") == (600, 1100)
    assert size_of_file(save(film(greys), tmp_path)) == (600, 1100)
    assert read_labelled(tmp_path / "film.png").shape == (300, 550)
