from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Picture, scan_folder
from model.errors import DataError
from model.inspection.probes import PROBES, SENTENCES, probe_input
from model.inspection.shortcuts import TOGETHER, find_shortcuts, rank_correlation
from model.inspection.survey import Survey, survey
from model.labels import Label
from tests.support.helpers_bundle import drawn_folder

if TYPE_CHECKING:
    from pathlib import Path


def figures(film: np.ndarray, file_bytes: int = 1000) -> dict[str, tuple[float, ...]]:
    look = probe_input(film, file_bytes)
    return {name: probe(look) for name, probe in PROBES.items()}


def test_what_the_probes_measure_of_a_film_worked_out_by_hand():
    film = np.full((100, 200), 100, dtype=np.uint8)
    film[:5], film[-10:, -20:], film[50, :100] = 0, 250, 4
    found = figures(film, file_bytes=2000)
    assert found["black share"] == pytest.approx(((5 * 200 + 100) / 20000,))
    assert found["brightness"] == pytest.approx((film.mean(),))
    assert found["contrast"] == pytest.approx((film.std(), 100 - 0, 0))
    assert found["border"][:4] == pytest.approx((0, film[-5:].mean(), film[:, :10].mean(), film[:, -10:].mean()))
    assert found["border"][4:] == pytest.approx((50, 50, 100, 250))
    assert found["film size"] == pytest.approx((np.log(100), np.log(200), 2))
    assert found["file size"] == pytest.approx((np.log(2000),))
    down, right = (np.abs(np.diff(film.astype(int), axis=axis)).mean() for axis in (0, 1))
    assert found["sharpness"] == pytest.approx((down, right))
    assert found["spectrum"][-len(found["fine spectrum"]) :] == found["fine spectrum"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 7), (512, 256)])
def test_every_film_has_as_many_finite_figures(shape):
    film = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    found, wanted = figures(film), figures(np.zeros((64, 64), np.uint8))
    for name, values in found.items():
        assert len(values) == len(wanted[name])
        assert np.isfinite(values).all()


def test_every_probe_is_explained():
    assert list(SENTENCES) == [*PROBES, TOGETHER]


def bordered(folder: Path, patients: int) -> tuple[Picture, ...]:
    """Films of both labels that differ in nothing but a black frame, which most ill ones have."""
    rng = np.random.default_rng(8)
    for label in Label:
        (folder / label).mkdir(parents=True)
        for patient in range(patients):
            film = rng.integers(90, 130, (64, 64), dtype=np.uint8)
            if (patient % 10 < 9) == (label is Label.PNEUMONIA):
                film[:4] = film[:, :4] = 0
            Image.fromarray(film).save(folder / label / f"{patient}.png")
    return scan_folder(folder)


def test_the_probe_that_tells_the_labels_apart_is_found_with_its_interval(tmp_path):
    found = {shortcut.name: shortcut for shortcut in find_shortcuts(survey(bordered(tmp_path, 60)), seed=1)}
    assert list(found) == [*PROBES, TOGETHER]
    assert 0.8 < found["border"].auc < 0.96
    assert found["border"].interval[0] < found["border"].auc < found["border"].interval[1]
    assert found["border"].interval[0] > 0.7
    assert found["black share"].auc > 0.8
    assert sum(part.normal + part.pneumonia for part in found["border"].histogram) == 120
    assert all(shortcut.correlations is None for shortcut in found.values())


def test_a_probe_that_is_the_same_for_every_film_is_worth_one_half(tmp_path):
    found = {shortcut.name: shortcut for shortcut in find_shortcuts(survey(bordered(tmp_path, 20)), seed=1)}
    assert found["film size"].auc == 0.5


def test_the_interval_of_a_probe_that_is_never_wrong_has_a_width(tmp_path):
    found = {shortcut.name: shortcut for shortcut in find_shortcuts(survey(drawn(tmp_path)), seed=1)}
    assert found["brightness"].auc == 1
    assert found["brightness"].interval[1] == 1
    assert 0.5 < found["brightness"].interval[0] < 0.95


def drawn(folder: Path) -> tuple[Picture, ...]:
    return scan_folder(drawn_folder(folder / "films", patients=10))


def test_a_network_that_rides_on_a_probe_is_seen_within_each_label(tmp_path):
    pictures = bordered(tmp_path, 40)
    riding = survey(pictures, scorer=lambda film: -float((film < 5).mean()))
    found = {shortcut.name: shortcut for shortcut in find_shortcuts(riding, seed=1)}
    for label in Label:
        ridden, other = (found[name].correlations for name in ("black share", "sharpness"))
        assert ridden is not None
        assert other is not None
        assert abs(ridden[label] or 0) > 0.95
    honest = survey(pictures, scorer=lambda film: float(film[40, 40]))
    found = {shortcut.name: shortcut for shortcut in find_shortcuts(honest, seed=1)}
    for label in Label:
        assert abs((found["black share"].correlations or {})[label] or 0) < 0.5


def test_rank_correlation_is_spearmans():
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4.
    assert rank_correlation(np.array([0.0, 5, 5, 9]), np.array([-1.0, 20, 10, 1000])) == pytest.approx(
        4.5 / (4.5 * 5) ** 0.5
    )
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([9.0, 8, 7])) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 1, 1]), np.array([9.0, 8, 7])) is None


def test_probes_need_films_of_both_labels(tmp_path):
    one = tuple(picture for picture in bordered(tmp_path, 6) if picture.label is Label.NORMAL)
    with pytest.raises(DataError, match="both labels"):
        find_shortcuts(survey(one), seed=1)


def test_a_survey_keeps_the_order_and_says_what_it_could_not_read(tmp_path):
    pictures = bordered(tmp_path, 30)
    pictures[3].path.write_bytes(b"no picture")
    pictures[7].path.unlink()
    steps: list[tuple[int, int]] = []
    found = survey(
        pictures, scorer=lambda film: float(film.sum()), progress=lambda done, total: steps.append((done, total))
    )
    assert found.pictures == tuple(picture for place, picture in enumerate(pictures) if place not in (3, 7))
    assert [film.picture for film in found.unreadable] == [pictures[3], pictures[7]]
    assert all(str(film.picture.path) in film.reason for film in found.unreadable)
    assert steps == [(done, 60) for done in range(1, 61)]
    sums = [int(np.asarray(Image.open(picture.path)).sum()) for picture in found.pictures]
    assert found.logits is not None
    assert found.logits.tolist() == sums


def test_a_set_of_which_nothing_can_be_read_is_refused(tmp_path):
    pictures = bordered(tmp_path, 1)
    for picture in pictures:
        picture.path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no film can be read: .*cannot be read as a JPEG or PNG"):
        survey(pictures)


def test_whoever_stops_a_survey_does_not_wait_for_the_rest(tmp_path):
    pictures = bordered(tmp_path, 50)
    read: list[Path] = []

    def reader(path: Path) -> np.ndarray:
        read.append(path)
        return np.asarray(Image.open(path))

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(pictures, reader, progress=stop)
    assert len(read) < 50


def test_a_survey_of_one_film_is_a_survey(tmp_path):
    found = survey(bordered(tmp_path, 1)[:1])
    assert isinstance(found, Survey)
    assert found.thumbnails.shape[0] == 1
