from __future__ import annotations

import json

import numpy as np
import pytest

from model.errors import DataError
from model.statistics.evaluation import Evaluation, evaluate_probabilities

TARGETS = np.array([0, 0, 0, 1, 1, 1, 1, 1.0])
PROBABILITIES = np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9, 0.95])


def test_figures_of_a_case_worked_out_by_hand():
    found = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1")
    assert found.confusion == ((2, 1), (1, 4))
    assert found.n == 8
    assert found.accuracy == pytest.approx(6 / 8)
    assert found.sensitivity == pytest.approx(4 / 5)
    assert found.specificity == pytest.approx(2 / 3)
    assert found.auc == pytest.approx(14 / 15)  # of 15 pairs only (0.6, 0.4) is the wrong way round


def test_a_film_at_the_threshold_is_called_pneumonia():
    found = evaluate_probabilities(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 0.5, "hand", "1")
    assert found.confusion == ((0, 1), (0, 1))


def test_the_auc_of_one_class_is_refused():
    with pytest.raises(DataError, match="films of both labels"):
        evaluate_probabilities(np.ones(3), np.array([0.1, 0.2, 0.3]), 0.5, "hand", "1")


def test_an_evaluation_survives_json_and_has_the_promised_keys():
    found = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1")
    fields = json.loads(json.dumps(found.as_dict()))
    promised = [
        "n",
        "accuracy",
        "auc",
        "sensitivity",
        "specificity",
        "threshold",
        "ece",
        "confusion",
        "model",
        "version",
    ]
    assert set(promised) <= set(fields)
    assert fields["confusion"] == [[2, 1], [1, 4]]
    assert Evaluation.from_dict(fields) == found


@pytest.mark.parametrize("changes", [{"n": None}, {"confusion": [1, 2]}, {"auc_ci": [0.5]}])
def test_figures_that_are_incomplete_are_refused(changes):
    fields = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1").as_dict() | changes
    with pytest.raises(DataError, match="incomplete"):
        Evaluation.from_dict(fields)
