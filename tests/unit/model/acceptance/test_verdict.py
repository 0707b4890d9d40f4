from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model.acceptance.figures import widest
from model.acceptance.targets import Decision, Targets
from model.acceptance.verdict import verdict
from model.evaluation.figures import Figure
from model.labels import Band
from model.operating.calibration import Bands, Calibration
from model.statistics.intervals import wilson
from tests.support.helpers_bundle import shipped_bundle
from tests.support.helpers_site import accepted, site_films


@pytest.fixture(scope="module")
def bundle():
    """A calibrated bundle with bands."""
    return replace(shipped_bundle(), calibration=Calibration(1.0, 0.0), threshold=0.5, bands=Bands(0.1, 0.9, {}))


def test_a_well_set_rule_gains_nothing_and_is_judged_as_it_is(bundle):
    found = accepted(bundle, site_films(0.0), Targets(0.9, 0.9))
    assert not found.is_proven
    assert found.judged is found.before
    assert found.verdict is Decision.ACCEPTED


def test_scores_that_are_all_too_high_are_rescued_and_the_gain_is_proven(bundle):
    found = accepted(bundle, site_films(3.0), Targets(0.9, 0.9))
    assert found.before["specificity"].value < 0.6
    assert found.after["specificity"].value > 0.95
    assert found.after["ece"].value < found.before["ece"].value
    assert found.after["log_loss"].value < found.before["log_loss"].value
    assert found.point.calibration.slope == 1.0
    assert found.point.calibration.intercept == pytest.approx(-3.0, abs=0.5)
    assert found.is_proven
    assert found.judged is found.after
    assert found.verdict is Decision.ACCEPTED
    assert verdict(found.before, found.targets) is Decision.NOT_ACCEPTED


@pytest.mark.parametrize(("rescued", "by_bootstrap", "proven"), [(3, False, False), (5, True, False), (12, True, True)])
def test_a_gain_of_a_few_films_is_not_proven(bundle, rescued, by_bootstrap, proven):
    """So many more normal films of 120 are called rightly and none is lost; by chance 5 do so once in 16 times."""
    judged = site_films(0.0)
    logits = np.where(judged.targets == 1, 9.0, -6.0)
    logits[:rescued] = 0.4
    found = accepted(bundle, replace(judged, logits=logits), replicates=1000)
    gain = found.changes["balanced_accuracy"]
    assert gain.difference == pytest.approx(rescued / 240)
    assert gain.by_patient
    assert (gain.by_patient[0] > 0, found.is_proven) == (by_bootstrap, proven)


def test_a_target_is_held_against_the_lower_bound_and_not_against_the_figure(bundle):
    found = accepted(bundle, site_films(0.0))
    share = found.before["sensitivity"].value
    assert widest(found.before["sensitivity"])[0] < share - 0.01 < share
    assert verdict(found.before, Targets(sensitivity=share - 0.01)) is Decision.NOT_ACCEPTED
    assert verdict(found.before, Targets(sensitivity=widest(found.before["sensitivity"])[0])) is Decision.ACCEPTED
    assert verdict(found.before, Targets()) is None


def test_a_bound_is_never_better_than_films_of_one_child_or_a_share_near_one_allow():
    figure = Figure(0.99, 100, (0.97, 1.0), wilson(99, 100))
    assert widest(figure)[0] == wilson(99, 100)[0]
    assert widest(replace(figure, by_patient=(0.9, 1.0)))[0] == 0.9


def test_predictive_values_are_those_of_bayes_rule_at_each_prevalence(bundle):
    found = accepted(bundle, site_films(0.0), prevalence=0.15)
    assert [each.prevalence for each in found.predictive] == [0.05, 0.1, 0.15, 0.2, 0.5]
    sensitivity, specificity = (found.before[name].value for name in ("sensitivity", "specificity"))
    ill = 0.15 * sensitivity
    stated = found.predictive[2]
    assert stated.positive.value == pytest.approx(ill / (ill + 0.85 * (1 - specificity)))
    assert stated.negative.value == pytest.approx(0.85 * specificity / (0.85 * specificity + 0.15 * (1 - sensitivity)))
    assert stated.positive.by_patient
    assert stated.positive.by_patient[0] < stated.positive.value < stated.positive.by_patient[1]


def test_a_prevalence_moves_no_answer(bundle):
    one, other = (accepted(bundle, site_films(3.0), prevalence=prevalence) for prevalence in (None, 0.02))
    assert one.after == other.after
    assert one.point == other.point


def test_predictive_values_without_a_mistake_still_have_an_interval(bundle):
    judged = site_films(0.0)
    found = accepted(bundle, replace(judged, logits=np.where(judged.targets == 1, 9.0, -9.0)))
    for each in found.predictive:
        assert each.positive.value == each.negative.value == 1.0
        assert each.positive.by_patient
        assert each.positive.by_patient[0] < 0.99


def test_what_films_a_tighter_answer_needs_is_told_for_each_label(bundle):
    found = accepted(bundle, site_films(0.0), Targets(sensitivity=0.9, specificity=0.999))
    sensitivity, specificity = found.needed
    assert (sensitivity.figure, specificity.figure) == ("sensitivity", "specificity")
    assert sensitivity.for_half_width[0.02] > sensitivity.for_half_width[0.05]
    assert sensitivity.for_target is not None
    assert specificity.for_target is None


def test_films_of_each_band_are_counted_before_and_after(bundle):
    found = accepted(bundle, site_films(3.0))
    assert [counts.band for counts in found.bands] == list(Band)
    for side in ("before", "after"):
        counted = [getattr(counts, side) for counts in found.bands]
        assert [sum(each) for each in zip(*counted, strict=True)] == [120, 120]
    low = found.bands[0]
    assert low.after[0] > low.before[0]
    assert accepted(replace(bundle, bands=None), site_films(3.0)).bands == ()


def test_films_and_children_are_counted_and_few_are_called_few(bundle):
    found = accepted(bundle, site_films(0.0, per_child=12))
    assert (found.normal, found.pneumonia, found.children) == (120, 120, 20)
    assert not found.is_few
    assert accepted(bundle, site_films(0.0, 99)).is_few


def test_everything_is_plain_json_without_nan(bundle):
    document = json.loads(json.dumps(accepted(bundle, site_films(3.0), Targets(0.9), 0.2).as_dict(), allow_nan=False))
    assert document["films_needed"][0]["for_half_width"].keys() == {"0.05", "0.03", "0.02"}
    assert (document["proven"], document["judged"], document["verdict"]) == (True, "after", "ACCEPTED")
