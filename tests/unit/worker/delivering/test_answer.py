"""What a destination is told next: only a FINAL answer that is judged and not in doubt, once, and what takes it back."""

from __future__ import annotations

import pytest

from dicom_io.reasons import Reason
from dicom_io.results.result import FindingStatus
from model.labels import Band, Label
from worker.db.delivery.changes import Told
from worker.db.schema.states import DeliveryAction, DeliveryState, DestinationKind, StudyState
from worker.db.schema.study import Destination, Study
from worker.delivering.answer import NOTHING, Tell, finding_of, is_settling, is_wanted, leaves_waiting, next_of, says_of


def study(**changes):
    values = {
        "state": StudyState.FINAL,
        "label": Label.PNEUMONIA,
        "band": Band.HIGH,
        "probability": 0.9,
        "threshold": 0.5,
        "model_id": 1,
        "flags": (),
        "revision": 1,
        "merged_into_id": None,
        "patient_id": "4711",
        "issuer_of_patient_id": "",
        "patient_name": "Doe^Jane",
        "patient_birth_date": None,
        "patient_sex": "F",
        "accession_number": "A",
    }
    return Study(**values | changes)


def destination(**changes):
    values = {"kind": DestinationKind.C_STORE, "findings": (), "bands": (), "callers": ()}
    return Destination(**values | changes)


def told(says="a", state=DeliveryState.DELIVERED, action=DeliveryAction.REPORT, number=1, *, is_begun=True):
    return Told(number, action, says, state, is_begun)


UNSAID = [
    {"state": StudyState.PROVISIONAL},
    {"state": StudyState.RECEIVING, "label": None},
    {"state": StudyState.QUEUED, "label": None},
    {"state": StudyState.FAILED, "label": None},
    {"state": StudyState.NOT_APPLICABLE, "label": None},
    {"state": StudyState.WITHHELD, "label": None},
    {"flags": (Reason.IDENTITY_CONFLICT,)},
    {"flags": (Reason.MODEL_SUSPENDED,)},
    {"flags": (Reason.CORRECTION_PENDING,)},
    {"merged_into_id": 7},
]


@pytest.mark.parametrize("changes", UNSAID, ids=lambda changes: str(changes)[:50])
def test_what_is_not_a_final_judged_answer_without_doubt_is_told_to_nobody(changes):
    assert finding_of(study(**changes)) is None
    assert says_of(study(**changes)) == NOTHING
    assert not is_wanted(study(**changes), destination(), frozenset())
    assert next_of(NOTHING, (), is_wanted=False) is None


def test_a_final_answer_is_told_once():
    says = says_of(study())
    assert finding_of(study()) is FindingStatus.PRESENT
    assert next_of(says, (), is_wanted=True) == Tell(DeliveryAction.REPORT, says)
    for state in DeliveryState:
        if state is not DeliveryState.SUPERSEDED:
            assert next_of(says, (told(says, state, is_begun=False),), is_wanted=True) is None
    assert next_of(says, (), is_wanted=False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"label": Label.NORMAL},
        {"band": Band.INTERMEDIATE},
        {"probability": 0.8},
        {"model_id": 2},
        {"revision": 2},
        {"flags": (Reason.AGE_UNKNOWN,)},
        {"patient_name": "Doe^Janet"},
        {"patient_id": "4712"},
        {"accession_number": "B"},
    ],
    ids=str,
)
def test_any_change_of_what_is_told_is_told_whatever_the_rule_says(changes):
    before, now = says_of(study()), says_of(study(**changes))
    assert before != now
    assert next_of(now, (told(before),), is_wanted=False) == Tell(DeliveryAction.REPORT, now)


def test_what_does_not_stand_in_the_objects_changes_nothing():
    assert says_of(study()) == says_of(study(n_images=3, priority=-1))


def test_what_was_told_is_taken_back_once_and_told_again_when_it_holds_again():
    first = told("a")
    assert next_of(NOTHING, (first,), is_wanted=False) == Tell(DeliveryAction.WITHDRAW, NOTHING)
    back = told(NOTHING, action=DeliveryAction.WITHDRAW, number=2)
    assert next_of(NOTHING, (first, back), is_wanted=False) is None
    assert next_of("a", (first, back), is_wanted=True) == Tell(DeliveryAction.REPORT, "a")


def test_what_was_never_sent_needs_no_taking_back():
    waiting = told("a", DeliveryState.PENDING, is_begun=False)
    assert next_of(NOTHING, (waiting,), is_wanted=False) is None
    assert leaves_waiting(NOTHING, (waiting,))
    assert not leaves_waiting("a", (waiting,))
    overtaken = told("a", DeliveryState.SUPERSEDED, is_begun=False)
    assert next_of("a", (overtaken,), is_wanted=True) == Tell(DeliveryAction.REPORT, "a")
    assert next_of("a", (overtaken,), is_wanted=False) is None


def test_what_may_have_been_sent_is_taken_back():
    for state, is_begun in (
        (DeliveryState.CLAIMED, False),
        (DeliveryState.PENDING, True),
        (DeliveryState.FAILED, True),
        (DeliveryState.SUPERSEDED, True),
    ):
        found = next_of(NOTHING, (told("a", state, is_begun=is_begun),), is_wanted=False)
        assert found == Tell(DeliveryAction.WITHDRAW, NOTHING), state


@pytest.mark.parametrize(
    ("rule", "callers", "wanted"),
    [
        ({"findings": ("PRESENT",)}, (), True),
        ({"findings": ("ABSENT", "INDETERMINATE")}, (), False),
        ({"bands": ("HIGH",)}, (), True),
        ({"bands": ("LOW",)}, (), False),
        ({"callers": ("MOD1",)}, ("MOD1", "MOD2"), True),
        ({"callers": ("MOD1",)}, ("MOD2",), False),
        ({"findings": ("PRESENT",), "bands": ("LOW",)}, (), False),
    ],
    ids=str,
)
def test_a_rule_names_findings_bands_and_senders(rule, callers, wanted):
    assert is_wanted(study(), destination(**rule), frozenset(callers)) is wanted


def test_an_open_study_is_waited_for():
    for state in StudyState:
        assert is_settling(study(state=state)) is not state.is_terminal
    assert not is_settling(study(state=StudyState.RECEIVING, merged_into_id=7))
