"""Picture statistics: patterns and negatives are found, and no radiograph of a chest is taken for one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from dicom_io.create.phantom import drawn_chests
from dicom_io.film.film import film_of_dicom, film_of_picture
from dicom_io.gate.picture_statistics import PictureStatistics, picture_statistics
from tests.support.patterns import drawn_patterns

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZES = [(256, 256), (300, 420), (512, 500)]


def is_suspect(statistics: PictureStatistics, *, tags_contradict: bool = False) -> bool:
    return (
        statistics.is_constant or statistics.is_test_pattern or statistics.is_inverted(tags_contradict=tags_contradict)
    )


@pytest.mark.parametrize("name", sorted(drawn_patterns(256, 256)))
@pytest.mark.parametrize("size", SIZES)
def test_a_drawn_pattern_is_found(name: str, size: tuple[int, int]) -> None:
    statistics = picture_statistics(drawn_patterns(*size)[name])
    assert statistics.is_constant or statistics.is_test_pattern


@pytest.mark.parametrize("greys", [(0, 0), (255, 255), (120, 150)])
def test_a_blank_film_is_constant_whatever_its_grey(greys: tuple[int, int]) -> None:
    film = np.random.default_rng(1).integers(greys[0], greys[1] + 1, (256, 300)).astype(np.uint8)
    assert picture_statistics(film).is_constant


def test_a_film_with_a_lead_letter_and_nothing_else_is_constant() -> None:
    film = np.zeros((300, 300), np.uint8)
    film[10:30, 10:25] = 255
    assert picture_statistics(film).is_constant


@pytest.mark.parametrize("contrast", [0.2, 0.5, 2.0])
def test_a_chest_with_little_contrast_or_partly_black_and_white_is_not_a_pattern(contrast: float) -> None:
    chest = (128 + (drawn_chests()["NORMAL"] - 128.0) * contrast).clip(0, 255).astype(np.uint8)
    assert not is_suspect(picture_statistics(chest))


@pytest.mark.parametrize("name", ["NORMAL", "OPACIFIED"])
def test_the_drawn_chests_of_the_demo_are_not_patterns_and_their_negatives_are_negatives(name: str) -> None:
    film = drawn_chests()[name]
    assert not is_suspect(picture_statistics(film), tags_contradict=True)
    assert picture_statistics(255 - film).is_inverted(tags_contradict=False)


def test_black_that_a_collimator_left_does_not_count() -> None:
    chest = np.asarray(Image.fromarray(drawn_chests()["NORMAL"]).resize((256, 256)))
    for ground in (0, 255):
        film = np.full((512, 512), ground, np.uint8)
        film[100:356, 200:456] = chest
        assert not is_suspect(picture_statistics(film))
        assert picture_statistics(film).chest == pytest.approx(picture_statistics(chest).chest, abs=0.03)


def test_where_the_tags_contradict_each_other_a_lesser_likeness_to_a_negative_is_enough() -> None:
    statistics = PictureStatistics(200, 150.0, 0.95, 0.7, 0.7, 0.6, -0.1, 0.05)
    assert statistics.is_inverted(tags_contradict=True)
    assert not statistics.is_inverted(tags_contradict=False)


def test_a_film_that_is_more_like_a_turned_chest_is_not_a_negative() -> None:
    statistics = PictureStatistics(200, 150.0, 0.95, 0.7, 0.7, 0.6, -0.4, 0.8)
    assert not statistics.is_inverted(tags_contradict=True)


def test_the_statistics_take_little_time_compared_with_decoding() -> None:
    film = np.asarray(Image.fromarray(drawn_chests()["NORMAL"]).resize((512, 512)))
    times = []
    for _ in range(20):
        began = time.perf_counter()
        picture_statistics(film)
        times.append(time.perf_counter() - began)
    # about a millisecond on a quiet machine; the best of twenty may be ten times that on a busy one
    assert min(times) < 0.01


@pytest.fixture(scope="module")
def films(test_data: Path) -> list[NDArray[np.uint8]]:
    folder = test_data / "chest_xray"
    paths = sorted(path for part in ("train", "val") for path in (folder / part).rglob("*.jpeg"))
    return [np.asarray(Image.open(path).convert("L")) for path in paths]


@pytest.mark.data
def test_none_of_the_public_films_raises_a_false_alarm_and_each_of_their_negatives_is_found(
    films: list[NDArray[np.uint8]],
) -> None:
    assert len(films) == 5216 + 16
    assert [
        number for number, film in enumerate(films) if is_suspect(picture_statistics(film), tags_contradict=True)
    ] == []
    sample = films[::10]
    negatives = [picture_statistics(255 - film) for film in sample]
    assert [
        number for number, statistics in enumerate(negatives) if not statistics.is_inverted(tags_contradict=False)
    ] == []
    assert not any(statistics.is_constant or statistics.is_test_pattern for statistics in negatives)


@pytest.mark.data
@pytest.mark.parametrize("contrast", [0.25, 0.5, 1.5])
def test_a_film_whose_window_is_too_wide_or_too_narrow_is_not_a_pattern(
    contrast: float, films: list[NDArray[np.uint8]]
) -> None:
    shown = [(128 + (film - 128.0) * contrast).clip(0, 255).astype(np.uint8) for film in films[::20]]
    assert [number for number, film in enumerate(shown) if picture_statistics(film).is_test_pattern] == []


@pytest.mark.data
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_film_on_its_side_or_upside_down_is_not_a_negative(turns: int, films: list[NDArray[np.uint8]]) -> None:
    assert not any(is_suspect(picture_statistics(np.rot90(film, turns))) for film in films[::40])


@pytest.mark.data
def test_films_of_full_size_and_of_other_hospitals_raise_no_false_alarm(test_data: Path) -> None:
    pictures = sorted((test_data / "chest_xray" / "fullres_train_samples").rglob("*.jpeg"))
    objects = [next((test_data / "dicom" / "chest_xray").rglob(f"*{name}")) for name in CHEST_OBJECTS]
    films = [film_of_picture(path) for path in pictures] + [film_of_dicom(path) for path in objects]
    assert len(films) == 10
    assert not any(is_suspect(picture_statistics(film.pixels), tags_contradict=True) for film in films)


CHEST_OBJECTS = ("850819.dcm", "267888.dcm", "RG1_J2KI.dcm", "966_fixed.dcm")


@pytest.mark.parametrize("shape", [(128, 128), (128, 4000), (1024, 130), (257, 511)])
@pytest.mark.parametrize("top", [1, 2, 256])
def test_every_film_has_a_look_in_finite_numbers(shape: tuple[int, int], top: int) -> None:
    statistics = picture_statistics(np.random.default_rng(top).integers(0, top, shape).astype(np.uint8))
    assert np.isfinite([getattr(statistics, name) for name in PictureStatistics.__slots__]).all()
    assert statistics.is_constant or statistics.is_test_pattern
