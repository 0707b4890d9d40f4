"""Scores of films by the shipped bundle and LiteRT."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from model.errors import EngineError
from model.labels import Label
from model.serving.bundle import builtin_folder, load_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from model.statistics.sigmoid import sigmoid
from tests.support.helpers_bundle import second_bundle, shipped_bundle


class FixedEngine:
    """An engine that answers every film with one logit."""

    def __init__(self, logit: float) -> None:
        self.logit = logit

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return np.full(len(batch), self.logit)


def logit_of(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def films(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.kron(rng.integers(0, 256, (8, 8), dtype=np.uint8), np.ones((32, 32), dtype=np.uint8)) for _ in range(n)]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    bundle = shipped_bundle()
    return Classifier(bundle, open_engine(bundle, "litert"))


def test_a_film_gets_a_probability_a_label_and_the_threshold_it_was_compared_with(classifier):
    score = classifier.score(films(1)[0])
    assert score.probability == pytest.approx(1 / (1 + np.exp(-score.logit)))
    assert score.threshold == classifier.bundle.threshold
    assert score.label is (Label.PNEUMONIA if score.probability >= score.threshold else Label.NORMAL)


def test_films_scored_together_score_as_each_by_itself(classifier):
    chosen = films(5)
    assert classifier.score_many(chosen) == [classifier.score(film) for film in chosen]
    assert classifier.score_many([]) == []


def test_films_scored_by_several_threads_are_not_mixed_up(classifier):
    chosen = films(8, seed=1)
    alone = classifier.score_many(chosen)
    found: dict[int, list] = {}

    def work(number: int) -> None:
        found[number] = [classifier.score(film) for film in chosen]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == alone for number in range(4))


def test_a_derived_bundle_gives_the_same_probability_and_another_label_in_between(classifier, tmp_path):
    engine = FixedEngine(0.5 * (logit_of(0.9) + logit_of(classifier.bundle.threshold)))
    first = Classifier(classifier.bundle, engine).score(films(1)[0])
    second = Classifier(second_bundle(tmp_path, threshold=0.9), engine).score(films(1)[0])
    assert second.probability == first.probability
    assert (first.label, second.label) == (Label.PNEUMONIA, Label.NORMAL)


@pytest.mark.parametrize(
    ("logit", "probability"), [(0.0, 0.5), (1000.0, 1.0), (-1000.0, 0.0), (2.0, 0.8807970779778823)]
)
def test_the_sigmoid_does_not_overflow(logit, probability):
    assert sigmoid(logit) == pytest.approx(probability, abs=1e-15)


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_network_that_answers_no_number_is_an_error_and_never_normal(classifier, logit):
    with pytest.raises(EngineError, match="gave an answer that is not a number"):
        Classifier(classifier.bundle, FixedEngine(logit)).score(films(1)[0])


def test_a_film_at_the_threshold_is_pneumonia(classifier):
    bundle = dataclasses.replace(classifier.bundle, threshold=0.5)
    assert Classifier(bundle, FixedEngine(0.0)).score(films(1)[0]).label is Label.PNEUMONIA
    assert Classifier(bundle, FixedEngine(-1e-9)).score(films(1)[0]).label is Label.NORMAL


def test_the_members_of_a_network_have_its_logit_as_their_mean() -> None:
    bundle = load_bundle(builtin_folder() / "auscult-2")
    classifier = Classifier(bundle, open_engine(bundle, "litert"))
    for film in films(2):
        members = classifier.members(film)
        assert members
        assert np.mean(members) == pytest.approx(classifier.score(film).logit, abs=1e-5)


def test_a_network_without_terms_and_another_engine_tell_no_members() -> None:
    bundle = shipped_bundle()
    (film,) = films(1)
    assert Classifier(bundle, open_engine(bundle, "litert")).members(film) is None
    assert Classifier(bundle, FixedEngine(1.0)).members(film) is None
