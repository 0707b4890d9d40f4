"""A person has failed films tried again: once for each time it is asked, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.answers.results import failed
from worker.db.audit.record import Actor
from worker.db.schema.engine import in_transaction
from worker.db.tasks.retries import retry_study
from worker.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def retry(site: Any, study: str = "1.2.3") -> int:
    return in_transaction(site.sessions, lambda session: retry_study(session, study, Actor("ada"), "disk back"))


def open_task(site: Any) -> int:
    return int(site.value("SELECT id FROM task WHERE state = 'PENDING'"))


def test_failed_films_alone_are_tried_again_and_the_answer_follows(site):
    for number, judgement in enumerate((failed(Reason.TIMED_OUT), scored(0.1), refused(Reason.NOT_CHEST))):
        site.finish(site.receive(sop=f"1.2.3.{number}").task_id, judgement)
    site.settle()
    assert site.entry()["ai_status"] == "FAILED"
    assert retry(site) == 1
    assert site.entry()["ai_status"] in ("PROVISIONAL", "QUEUED")
    assert retry(site) == 0, "it is on its way"
    site.finish(open_task(site), scored(0.2))
    site.settle()
    assert (site.entry()["ai_status"], site.entry()["label"]) == ("FINAL", "NORMAL")
    (event,) = site.rows("SELECT who, study_uid FROM audit WHERE act = 'STUDY_RETRIED'")
    assert (event["who"], event["study_uid"]) == ("ada", "1.2.3")


def test_a_film_that_fails_again_may_be_tried_again(site):
    site.finish(site.receive().task_id, failed(Reason.TIMED_OUT))
    for _ in range(2):
        assert retry(site) == 1
        site.finish(open_task(site), failed(Reason.TIMED_OUT))
    assert site.value("SELECT count(*) FROM task") == 3


def test_a_study_that_is_not_on_record_is_named(site):
    with pytest.raises(UsageError, match=r"no study 9\.9 is on record"):
        retry(site, "9.9")
