"""The answer of a study: the table of cases, and the promise that holds for every other one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.reasons import Outcome, Reason
from model.labels import Label
from worker.db.answers.decide import Answer, FilmResult, decide
from worker.db.answers.results import counts_before
from worker.db.schema.states import StudyState


def ok(probability: float, threshold: float = 0.5, *flags: str, model_id: int = 1, is_new: bool = True) -> FilmResult:
    label = Label.of(probability, threshold)
    return FilmResult(Outcome.OK, None, flags, probability, threshold, label, model_id, is_new)


def no(reason: Reason, model_id: int = 1) -> FilmResult:
    return FilmResult(reason.outcome, reason, model_id=model_id)


NOTHING = FilmResult(is_new=False)
LATERAL = no(Reason.LATERAL_VIEW)
NO_FILM = no(Reason.NOT_A_RADIOGRAPH)
BROKEN = no(Reason.DECODE_FAILED)
LOST = no(Reason.WORKER_LOST)

FINISHED = [
    pytest.param([ok(0.2)], (StudyState.FINAL, Label.NORMAL, 0.2, None), id="one film below its threshold"),
    pytest.param([ok(0.5)], (StudyState.FINAL, Label.PNEUMONIA, 0.5, None), id="one film at its threshold"),
    pytest.param([ok(0.2), ok(0.9), ok(0.7)], (StudyState.FINAL, Label.PNEUMONIA, 0.9, None), id="the largest counts"),
    pytest.param([ok(0.2), ok(0.4)], (StudyState.FINAL, Label.NORMAL, 0.4, None), id="the largest of all normal ones"),
    pytest.param([ok(0.9), BROKEN], (StudyState.FINAL, Label.PNEUMONIA, 0.9, None), id="a failure hides no finding"),
    pytest.param(
        [ok(0.1), BROKEN], (StudyState.FAILED, None, None, Reason.DECODE_FAILED), id="bad input beside normal"
    ),
    pytest.param([ok(0.1), LOST], (StudyState.FAILED, None, None, Reason.WORKER_LOST), id="failure beside normal"),
    pytest.param([BROKEN, LOST], (StudyState.FAILED, None, None, Reason.WORKER_LOST), id="the most telling failure"),
    pytest.param([LATERAL, LOST], (StudyState.FAILED, None, None, Reason.WORKER_LOST), id="failure beside a refusal"),
    pytest.param(
        [ok(0.1), NOTHING], (StudyState.FAILED, None, None, Reason.INTERNAL_ERROR), id="an image without result"
    ),
    pytest.param([NOTHING], (StudyState.FAILED, None, None, Reason.INTERNAL_ERROR), id="no result at all"),
    pytest.param([ok(0.1), LATERAL], (StudyState.FINAL, Label.NORMAL, 0.1, None), id="a lateral beside a normal film"),
    pytest.param(
        [NO_FILM, LATERAL], (StudyState.NOT_APPLICABLE, None, None, Reason.LATERAL_VIEW), id="the most telling refusal"
    ),
    pytest.param([], (StudyState.NOT_APPLICABLE, None, None, Reason.IDENTITY_CONFLICT), id="no image is left"),
    pytest.param(
        [ok(0.8, 0.9), ok(0.6, 0.5)],
        (StudyState.FINAL, Label.PNEUMONIA, 0.6, None),
        id="each film by its own threshold",
    ),
]


@pytest.mark.parametrize(("films", "expected"), FINISHED)
def test_answer_of_a_finished_study(films, expected):
    found = decide(films, ready=True, open_tasks=False)
    assert (found.state, found.label, found.probability, found.reason) == expected


UNFINISHED = [
    pytest.param([], False, False, StudyState.RECEIVING, None, id="nothing yet"),
    pytest.param([NOTHING], False, True, StudyState.RECEIVING, None, id="receiving"),
    pytest.param([NOTHING], True, True, StudyState.QUEUED, None, id="complete and waiting"),
    pytest.param([ok(0.1)], False, False, StudyState.PROVISIONAL, None, id="normal waits for the quiet time"),
    pytest.param([ok(0.1), NOTHING], True, True, StudyState.PROVISIONAL, None, id="normal waits for the other film"),
    pytest.param([ok(0.9)], False, False, StudyState.PROVISIONAL, Label.PNEUMONIA, id="pneumonia shows early"),
    pytest.param(
        [ok(0.9), NOTHING], True, True, StudyState.PROVISIONAL, Label.PNEUMONIA, id="pneumonia with open work"
    ),
    pytest.param([LATERAL, NOTHING], True, True, StudyState.PROVISIONAL, None, id="a refusal is a result"),
    pytest.param(
        [ok(0.1, is_new=False), NOTHING], False, True, StudyState.RECEIVING, None, id="old results are no new ones"
    ),
    pytest.param(
        [ok(0.9, is_new=False), NOTHING], False, True, StudyState.RECEIVING, Label.PNEUMONIA, id="an old finding stays"
    ),
]


@pytest.mark.parametrize(("films", "ready", "open_tasks", "state", "label"), UNFINISHED)
def test_answer_of_an_unfinished_study(films, ready, open_tasks, state, label):
    found = decide(films, ready=ready, open_tasks=open_tasks)
    assert (found.state, found.label) == (state, label)
    assert (found.probability is None) == (label is None), "a lone low probability would read as normal"


def test_threshold_and_model_are_those_of_the_deciding_film():
    found = decide([ok(0.6, 0.5, model_id=1), ok(0.8, 0.7, model_id=2), LATERAL], ready=True, open_tasks=False)
    assert (found.probability, found.threshold, found.model_id) == (0.8, 0.7, 2)


def test_flags_are_those_of_all_films_the_answer_rests_on():
    films = [ok(0.1, 0.5, "AGE_UNKNOWN"), ok(0.2, 0.5, "VIEW_UNKNOWN", "AGE_UNKNOWN")]
    assert decide(films, ready=True, open_tasks=False).flags == ("AGE_UNKNOWN", "VIEW_UNKNOWN")


def _film(outcome: Outcome | None, probability: float, threshold: float, is_new: bool, reason: Reason) -> FilmResult:
    if outcome is None:
        return NOTHING
    return ok(probability, threshold, is_new=is_new) if outcome is Outcome.OK else no(reason)


unit = st.floats(0, 1)
reasons = st.sampled_from([reason for reason in Reason if reason.outcome is not None])
films_of_a_study = st.lists(
    st.builds(_film, st.sampled_from([None, *Outcome]), unit, unit, st.booleans(), reasons), max_size=5
)


@given(films_of_a_study, st.booleans(), st.booleans())
def test_normal_is_only_said_of_a_finished_study_with_no_failed_film(films, ready, open_tasks):
    found = decide(films, ready=ready, open_tasks=open_tasks)
    if found.label is Label.NORMAL:
        assert found.state is StudyState.FINAL
        assert ready
        assert not open_tasks
        assert any(film.outcome is Outcome.OK for film in films)
        assert all(film.outcome in (Outcome.OK, Outcome.NOT_APPLICABLE) for film in films)
        assert all(film.label is not Label.PNEUMONIA for film in films)
    assert (found.state is StudyState.FINAL) == (found.label is not None and ready and not open_tasks)
    assert found.state.is_terminal == (ready and not open_tasks)


@given(films_of_a_study, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_films_does_not_matter(films, ready, open_tasks, random):
    def essence(found: Answer) -> tuple:
        return found.state, found.label, found.probability, found.reason, found.flags

    shuffled = list(films)
    random.shuffle(shuffled)
    first = decide(films, ready=ready, open_tasks=open_tasks)
    assert essence(decide(shuffled, ready=ready, open_tasks=open_tasks)) == essence(first)


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_which_result_counts_does_not_depend_on_who_finishes_first(outcomes, random):
    def last_standing(results: list[tuple[Outcome, int]]) -> tuple[Outcome, int]:
        current = results[0]
        for result in results[1:]:
            if counts_before(*result, *current):
                current = result
        return current

    in_order = [(outcome, task_id) for task_id, outcome in enumerate(outcomes)]
    finished = list(in_order)
    random.shuffle(finished)
    assert last_standing(finished) == last_standing(in_order)


@pytest.mark.parametrize(
    ("new", "current", "counts"),
    [
        ((Outcome.OK, 2), (Outcome.OK, 1), True),
        ((Outcome.OK, 1), (Outcome.OK, 2), False),
        ((Outcome.FAILED, 2), (Outcome.OK, 1), False),
        ((Outcome.BAD_INPUT, 2), (Outcome.OK, 1), False),
        ((Outcome.NOT_APPLICABLE, 2), (Outcome.OK, 1), True),
        ((Outcome.OK, 2), (Outcome.FAILED, 1), True),
        ((Outcome.FAILED, 2), (Outcome.FAILED, 1), True),
        ((Outcome.FAILED, 2), (Outcome.NOT_APPLICABLE, 1), False),
    ],
)
def test_which_of_two_results_counts(new, current, counts):
    assert counts_before(*new, *current) is counts
