"""Contour lines on a film: absolute levels, and the film below them stays what it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.explanation.explain import Explanation
from model.labels import Method
from worker.results.contours import COLOURS, TINTS, drawn, has_lines, levels_of, nothing_of, sentence_of

GREY = np.full((200, 300), 120, np.uint8)


def occlusion(peak: float) -> Explanation:
    grid = np.zeros((10, 10))
    grid[4:6, 4:6] = peak
    return Explanation(Method.OCCLUSION, (grid,), 2.0, 2.0)


def coloured(picture: np.ndarray) -> np.ndarray:
    return np.asarray(np.ptp(picture.astype(int), axis=2) > 40)


def test_a_film_without_evidence_is_shown_as_it_is() -> None:
    explanation = occlusion(0.0)
    evidence, levels = explanation.over(GREY.shape, smooth=True), levels_of(explanation)
    assert (drawn(GREY, evidence, levels) == GREY[..., np.newaxis]).all()
    assert not has_lines(evidence, levels)


def test_the_levels_of_an_occlusion_are_falls_of_the_odds() -> None:
    levels = levels_of(occlusion(1.0))
    assert [math.exp(-level.value) for level in levels] == pytest.approx([0.75, 0.5, 0.25])
    assert [level.words for level in levels] == ["by a quarter", "by half", "by three quarters"]


def test_the_levels_of_a_class_activation_map_are_scores_of_a_film_that_looked_like_the_place() -> None:
    explanation = Explanation(Method.HIRESCAM, (np.zeros((7, 7)),), 1.0, 1.0)
    scores = [1 / (1 + math.exp(-(level.value + explanation.bias))) for level in levels_of(explanation)]
    assert scores == pytest.approx([0.5, 0.9, 0.99])


@pytest.mark.parametrize("peak", [0.5, 1.0, 3.0, 300.0])
def test_however_strong_the_evidence_most_of_the_film_keeps_its_greys(peak: float) -> None:
    explanation = occlusion(peak)
    picture = drawn(GREY, explanation.over(GREY.shape, smooth=True), levels_of(explanation))
    assert has_lines(explanation.over(GREY.shape, smooth=True), levels_of(explanation))
    assert coloured(picture).mean() < 0.1
    steps = np.abs(picture.astype(int) - 120).max(axis=2)
    assert np.median(steps[80:120, 120:180]) <= (255 - 120) * max(TINTS) + 1


def test_a_line_runs_where_the_map_crosses_its_level() -> None:
    evidence = np.tile(np.linspace(-1, 2, 300, dtype=np.float32), (200, 1))
    level = levels_of(occlusion(1.0))[1]
    picture = drawn(GREY, evidence, levels_of(occlusion(1.0)))
    at = round((level.value + 1) / 3 * 299)
    assert tuple(picture[100, at]) == COLOURS[1]
    assert (picture[100, :at] == 120).all(axis=1).any()


def test_texture_below_the_lines_stays_visible_where_the_evidence_is_strongest() -> None:
    rng = np.random.default_rng(0)
    film = rng.integers(60, 200, GREY.shape, dtype=np.uint8)
    explanation = occlusion(50.0)
    picture = drawn(film, explanation.over(film.shape, smooth=True), levels_of(explanation))
    inside = (slice(90, 110), slice(140, 160))
    kept = np.corrcoef(film[inside].ravel(), picture[inside].mean(axis=2).ravel())[0, 1]
    assert kept > 0.999


@pytest.mark.parametrize("method", list(Method))
def test_what_is_said_ends_in_words_and_not_in_logits(method: Method) -> None:
    explanation = Explanation(method, (np.zeros((7, 7)),), 1.0, 1.0)
    for words in (sentence_of(explanation), nothing_of(explanation)):
        assert words
        assert "logit" not in words
