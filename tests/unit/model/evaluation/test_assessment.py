from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model.errors import DataError
from model.evaluation.assessment import assess
from model.evaluation.provenance import film_as_dict
from model.evaluation.scoring import evaluate_films
from model.labels import Band, Label
from model.statistics.evaluation import Evaluation
from model.statistics.intervals import auc_interval, wilson
from tests.support.helpers_bundle import shipped_bundle
from tests.support.scored import PROVENANCE, answered, some_films

NORMAL, PNEUMONIA = Label.NORMAL, Label.PNEUMONIA


@pytest.fixture(scope="module")
def found():
    return assess(shipped_bundle(), some_films(120, 5), replicates=400)


def test_the_figures_are_those_of_the_bundles_own_evaluation(found):
    evaluation = evaluate_films(some_films(120, 5), "notebook", "1")
    assert found.evaluation == evaluation
    for name in ("accuracy", "sensitivity", "specificity", "auc", "ece"):
        assert found.figures[name].value == pytest.approx(getattr(evaluation, name))
    for name in ("accuracy", "sensitivity", "specificity", "auc"):
        assert found.figures[name].by_film == pytest.approx(getattr(evaluation, f"{name}_ci"))
    assert found.figures["sensitivity"].n == 60


def test_every_figure_lies_in_its_interval_by_patient(found):
    assert found.patients == 120 // 2
    for name, figure in found.figures.items():
        # Bins of few films make the calibration error of a sample larger than that of the films themselves.
        if name != "ece":
            assert figure.by_patient[0] < figure.value < figure.by_patient[1], name


def test_the_brier_score_is_the_mean_square_of_what_is_left():
    films = [answered("a", NORMAL, 0.2), answered("b", PNEUMONIA, 0.7), answered("c", PNEUMONIA, 0.5)]
    found = assess(shipped_bundle(), films, replicates=50)
    assert found.figures["brier"].value == pytest.approx((0.04 + 0.09 + 0.25) / 3)


def test_where_all_films_are_right_the_interval_is_of_as_many_trials_as_patients():
    films = [
        answered(f"{label}{number}", label, 0.1 + 0.8 * label.target, patient=str(number // 2))
        for label in Label
        for number in range(10)
    ]
    found = assess(shipped_bundle(), films, replicates=100)
    assert found.patients == 10
    assert found.figures["sensitivity"].by_patient == wilson(5, 5)
    assert found.figures["sensitivity"].by_film == wilson(10, 10)
    assert found.figures["auc"].by_patient == auc_interval(1.0, 5, 5)


def test_children_of_one_number_and_another_kind_are_two():
    films = [
        answered("a", NORMAL, 0.2, kind="IM", patient="7"),
        answered("b", PNEUMONIA, 0.7, kind="virus", patient="7"),
        answered("c", PNEUMONIA, 0.7, kind="bacteria", patient="7"),
    ]
    assert assess(shipped_bundle(), films, replicates=50).patients == 3


def test_the_most_wrong_films_come_first_on_both_sides():
    films = [
        answered("a", NORMAL, 0.6),
        answered("b", NORMAL, 0.95),
        answered("c", NORMAL, 0.1),
        answered("d", PNEUMONIA, 0.4),
        answered("e", PNEUMONIA, 0.05),
        answered("f", PNEUMONIA, 0.5),
    ]
    found = assess(shipped_bundle(), films, replicates=50)
    assert [film.picture.path.name for film in found.false_alarms] == ["b", "a"]
    assert [film.picture.path.name for film in found.missed] == ["e", "d"]


def test_films_out_of_scope_are_named_and_still_counted():
    films = [*some_films(40, 6, unlikeness=0.3), answered("odd", NORMAL, 0.9, unlikeness=4.0)]
    found = assess(shipped_bundle(), films, replicates=100)
    assert [film.picture.path.name for film in found.out_of_scope or ()] == ["odd"]
    assert found.evaluation.n == 41
    scope = {group.name: group for group in found.subgroups if group.division == "scope"}
    assert (scope["in scope"].n, scope["out of scope"].n) == (40, 1)
    assert scope["in scope"].specificity is not None
    assert scope["in scope"].specificity.value > found.figures["specificity"].value


def test_a_network_that_cannot_tell_the_scope_says_so(found):
    assert found.out_of_scope is None
    assert found.as_dict(PROVENANCE)["out_of_scope"] is None


def test_bands_have_their_observed_share():
    films = [
        answered("a", NORMAL, 0.1, band=Band.LOW),
        answered("b", PNEUMONIA, 0.1, band=Band.LOW),
        answered("c", PNEUMONIA, 0.9, band=Band.HIGH),
    ]
    low, high = assess(shipped_bundle(), films, replicates=50).bands
    assert (low.band, low.n, low.pneumonia, low.interval) == (Band.LOW, 2, 1, wilson(1, 2))
    assert (high.band, high.n, high.pneumonia) == (Band.HIGH, 1, 1)


def test_the_document_survives_json_and_has_an_evaluation_at_its_top(found):
    document = found.as_dict(PROVENANCE)
    text = json.dumps(document, allow_nan=False)
    back = json.loads(text)
    assert Evaluation.from_dict(back) == found.evaluation
    assert json.loads(json.dumps(back)) == back
    assert back["figures"]["auc"]["by_patient"] == list(found.figures["auc"].by_patient)
    assert back["network"]["label"] == "notebook-1"
    assert back["provenance"]["command"] == PROVENANCE.command
    assert back["notice"] == "Not a medical device. Not for diagnosis."
    assert len(back["films"]) == 120
    assert sum(film["called"] == film["label"] for film in back["films"]) == round(found.evaluation.accuracy * 120)


@pytest.mark.parametrize(
    ("source", "name"),
    [("/films", "NORMAL/a.jpeg"), ("/films/list.csv", "NORMAL/a.jpeg"), ("/else/list.csv", "/films/NORMAL/a.jpeg")],
)
def test_films_are_named_below_the_folder_or_beside_the_list(source, name):
    assert replace(PROVENANCE, source=Path(source)).name_of(answered("a.jpeg", NORMAL, 0.1)) == name


def test_a_file_name_that_is_no_unicode_can_be_written():
    document = film_as_dict(answered("f\udce9.jpeg", NORMAL, 0.1), PROVENANCE)
    assert document["file"] == "NORMAL/f?.jpeg"
    assert "\udce9" not in json.dumps(document, ensure_ascii=False)


def test_films_of_one_label_cannot_be_evaluated():
    with pytest.raises(DataError, match="films of both labels"):
        assess(shipped_bundle(), [answered("a", NORMAL, 0.1), answered("b", NORMAL, 0.2)])


def test_no_film_cannot_be_evaluated():
    with pytest.raises(DataError, match="no films to measure on"):
        assess(shipped_bundle(), [])
