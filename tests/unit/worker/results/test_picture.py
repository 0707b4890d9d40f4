"""The picture of a heat map: its words are burned in, fit, and name no patient."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_io.results.result import FindingStatus, ResultModel
from model.explanation.explain import Explanation
from model.labels import Method
from tests.support.results import FILM, a_result
from worker.results.picture import FOOTER_PX, GROUND, HEADER_PX, MARGIN_PX, WARNING, heat_map_picture


def explanation(peak: float = 1.0, method: Method = Method.OCCLUSION) -> Explanation:
    grid = np.zeros((10, 10))
    grid[3:5, 6:8] = peak
    return Explanation(method, (grid,), 2.0, 2.0)


def film(rows: int, columns: int) -> np.ndarray:
    return np.tile(np.linspace(60, 180, columns).astype(np.uint8), (rows, 1))


@pytest.mark.parametrize("shape", [(256, 256), (512, 256), (256, 700), (300, 400)])
@pytest.mark.parametrize("method", list(Method))
def test_words_fit_into_the_margins_whatever_the_film(shape: tuple[int, int], method: Method) -> None:
    long = ResultModel("a-bundle-of-a-very-long-name" * 2, "123.456.789", "ab" * 32, "cd" * 32)
    flags = ("AGE_UNKNOWN", "BODY_PART_UNKNOWN", "VIEW_UNKNOWN", "UNLIKE_TRAINING", "BURNED_IN_ANNOTATION")
    sop_uid = "1." + "2" * 62
    deciding = type(FILM)(FILM.sop_class_uid, sop_uid, FILM.series_uid, 0.5)
    made = a_result(status=FindingStatus.INDETERMINATE, model=long, flags=flags, films=(deciding,), band="INTERMEDIATE")
    picture = heat_map_picture(film(*shape), explanation(method=method), made)
    ground = (picture == GROUND).all(axis=2)
    for part in (ground[:HEADER_PX], ground[-FOOTER_PX:]):
        assert part[:, : MARGIN_PX - 2].all()
        assert part[:, -(MARGIN_PX - 2) :].all()
        assert not part.all()


def test_the_film_keeps_its_aspect_and_its_greys_outside_the_lines() -> None:
    picture = heat_map_picture(film(512, 256), explanation(0.0), a_result())
    middle = picture[HEADER_PX:-FOOTER_PX]
    assert middle.shape[0] == 1100
    columns = np.flatnonzero((middle != GROUND).any(axis=2).any(axis=0))
    assert columns[-1] - columns[0] + 1 == 550
    assert np.ptp(middle[:, columns].astype(int), axis=2).max() == 0


def test_the_notice_is_burned_in() -> None:
    picture = heat_map_picture(film(256, 256), explanation(), a_result())
    close = np.abs(picture[:HEADER_PX].astype(int) - WARNING).max(axis=2) < 20
    assert close.sum() > 300


def test_a_film_that_no_single_place_explains_gets_a_sentence_and_no_legend() -> None:
    with_lines, without = (heat_map_picture(film(256, 256), explanation(peak), a_result()) for peak in (1.0, 0.1))
    colour = [np.ptp(picture[-FOOTER_PX:].astype(int), axis=2).max() for picture in (with_lines, without)]
    assert colour[0] > 100
    assert colour[1] < 30
