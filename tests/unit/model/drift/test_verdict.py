"""Whether a change is found, and told apart, on sites made up of the answers and films of a real network."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from model.drift.history import JUDGED, added_up, of_each_day
from model.drift.measures import OF_INPUT, Measure
from model.drift.reference import NO_REFERENCE, Reference
from model.drift.verdict import ALARM, FEWEST_NOW, FEWEST_REFERENCE, Verdict, compare
from tests.support.drift import FIRST, TRAINING, Simulated, changed_classes, one_after_the_other

QUIET, WINDOW = 56, 28


def verdict_of(days, training=TRAINING, **others):
    until = days[-1].day if days else FIRST
    return compare(days, training, **{"since": FIRST, "until": until, "window_days": WINDOW, **others})


def of_many(make, times=30):
    """How often each verdict comes, over sites of different random numbers."""
    return Counter(verdict_of(make(np.random.default_rng(seed))).verdict for seed in range(times))


@pytest.mark.parametrize("films", [10, 60, 300])
def test_a_site_on_which_nothing_changes_gives_no_alarm(films):
    assert of_many(lambda rng: Simulated(rng, films).days(84)) == {Verdict.NO_CHANGE: 30}


def test_days_that_differ_from_each_other_give_no_alarm():
    """A ward round, siblings, a weekend: the prevalence goes from 5 to 45 % within weeks, and stays what it is."""
    assert of_many(lambda rng: Simulated(rng, 30, unrest=0.1).days(84)) == {Verdict.NO_CHANGE: 30}


def test_a_wave_of_pneumonia_is_a_change_of_prevalence_and_not_of_pictures():
    found = of_many(
        lambda rng: one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, prevalence=0.6), WINDOW)])
    )
    assert found == {Verdict.PREVALENCE: 30}


def test_prevalence_is_told_where_films_of_both_labels_look_alike():
    """In the training films the style goes with the label; nothing says that it does at a site."""
    classes = {one: (normal + ill, normal + ill) for one, (normal, ill) in TRAINING.classes.items()}
    classes[Measure.SCORE] = TRAINING.classes[Measure.SCORE]

    def site(rng):
        quiet = Simulated(rng, classes=classes)
        return one_after_the_other([(quiet, QUIET), (replace(quiet, prevalence=0.6), WINDOW)])

    assert of_many(site) == {Verdict.PREVALENCE: 30}


def test_the_change_of_prevalence_is_told_with_its_interval():
    rng = np.random.default_rng(1)
    found = verdict_of(one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, prevalence=0.6), WINDOW)]))
    assert found.prevalence
    assert found.prevalence.low <= 0.35 <= found.prevalence.high
    assert found.prevalence.change == pytest.approx(0.35, abs=0.05)
    assert found.because == (Measure.SCORE,)
    assert found.measures[Measure.SCORE].psi.low > ALARM
    assert found.positive_rate_reference == pytest.approx(0.25, abs=0.05)
    assert found.positive_rate == pytest.approx(0.55, abs=0.05), (
        "the network misses some: the rate is not the prevalence"
    )


@pytest.fixture(scope="module")
def public(test_data):
    return test_data / "chest_xray" / "train"


@pytest.mark.data
@pytest.mark.parametrize(
    ("change", "told_by"),
    [
        ("a fifth darker", Measure.MEAN_GREY),
        ("gamma 1.4", Measure.MEAN_GREY),
        ("contrast 60 %", Measure.CONTRAST),
        ("sharpened", Measure.SHARPNESS),
        ("black border", Measure.DARK_SHARE),
        ("blurred", Measure.SHARPNESS),
    ],
)
def test_another_exposure_or_processing_is_a_change_of_pictures(public, change, told_by):
    classes = changed_classes(public, change)

    def site(rng):
        return one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, classes=classes), WINDOW)])

    assert of_many(site, 20) == {Verdict.PICTURES: 20}
    assert told_by in verdict_of(site(np.random.default_rng(1))).because


@pytest.mark.data
@pytest.mark.parametrize(
    ("look", "verdict"),
    [
        ("gamma 0.7", Verdict.PREVALENCE),
        ("CLAHE", Verdict.PREVALENCE),
        ("contrast 60 %", Verdict.PREVALENCE),
        # Cropped films of both labels differ otherwise than the training films do, and so do their scores: 1 of 20 is PICTURES.
        ("closer", Verdict.UNCLEAR),
    ],
)
def test_a_wave_is_no_change_of_pictures_on_a_site_whose_films_differ_from_the_training_films(public, look, verdict):
    classes = changed_classes(public, look)

    def site(rng):
        quiet = Simulated(rng, classes=classes)
        return one_after_the_other([(quiet, QUIET), (replace(quiet, prevalence=0.6), WINDOW)])

    found = of_many(site, 20)
    assert found[verdict] >= 10
    assert found[Verdict.PREVALENCE] + found[verdict] * (verdict is Verdict.UNCLEAR) >= 18
    against_training = [
        one.training.low for one in verdict_of(site(np.random.default_rng(1))).measures.values() if one.training
    ]
    assert max(against_training) > ALARM, "such a site is unlike the training films, which is no alarm"


@pytest.mark.data
def test_a_wave_hides_no_change_of_pictures_that_is_larger_than_itself(public):
    darker = changed_classes(public, "a fifth darker")

    def site(rng):
        return one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, prevalence=0.6, classes=darker), WINDOW)])

    assert of_many(site, 20) == {Verdict.PICTURES: 20}


def test_other_refusals_alone_are_told_as_such():
    def site(rng):
        return one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, refused=0.4), WINDOW)])

    assert of_many(site, 20) == {Verdict.REFUSALS: 20}
    assert verdict_of(site(np.random.default_rng(1))).because == ("OUTCOME",)


def test_where_every_film_is_refused_now_that_is_told_too():
    rng = np.random.default_rng(1)
    days = one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, refused=1.0), WINDOW)])
    assert verdict_of(days).verdict is Verdict.REFUSALS


def test_scores_without_statistics_of_films_leave_open_what_it_is():
    rng = np.random.default_rng(1)
    scores = {Measure.SCORE: TRAINING.classes[Measure.SCORE]}
    days = one_after_the_other(
        [(Simulated(rng, classes=scores), QUIET), (Simulated(rng, classes=scores, prevalence=0.5), WINDOW)]
    )
    assert verdict_of(days).verdict is Verdict.UNCLEAR
    assert verdict_of(days, NO_REFERENCE).verdict is Verdict.UNCLEAR


def test_a_model_trained_on_other_films_has_its_scores_alone_and_says_unclear_where_both_may_be():
    """Without the training films nothing tells how much of a change of the pictures prevalence would explain."""
    rng = np.random.default_rng(1)
    own = Reference({Measure.SCORE: TRAINING.classes[Measure.SCORE]})
    days = one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, prevalence=0.75), WINDOW)])
    found = verdict_of(days, own)
    assert found.verdict is Verdict.UNCLEAR
    assert set(found.because) & set(OF_INPUT)
    assert verdict_of(days).verdict is Verdict.PREVALENCE


def test_too_few_films_say_nothing():
    rng = np.random.default_rng(1)
    few = FEWEST_NOW / WINDOW
    days = one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, few * 0.7, prevalence=0.9), WINDOW)])
    assert verdict_of(days).verdict is Verdict.TOO_FEW
    rare = one_after_the_other(
        [(Simulated(rng, FEWEST_REFERENCE / 28 * 0.8), 28), (Simulated(rng, prevalence=0.9), 28)]
    )
    assert verdict_of(rare).verdict is Verdict.TOO_FEW


def test_in_its_first_weeks_a_site_is_compared_with_the_training_films_alone():
    found = verdict_of(Simulated(np.random.default_rng(1)).days(28))
    assert (found.verdict, found.now) == (Verdict.TOO_FEW, None)
    assert found.measures[Measure.SCORE].training
    assert found.measures[Measure.SCORE].training.low > ALARM, "a quarter of pneumonia, and three in training"


def test_films_of_the_reference_are_never_among_those_that_are_compared_with_it():
    found = verdict_of(Simulated(np.random.default_rng(1)).days(40))
    assert found.reference == (FIRST, FIRST + timedelta(days=27))
    assert found.now == (FIRST + timedelta(days=28), FIRST + timedelta(days=39))


def test_days_before_the_last_good_check_do_not_count():
    rng = np.random.default_rng(1)
    days = one_after_the_other([(Simulated(rng, prevalence=0.7), 28), (Simulated(rng), 84)])
    assert verdict_of(days).verdict is Verdict.PREVALENCE
    later = verdict_of(days, since=FIRST + timedelta(days=28))
    assert later.verdict is Verdict.NO_CHANGE
    assert later.reference == (FIRST + timedelta(days=28), FIRST + timedelta(days=55))


def test_a_device_that_sends_no_more_is_not_compared_for_ever():
    rng = np.random.default_rng(1)
    days = one_after_the_other([(Simulated(rng), QUIET), (Simulated(rng, prevalence=0.6), WINDOW)])
    assert verdict_of(days).verdict is Verdict.PREVALENCE
    assert verdict_of(days, until=days[-1].day + timedelta(days=WINDOW)).verdict is Verdict.TOO_FEW


def test_no_day_says_nothing():
    assert verdict_of([]).verdict is Verdict.TOO_FEW


def test_devices_are_added_up_day_by_day():
    rng = np.random.default_rng(1)
    one, other = Simulated(rng).days(7), Simulated(rng, refused=0).days(5)
    both = added_up([*one, *other])
    assert [day.day for day in both] == [day.day for day in one]
    assert sum(day.films for day in both) == sum(day.films for day in (*one, *other))
    assert both[0].outcomes[JUDGED] == one[0].judged + other[0].judged
    scores = [of_each_day(days, Measure.SCORE).sum() for days in (one, other, both)]
    assert scores[0] + scores[1] == scores[2]
