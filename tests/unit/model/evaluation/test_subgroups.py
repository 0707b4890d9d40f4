from __future__ import annotations

import pytest

from model.evaluation.assessment import assess
from model.evaluation.subgroups import MAX_VALUES, groups
from model.labels import Label
from tests.support.helpers_bundle import shipped_bundle
from tests.support.scored import answered, some_films

NORMAL, PNEUMONIA = Label.NORMAL, Label.PNEUMONIA


def named(films, division):
    found, _ = groups(films)
    return {group.name: group.mask.tolist() for group in found if group.division == division}


def test_films_are_divided_by_type():
    films = [
        answered("a", NORMAL, 0.1, kind="IM"),
        answered("b", PNEUMONIA, 0.9, kind="virus"),
        answered("c", PNEUMONIA, 0.9, kind="bacteria"),
        answered("d", NORMAL, 0.1, kind="IM"),
    ]
    assert named(films, "type") == {
        "IM": [True, False, False, True],
        "bacteria": [False, False, True, False],
        "virus": [False, True, False, False],
    }


@pytest.mark.parametrize(
    ("rows", "columns", "aspect", "side"),
    [
        (2000, 1500, "below 0.9 (upright)", "1024 to 1535"),
        (224, 224, "0.9 to 1.1 (about square)", "below 256"),
        (1000, 1250, "1.1 to 1.3", "768 to 1023"),
        (512, 700, "1.3 to 1.5", "512 to 767"),
        (511, 1000, "1.5 and more (broad)", "256 to 511"),
        (1536, 2304, "1.5 and more (broad)", "1536 and more"),
    ],
)
def test_films_are_divided_by_the_size_of_the_original(rows, columns, aspect, side):
    films = [answered("a", NORMAL, 0.1, size=(rows, columns))]
    assert list(named(films, "width to height")) == [aspect]
    assert list(named(films, "shortest side, pixels")) == [side]


def test_classes_of_size_stand_in_their_order():
    films = [answered(str(side), NORMAL, 0.1, size=(side, side)) for side in (2000, 300, 800, 100)]
    assert list(named(films, "shortest side, pixels")) == ["below 256", "256 to 511", "768 to 1023", "1536 and more"]


def test_a_column_of_the_list_divides_the_films_even_when_it_is_called_like_a_division_of_ours():
    films = [
        answered("a", NORMAL, 0.1, subgroups=(("type", "x"), ("scanner", "A"))),
        answered("b", PNEUMONIA, 0.9, subgroups=(("type", "y"), ("scanner", ""))),
    ]
    assert set(named(films, "type")) == {"NORMAL", "PNEUMONIA"}
    assert set(named(films, "column type")) == {"x", "y"}
    assert set(named(films, "column scanner")) == {"A", "(empty)"}


def test_a_column_of_names_or_dates_is_passed_over_and_said_so():
    films = [answered(str(day), NORMAL, 0.1, subgroups=(("date", str(day)),)) for day in range(MAX_VALUES + 1)]
    found, passed = groups(films)
    assert passed == ("column date",)
    assert "column date" not in {group.division for group in found}


def test_films_are_divided_by_scope_only_where_the_network_can_tell():
    assert named([answered("a", NORMAL, 0.1)], "scope") == {}
    films = [answered("a", NORMAL, 0.1, unlikeness=1.0), answered("b", NORMAL, 0.1, unlikeness=1.01)]
    assert named(films, "scope") == {"in scope": [True, False], "out of scope": [False, True]}


@pytest.fixture(scope="module")
def by_name():
    films = [
        answered("a", NORMAL, 0.1, kind="IM"),
        answered("b", NORMAL, 0.7, kind="IM"),
        answered("c", NORMAL, 0.3, kind="NORMAL2-IM"),
        answered("d", PNEUMONIA, 0.9, kind="bacteria"),
        answered("e", PNEUMONIA, 0.6, kind="virus"),
        answered("f", PNEUMONIA, 0.2, kind="virus"),
    ]
    found = assess(shipped_bundle(), films, replicates=200)
    return {(group.division, group.name): group for group in found.subgroups}


def test_a_subgroup_of_one_label_is_ranked_against_all_films_of_the_other(by_name):
    virus = by_name["type", "virus"]
    assert (virus.n, virus.normal, virus.pneumonia, virus.patients) == (2, 0, 2, 2)
    assert virus.specificity is None
    assert virus.sensitivity.value == 0.5
    # 0.6 beats 0.1 and 0.3, 0.2 beats 0.1: three of six pairs.
    assert (virus.auc.value, virus.auc.n) == (3 / 6, 5)
    normal = by_name["type", "IM"]
    assert normal.specificity.value == 0.5
    # Of six pairs with 0.9, 0.6 and 0.2 the films at 0.1 and 0.7 lose four: 0.9, 0.6, 0.2 over 0.1, 0.9 over 0.7.
    assert normal.auc.value == pytest.approx(4 / 6)


def test_a_subgroup_of_both_labels_is_ranked_within_itself(by_name):
    everything = by_name["width to height", "1.1 to 1.3"]
    assert everything.n == 6
    assert everything.accuracy.value == pytest.approx(4 / 6)
    assert everything.auc.n == 6


def test_intervals_of_a_subgroup_that_is_all_right_have_width(by_name):
    bacteria = by_name["type", "bacteria"]
    assert bacteria.accuracy.value == 1.0
    low, high = bacteria.accuracy.by_patient
    assert low < 0.5
    assert high == 1.0


def test_every_subgroup_has_its_figures_inside_their_intervals():
    found = assess(shipped_bundle(), some_films(60, 3, unlikeness=0.5), replicates=200)
    figures = [
        figure
        for group in found.subgroups
        for figure in (group.accuracy, group.sensitivity, group.specificity, group.auc)
        if figure is not None
    ]
    assert len(figures) > 12
    for figure in figures:
        assert figure.by_patient is not None
        assert figure.by_patient[0] <= figure.value <= figure.by_patient[1]
