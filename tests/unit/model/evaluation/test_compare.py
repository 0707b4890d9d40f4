from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model.errors import DataError
from model.evaluation.compare import compare
from model.labels import Label
from model.statistics.evaluation import Evaluation
from model.statistics.paired import delong, mcnemar
from tests.support.helpers_bundle import second_bundle, shipped_bundle
from tests.support.scored import PROVENANCE, answered, some_films

NORMAL, PNEUMONIA = Label.NORMAL, Label.PNEUMONIA


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return shipped_bundle(), second_bundle(tmp_path_factory.mktemp("bundles"))


def by_hand():
    """Six films: the second network is right where the first is not on two of them, and the other way on one."""
    rows = [
        (NORMAL, 0.2, 0.1),
        (NORMAL, 0.8, 0.3),
        (NORMAL, 0.4, 0.2),
        (PNEUMONIA, 0.9, 0.95),
        (PNEUMONIA, 0.3, 0.7),
        (PNEUMONIA, 0.6, 0.45),
    ]
    return (
        [answered(str(number), label, before) for number, (label, before, _) in enumerate(rows)],
        [answered(str(number), label, after) for number, (label, _, after) in enumerate(rows)],
    )


@pytest.fixture(scope="module")
def small(bundles):
    return compare(bundles, by_hand(), replicates=300)


def test_counts_and_differences_of_a_case_worked_out_by_hand(small):
    accuracy, sensitivity, specificity = (small.shares[name] for name in ("accuracy", "sensitivity", "specificity"))
    assert (accuracy.n, accuracy.both, accuracy.only_first, accuracy.only_second, accuracy.neither) == (6, 3, 1, 2, 0)
    assert (accuracy.first, accuracy.second) == (4 / 6, 5 / 6)
    assert accuracy.difference == pytest.approx(1 / 6)
    assert accuracy.p == mcnemar(1, 2)
    assert (sensitivity.n, sensitivity.only_first, sensitivity.only_second) == (3, 1, 1)
    assert (specificity.n, specificity.only_first, specificity.only_second) == (3, 0, 1)
    assert specificity.difference == pytest.approx(1 / 3)
    assert accuracy.by_film[0] < 1 / 6 < accuracy.by_film[1]
    # 0.9 beats all three, 0.6 beats two, 0.3 beats one; after: 0.95, 0.7 and 0.45 beat all.
    assert (small.auc.first, small.auc.second) == pytest.approx((6 / 9, 1.0))
    assert small.auc.difference == pytest.approx(3 / 9)


def test_the_films_they_disagree_on_begin_with_the_widest_gap(small):
    assert [film.first.picture.path.name for film in small.disagreements] == ["1", "4", "5"]
    assert [film.second.is_right for film in small.disagreements] == [True, True, False]


def test_a_better_network_is_told_from_a_worse_one(bundles):
    worse, better = some_films(400, 9, gap=0.6), some_films(400, 9, gap=1.8)
    found = compare(bundles, (worse, better), replicates=300)
    for figure in (found.shares["accuracy"], found.auc):
        assert figure.p is not None
        assert figure.p < 1e-4
        assert figure.by_patient is not None
        assert figure.by_patient[0] > 0
        assert figure.by_film[0] > 0
    turned = compare(bundles, (better, worse), replicates=300)
    assert turned.auc.difference == pytest.approx(-found.auc.difference)
    assert turned.shares["accuracy"].by_film == pytest.approx(
        [-bound for bound in found.shares["accuracy"].by_film[::-1]]
    )
    assert turned.auc.p == pytest.approx(found.auc.p)


def test_the_auc_is_delongs_and_its_interval_by_patient_is_about_his(bundles):
    first, second = some_films(300, 10, gap=0.8), some_films(300, 11, gap=1.0)
    alone = [
        [replace(film, picture=replace(film.picture, patient=str(number))) for number, film in enumerate(films)]
        for films in (first, second)
    ]
    found = compare(bundles, (alone[0], alone[1])).auc
    targets = np.array([film.picture.label.target for film in first], dtype=float)
    probabilities = [np.array([film.score.probability for film in films]) for films in alone]
    theirs = delong(targets, probabilities[1], probabilities[0])
    assert (found.difference, found.by_film, found.p) == (theirs.difference, theirs.interval, theirs.p)
    assert found.by_patient == pytest.approx(theirs.interval, abs=0.012)


def test_networks_that_never_disagree_may_still_differ(bundles):
    films = some_films(40, 12)
    found = compare(bundles, (films, films), replicates=50)
    assert found.disagreements == ()
    assert found.auc.p == 1.0
    for share in found.shares.values():
        assert (share.difference, share.p) == (0.0, 1.0)
        assert share.by_patient == share.by_film
        assert share.by_film[0] < 0 < share.by_film[1]


def other_film(films):
    return [replace(films[0], film_sha256="0" * 64), *films[1:]]


@pytest.mark.parametrize(
    "changed",
    [lambda films: films[:-1], lambda films: films[::-1], other_film],
    ids=["fewer", "another order", "other pixels"],
)
def test_answers_to_other_films_are_refused(bundles, changed):
    films = some_films(8, 13)
    with pytest.raises(DataError, match="not answer to the same films"):
        compare(bundles, (films, changed(films)))


def test_the_document_survives_json(small):
    back = json.loads(json.dumps(small.as_dict(PROVENANCE), allow_nan=False))
    assert back["report"] == "comparison"
    assert back["notice"] == "Not a medical device. Not for diagnosis."
    assert (back["first"]["label"], back["second"]["label"]) == ("notebook-1", "notebook-2")
    assert Evaluation.from_dict(back["second"]["evaluation"]) == small.evaluations[1]
    assert back["accuracy"]["only_second"] == 2
    assert back["accuracy"]["second"] == pytest.approx(5 / 6)
    assert [film["first"]["file"] for film in back["disagreements"]] == ["NORMAL/1", "PNEUMONIA/4", "PNEUMONIA/5"]
