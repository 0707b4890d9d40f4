"""What may be said of a study: present, absent, indeterminate, or nothing."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from dicom_io.results.result import FindingStatus
from model.labels import Band, Label
from worker.db.schema.states import StudyState
from worker.results.finding import SILENCING, finding_status

if TYPE_CHECKING:
    from dicom_io.reasons import Reason

PRESENT, ABSENT, INDETERMINATE = FindingStatus.PRESENT, FindingStatus.ABSENT, FindingStatus.INDETERMINATE
FINAL = StudyState.FINAL


@pytest.mark.parametrize(
    ("label", "band", "status"),
    [
        (Label.PNEUMONIA, None, PRESENT),
        (Label.PNEUMONIA, Band.HIGH, PRESENT),
        (Label.PNEUMONIA, Band.INTERMEDIATE, INDETERMINATE),
        (Label.NORMAL, Band.INTERMEDIATE, INDETERMINATE),
        (Label.NORMAL, Band.LOW, ABSENT),
        (Label.NORMAL, None, ABSENT),
        (None, None, None),
    ],
)
def test_label_and_band_decide(label: Label | None, band: Band | None, status: FindingStatus | None) -> None:
    assert finding_status(label, band, FINAL) is status


@pytest.mark.parametrize("state", list(StudyState))
def test_a_study_without_an_answer_says_nothing_in_any_state(state: StudyState) -> None:
    assert finding_status(None, None, state) is None


def test_a_pneumonia_may_be_said_while_more_is_to_come() -> None:
    assert finding_status(Label.PNEUMONIA, Band.HIGH, StudyState.PROVISIONAL) is PRESENT


@pytest.mark.parametrize("flag", sorted(SILENCING))
def test_an_answer_in_doubt_says_nothing_even_if_it_is_pneumonia(flag: Reason) -> None:
    for label, band in product(Label, (*Band, None)):
        assert finding_status(label, band, FINAL, ["AGE_UNKNOWN", str(flag)]) is None


@pytest.mark.parametrize("flag", ["AGE_UNKNOWN", "UNLIKE_TRAINING", "LISTENER_SILENT", "WITHDRAWN", "ANSWER_LOWERED"])
def test_a_flag_that_does_not_doubt_the_answer_leaves_it(flag: str) -> None:
    assert finding_status(Label.PNEUMONIA, Band.HIGH, FINAL, [flag]) is PRESENT
