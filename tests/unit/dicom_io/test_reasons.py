"""The closed list of reasons: complete, and its sentences say what to do."""

from __future__ import annotations

import pytest

from dicom_io.errors import DicomIoError, FilmError, NotDicom
from dicom_io.reasons import Outcome, Reason, sentence_of

GATE = {
    *("NOT_A_RADIOGRAPH", "NOT_CHEST", "LATERAL_VIEW", "AGE_OUT_OF_RANGE", "FOR_PROCESSING", "MULTI_FRAME"),
    *("TOO_SMALL", "CONSTANT_PICTURE", "UNLIKE_TRAINING", "NOT_HUMAN", "TEST_PATTERN", "DERIVED_OBJECT"),
    *("INVERTED_PICTURE", "BURNED_IN_ANNOTATION", "BODY_PART_UNKNOWN", "VIEW_UNKNOWN", "AGE_UNKNOWN"),
}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence_that_ends(reason: Reason) -> None:
    assert reason.sentence.endswith(".")
    assert len(reason.sentence) <= 200


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_is_wrong_and_then_what_to_do(reason: Reason) -> None:
    assert reason.sentence.count(". ") == 1


def test_the_gate_refuses_as_not_applicable_and_so_does_registration_for_a_result_of_our_own() -> None:
    not_applicable = {reason for reason in Reason if reason.outcome is Outcome.NOT_APPLICABLE}
    assert not_applicable == GATE | {Reason.OWN_RESULT}


def test_no_reason_goes_with_an_answer() -> None:
    assert all(reason.outcome is not Outcome.OK for reason in Reason)


def test_a_refusal_at_the_door_has_no_outcome() -> None:
    assert Reason.INVALID_STUDY_UID.outcome is None
    assert Reason.INVALID_STUDY_UID.telling == 0


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (Reason.NOT_A_RADIOGRAPH, Reason.LATERAL_VIEW),
        (Reason.NOT_A_RADIOGRAPH, Reason.NOT_HUMAN),
        (Reason.TEST_PATTERN, Reason.DERIVED_OBJECT),
        (Reason.DERIVED_OBJECT, Reason.NOT_CHEST),
        (Reason.NOT_CHEST, Reason.LATERAL_VIEW),
        (Reason.VIEW_UNKNOWN, Reason.AGE_OUT_OF_RANGE),
        (Reason.AGE_OUT_OF_RANGE, Reason.INVERTED_PICTURE),
        (Reason.INVERTED_PICTURE, Reason.UNLIKE_TRAINING),
        (Reason.LATERAL_VIEW, Reason.AGE_OUT_OF_RANGE),
        (Reason.AGE_OUT_OF_RANGE, Reason.UNLIKE_TRAINING),
        (Reason.UNLIKE_TRAINING, Reason.DECODE_FAILED),
        (Reason.DECODE_FAILED, Reason.WORKER_LOST),
    ],
)
def test_a_film_that_came_further_is_more_telling(less: Reason, more: Reason) -> None:
    assert less.telling < more.telling


def test_a_film_error_says_the_sentence_of_its_reason() -> None:
    assert str(FilmError(Reason.TOO_SMALL)) == Reason.TOO_SMALL.sentence


def test_an_error_without_words_says_its_docstring() -> None:
    assert str(NotDicom()) == "The file is neither a DICOM file nor a bare DICOM data set."
    assert isinstance(NotDicom(), DicomIoError)


def test_a_code_of_another_release_has_a_sentence_too() -> None:
    assert sentence_of("NEVER_HEARD_OF") == "This release does not know the code."
    assert sentence_of("LATERAL_VIEW") == Reason.LATERAL_VIEW.sentence
