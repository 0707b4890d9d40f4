"""The page about a study, from rows made up: open studies, what must not be shown, and how much is shown at most."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dicom_io.reasons import Reason
from tests.support.pages import Page, check_accessible, check_alone, read_page
from worker.db.read.report import ReportFilm
from worker.db.schema.views import WORKLIST
from worker.errors import UsageError
from worker.reports.make import only
from worker.reports.study import MOST_PICTURES, MOST_ROWS, StudyData, study_page
from worker.reports.words import duration

AT = datetime(2026, 11, 29, 10, 0, 0, tzinfo=UTC)
UNUSED: Any = None


def row(**changes: Any) -> dict[str, Any]:
    """A row of the worklist without an answer."""
    empty = dict.fromkeys(WORKLIST.c.keys())
    given = {
        "study_uid": "1.2.3",
        "side": 0,
        "patient_id": "4711",
        "accession_number": "A1",
        "ai_status": "QUEUED",
        "flags": [],
        "revision": 1,
        "received_at": AT,
        "n_failed": 0,
    }
    texts = {"manufacturer": "", "device_model": "", "station_name": "", "requested_priority": ""}
    lists: dict[str, Any] = {"results": [], "corrections": [], "conflicts": [], "withdrawals": []}
    return {**empty, **texts, **lists, **given, **changes}


def film(number: int, **changes: Any) -> ReportFilm:
    """A film that no picture was made of."""
    values: dict[str, Any] = {
        "sop_uid": f"1.2.3.{number}",
        "view_position": "AP",
        "rows": 10,
        "columns": 10,
        "film_key": None,
        "film_version": None,
        "is_film_purged": False,
        "is_withdrawn": False,
        "received_at": AT,
        "outcome": None,
        "reason": None,
        "label": None,
        "probability": None,
        "flags": (),
        "engine": None,
        "model": None,
        "model_digest": None,
    }
    return ReportFilm(**values | changes)


def page_of(data: StudyData) -> Page:
    html = study_page(UNUSED, UNUSED, data, AT)
    page = read_page(html)
    check_accessible(page)
    check_alone(html, page)
    return page


@pytest.mark.parametrize("state", ["RECEIVING", "QUEUED", "PROVISIONAL"])
def test_an_open_study_has_no_answer_yet(state: str) -> None:
    page = page_of(StudyData(row(ai_status=state), [film(1)], []))
    assert page.one("h1").words == "No answer yet"
    assert f"{state}open" in page.text.replace(" ", "")
    assert "waits to be judged" in page.text
    assert not page.all("svg")


def test_a_correction_is_named_without_its_values() -> None:
    corrections = [
        {
            "at": AT,
            "source": "PACS1",
            "column_name": "patient_name",
            "old_value": "DOE^JANE",
            "new_value": "ROE^JIM",
            "sop_uid": None,
        }
    ]
    conflicts = [{"conflict_id": 7, "resolution": None, "held_patient_id": "OTHER", "claim_patient_id": "THIRD"}]
    withdrawals = [{"received_at": AT, "state": "APPLIED", "reason": None}]
    page = page_of(StudyData(row(corrections=corrections, conflicts=conflicts, withdrawals=withdrawals), [], []))
    assert "patient_name was corrected by PACS1" in page.text
    assert "Conflict 7 about the patient or the study: open" in page.text
    assert "rejection note, APPLIED" in page.text
    for hidden in ("DOE", "ROE", "OTHER", "THIRD"):
        assert hidden not in page.text
    assert "No object of this study counts." in page.text


def test_a_page_is_bounded_however_many_films_and_results_a_study_has() -> None:
    result = {
        "created_at": AT,
        "sop_uid": "1.2.3.1",
        "image_is_current": True,
        "is_current": True,
        "is_withdrawn": False,
        "model": "test-1",
        "label": None,
        "reason": "LATERAL_VIEW",
        "flags": [],
        "batch_id": None,
    }
    films = [film(number) for number in range(1, 41)]
    page = page_of(StudyData(row(results=[result] * (MOST_ROWS + 5)), films, []))
    assert len(page.all("figure")) == MOST_PICTURES
    assert f"{40 - MOST_PICTURES} more films count" in page.text
    assert "5 older results are not shown" in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_film_purged": True}, "rules of retention"),
        ({"reason": "LATERAL_VIEW", "outcome": "NOT_APPLICABLE"}, Reason.LATERAL_VIEW.sentence),
        ({}, "No picture was made yet."),
        ({"is_withdrawn": True}, "withdrawn, does not count"),
    ],
)
def test_a_film_without_a_picture_says_why(changes: dict[str, Any], words: str) -> None:
    assert words in page_of(StudyData(row(), [film(1, **changes)], [])).text


def test_one_study_is_asked_for() -> None:
    same, other = [row(side=0), row(side=1)], [row(), row(study_uid="1.2.4")]
    assert only(same, "1.2.3", 1) is same[1]
    with pytest.raises(UsageError, match="--side"):
        only(same, "1.2.3", None)
    with pytest.raises(UsageError, match="2 studies match A1"):
        only(other, "A1", None)
    with pytest.raises(UsageError, match="no study matches"):
        only(same, "1.2.3", 2)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, "0 s"), (59, "59 s"), (60, "1 min"), (70, "1 min 10 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_times_are_told_in_two_units(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
