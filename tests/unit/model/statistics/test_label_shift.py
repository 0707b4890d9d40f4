"""The change of prevalence that a change of scores tells."""

from __future__ import annotations

import numpy as np
import pytest

from model.statistics.label_shift import label_shift, shifted
from model.statistics.stability import shares

NORMAL = np.array([500, 250, 120, 80, 50])
PNEUMONIA = np.array([20, 60, 120, 300, 500])


def mixture(prevalence):
    return (1 - prevalence) * NORMAL / NORMAL.sum() + prevalence * PNEUMONIA / PNEUMONIA.sum()


def test_with_two_bins_it_is_black_box_shift_estimation_by_the_confusion_matrix():
    """Lipton et al. 2018: the positive rate is sensitivity * prevalence + (1 - specificity) * (1 - prevalence)."""
    specificity, sensitivity = 0.9, 0.8
    now, reference = np.array([6000, 4000]), np.array([16000, 4000])
    found = label_shift(now, reference, (np.array([90, 10]), np.array([20, 80])))
    assert found
    expected = (shares(now)[1] - shares(reference)[1]) / (sensitivity + specificity - 1)
    assert found.change == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("prevalence", [0.1, 0.25, 0.6])
def test_it_finds_the_change_and_its_interval_holds_it(prevalence):
    rng = np.random.default_rng(1)
    found = [
        label_shift(
            rng.multinomial(1000, mixture(prevalence)), rng.multinomial(2000, mixture(0.25)), (NORMAL, PNEUMONIA)
        )
        for _ in range(600)
    ]
    changes = [one.change for one in found if one]
    assert np.mean(changes) == pytest.approx(prevalence - 0.25, abs=0.01)
    holds = [one.low <= prevalence - 0.25 <= one.high for one in found if one]
    assert np.mean(holds) >= 0.93


def test_more_bins_tell_it_more_precisely_than_the_labels():
    now, reference = 1000 * mixture(0.4), 2000 * mixture(0.25)
    fine = label_shift(now, reference, (NORMAL, PNEUMONIA))
    two = label_shift(_two(now), _two(reference), (_two(NORMAL), _two(PNEUMONIA)))
    assert fine
    assert two
    assert fine.high - fine.low < two.high - two.low


def _two(counts):
    return np.array([counts[:3].sum(), counts[3:].sum()])


def test_a_shifted_reference_is_that_of_the_other_prevalence():
    moved = shifted(100_000 * mixture(0.25), (NORMAL, PNEUMONIA), 0.15)
    assert moved.sum() == pytest.approx(100_000)
    assert moved / moved.sum() == pytest.approx(mixture(0.4), abs=1e-4)


def test_classes_that_look_alike_tell_nothing():
    assert label_shift(np.array([5, 5]), np.array([50, 50]), (np.array([1, 1]), np.array([3, 3]))) is None
