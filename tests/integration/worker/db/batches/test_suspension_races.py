"""A suspension beside answers, results and films that are on their way, on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support.database import Site, fresh_site, scored
from tests.support.suspensions import (
    ADA,
    NORMAL,
    RELEASED,
    WITHHELD,
    follow,
    judged,
    resume,
    says,
    suspend,
)
from worker.db.answers.recompute import recompute
from worker.db.answers.results import TaskReference, record
from worker.db.batches import suspensions
from worker.db.batches.suspensions import Affected
from worker.db.schema.engine import in_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(params=["postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def test_from_the_commit_of_a_suspension_on_no_answer_is_decided_without_it(site: Site) -> None:
    """An answer under way holds the suspension up; what is decided during the suspension waits for it."""
    judged(site, "1.1", scored(0.1))
    late = site.receive("1.2", "1.2.1")
    site.finish(site.receive("1.3", "1.3.1", quiet_ms=600_000).task_id, scored(0.1))

    def only_suspend() -> Affected | None:
        return in_transaction(site.sessions, lambda session: suspensions.suspend(session, site.model_id, ADA))

    with ThreadPoolExecutor(2) as pool:
        with site.sessions.begin() as session:
            recompute(session, site.study("1.1").id)
            suspension = pool.submit(only_suspend)
            with pytest.raises(TimeoutError):
                suspension.result(0.3)
        assert suspension.result(30) == Affected(normal=1, other=1)
        resume(site, RELEASED)
        site.change("UPDATE study SET ready_at_ms = 0 WHERE study_uid = '1.3'")
        with site.sessions.begin() as session:
            suspensions.suspend(session, site.model_id, ADA, datetime(2026, 1, 1, tzinfo=UTC))
            deciding = [pool.submit(site.finish, late.task_id, scored(0.1)), pool.submit(site.settle)]
            for done in deciding:
                with pytest.raises(TimeoutError):
                    done.result(0.3)
        for done in deciding:
            done.result(30)
    site.settle()
    assert (says(site, "1.2"), says(site, "1.3")) == (WITHHELD, WITHHELD)
    assert says(site, "1.1") == NORMAL, "it was there before, and follows next"
    follow(site)
    assert says(site, "1.1") == WITHHELD


def test_a_result_that_is_being_written_is_told_from_those_before_the_last_good_check(site: Site) -> None:
    """Results are covered by their numbers, so none is on its way while they are counted."""
    late = site.claimed(site.receive().task_id)
    with ThreadPoolExecutor(1) as pool, site.sessions.begin() as session:
        record(session, TaskReference(late.task_id, late.image.image_id, late.model_id, None, False), scored(0.1))
        suspension = pool.submit(suspend, site, since=datetime.now(UTC))
        with pytest.raises(TimeoutError):
            suspension.result(0.3)
        session.rollback()
        suspension.result(30)


def test_films_that_are_judged_while_a_model_is_suspended_are_never_normal(site: Site) -> None:
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(site.finish, entry.task_id, scored(0.1)) for entry in entries[:11]]
        suspension = pool.submit(suspend, site)
        suspension.result(60)
        for done in work:
            done.result(60)
    site.finish(entries[11].task_id, scored(0.1))
    site.settle()
    assert [says(site, f"1.{number}") for number in range(12)] == [WITHHELD] * 12
