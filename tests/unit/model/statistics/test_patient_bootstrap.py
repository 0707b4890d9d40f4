from __future__ import annotations

import numpy as np
import pytest

from model.statistics.intervals import wilson
from model.statistics.metrics import Ranking, mean_of
from model.statistics.patient_bootstrap import PatientBootstrap


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    targets = np.tile([0.0, 1.0], 20)
    right = np.arange(40) % 3 > 0
    statistics = {"accuracy": mean_of(right)}
    found = [
        PatientBootstrap(range(40), targets, replicates=300, seed=seed).intervals(statistics) for seed in (1, 1, 2)
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_films_of_their_own_children_give_about_wilsons_interval():
    right = np.arange(400) % 10 > 0
    found = PatientBootstrap(range(400), np.tile([0.0, 1.0], 200)).intervals({"accuracy": mean_of(right)})
    assert found["accuracy"] == pytest.approx(wilson(360, 400), abs=0.01)


def test_alike_films_of_one_child_count_as_one():
    """Forty children with ten equal films each: the interval is that of forty films, not of four hundred."""
    patients = np.repeat(np.arange(40), 10)
    right = patients % 5 > 0
    by_patient = PatientBootstrap(patients.tolist(), np.ones(400)).intervals({"share": mean_of(right)})["share"]
    by_film = PatientBootstrap(range(400), np.ones(400)).intervals({"share": mean_of(right)})["share"]
    assert by_patient is not None
    assert by_film is not None
    assert by_patient[1] - by_patient[0] == pytest.approx((by_film[1] - by_film[0]) * 10**0.5, rel=0.15)


def test_every_sample_has_films_of_both_labels_and_whole_children():
    """Two children of each label, one with both: drawn apart, no sample is without a label."""
    patients, targets = ["a", "a", "b", "c", "d", "e", "e"], np.array([0, 0, 0, 1, 1, 0, 1.0])
    seen: list[np.ndarray] = []

    def note(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return np.asarray(weights.sum(axis=-1))

    PatientBootstrap(patients, targets, replicates=400).intervals({"films": note})
    weights = np.concatenate(seen)
    assert weights.shape == (400, 7)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 5] == weights[:, 6]).all()
    assert (weights[:, 1] + weights[:, 2] == 2).all()
    assert (weights[:, 3] + weights[:, 4] == 2).all()
    assert (weights[:, 5] == 1).all()


def test_the_interval_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(41)
    patients, targets = np.repeat(np.arange(80), 2), np.repeat([0.0, 1.0], 80)
    covered = 0
    for _ in range(120):
        child = np.repeat(rng.normal(size=80), 2)
        scores = 1.5 * targets + 0.8 * child + 0.6 * rng.normal(size=160)
        bootstrap = PatientBootstrap(patients.tolist(), targets, replicates=300)
        found = bootstrap.intervals({"auc": Ranking(targets, scores).auc})["auc"]
        assert found is not None
        covered += found[0] <= 0.85557 <= found[1]  # Phi(1.5 / sqrt(2 * (0.64 + 0.36)))
    assert covered / 120 == pytest.approx(0.95, abs=0.05)


def test_a_figure_that_most_samples_lack_has_no_interval():
    targets = np.array([0, 1.0, 1.0])
    lacking = PatientBootstrap(range(3), targets).intervals({"none": lambda weights: np.full(len(weights), np.nan)})
    assert lacking == {"none": None}
