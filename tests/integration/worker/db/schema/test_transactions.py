"""Sessions and transactions: settings, locks, collisions, clocks and forks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from tests.support.database import BOTH, fresh_site
from worker.db.schema.engine import in_transaction, make_engine, read_session_factory, session_factory
from worker.db.schema.study import Study
from worker.db.schema.types import now_ms, now_utc
from worker.errors import DatabaseUnavailable

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30000)]
)
def test_sqlite_is_set_up_to_keep_what_it_was_given(site, pragma, value):
    assert site.value(f"PRAGMA {pragma}") == value


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_transactions_that_read_and_then_write_never_find_sqlite_locked(site):
    """With a deferred BEGIN most of these fail with "database is locked", whatever the busy_timeout."""
    site.receive()

    def count_up(_: int) -> None:
        with site.sessions.begin() as session:
            study = session.execute(select(Study)).scalar_one()
            study.priority += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(80)))
    assert site.study().priority == 80


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_what_a_power_cut_may_take_back_is_not_synced_and_everything_else_is(site):
    seen = []
    for is_synced in (True, False, False, True, False, True):
        in_transaction(
            site.sessions,
            lambda session: seen.append(session.execute(text("PRAGMA synchronous")).scalar_one()),
            is_synced=is_synced,
        )
    assert seen == [2, 1, 1, 2, 1, 2]
    assert site.value("PRAGMA synchronous") == 2


def test_a_transaction_that_is_not_synced_is_seen_by_others(site):
    site.receive()
    in_transaction(
        site.sessions, lambda session: session.execute(text("UPDATE study SET priority = 7")), is_synced=False
    )
    assert site.study().priority == 7


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_writer_of_sqlite_goes_on_as_soon_as_the_lock_is_free(site, monkeypatch):
    """SQLite's own pauses grow to a tenth of a second; ours are equal, so that the longest waiter is not the last."""
    pauses: list[float] = []
    real = time.sleep

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            holder.execute("COMMIT")
        real(seconds)

    holder = sqlite3.connect(site.engine.url.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("worker.db.schema.engine.time.sleep", sleep)
    with site.sessions.begin() as session:
        assert session.execute(text("PRAGMA busy_timeout")).scalar_one() == 30_000
    holder.close()
    assert pauses == [0.001] * 20


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_readers_of_sqlite_wait_for_no_writer(site):
    site.receive()
    with site.sessions.begin() as writer:
        writer.execute(text("UPDATE study SET priority = 5"))
        with read_session_factory(site.engine)() as reader:
            assert reader.execute(text("SELECT priority FROM study")).scalar_one() == 0


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_read_only_uri_of_sqlite_reads_the_worklist(site):
    site.receive()
    path = site.engine.url.database
    engine = make_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    with read_session_factory(engine)() as session:
        assert session.execute(text("SELECT count(*) FROM worklist")).scalar_one() == 1
    with pytest.raises(DatabaseUnavailable, match="may not be written"), session_factory(engine).begin() as session:
        session.execute(text("UPDATE study SET priority = 1"))
    engine.dispose()


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_read_sessions_of_postgresql_cannot_write(site):
    with read_session_factory(site.engine)() as session, pytest.raises(DatabaseUnavailable, match="read-only"):
        session.execute(text("UPDATE study SET priority = 1"))
    assert site.receive().is_new_image, "the pool's connections may write as before"


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("setting", "value"), [("TimeZone", "UTC"), ("lock_timeout", "30s"), ("statement_timeout", "5min")]
)
def test_postgresql_sessions_are_in_utc_and_do_not_wait_for_ever(site, setting, value):
    assert site.value(f"SHOW {setting}") == value


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("of_the_database", "ours"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_a_commit_is_durable_where_the_database_is_set_to_answer_before_that(site, of_the_database, ours):
    site.change(f'ALTER DATABASE "{site.engine.url.database}" SET synchronous_commit = {of_the_database}')
    site.engine.dispose()
    assert site.value("SHOW synchronous_commit") == ours


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_nothing_is_left_on_the_session_for_whoever_gets_it_next(site):
    """Behind pgbouncer the next transaction of this session may be another client's, and ours be on another."""
    site.value("SELECT 1")
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver = connection.connection.driver_connection
        for setting, ours in (("TimeZone", "UTC"), ("lock_timeout", "30s"), ("statement_timeout", "5min")):
            assert driver.execute(f"SHOW {setting}").fetchone()[0] != ours
        for _ in range(20):
            driver.execute("SELECT 1")
        assert driver.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] == 0


def test_both_clocks_tell_the_time_of_the_database(site):
    with site.sessions() as session:
        milliseconds, moment = session.execute(select(now_ms(), now_utc())).one()
    assert isinstance(milliseconds, int)
    assert moment.tzinfo is UTC
    assert abs(moment.timestamp() * 1000 - milliseconds) < 1000
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def test_the_clock_goes_on_within_a_transaction(site):
    """A lease counted from the transaction's begin could have ended before it is granted."""
    with site.sessions.begin() as session:
        first = session.execute(select(now_ms())).scalar_one()
        threading.Event().wait(0.05)
        assert session.execute(select(now_ms())).scalar_one() >= first + 40


def test_work_that_met_another_ones_new_row_is_done_again(site):
    tries = []

    def work(session):
        tries.append(1)
        key = "a" if len(tries) < 3 else "b"
        session.execute(
            text(
                "INSERT INTO refusal (uid, at, kind, reason_code, calling_aet, called_aet, peer, study_uid, sop_uid) "
                f"VALUES ('{key}', '2026-01-01 00:00:00', 'object', 'X', '', '', '', '', '')"
            )
        )

    in_transaction(site.sessions, work)
    in_transaction(site.sessions, lambda _: tries.clear())
    in_transaction(site.sessions, work)
    assert len(tries) == 3
    assert site.value("SELECT count(*) FROM refusal") == 2


def test_work_that_is_wrong_is_not_done_again(site):
    site.receive()
    tries = []

    def work(session):
        tries.append(1)
        session.execute(text("UPDATE study SET state = 'NONSENSE'"))

    with pytest.raises(IntegrityError):
        in_transaction(site.sessions, work)
    assert len(tries) == 1


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_deadlock_is_resolved_by_doing_the_work_again(site):
    for number in (1, 2):
        site.receive(f"1.{number}", f"1.{number}.1")
    site.change('ALTER DATABASE "' + site.engine.url.database + "\" SET deadlock_timeout = '50ms'")
    site.engine.dispose()
    both_hold = threading.Barrier(2)
    tries = []

    def work(order: tuple[int, int]) -> None:
        def change(session) -> None:
            tries.append(order)
            for place, study_id in enumerate(order):
                session.execute(text(f"UPDATE study SET priority = priority + 1 WHERE id = {study_id}"))
                if place == 0 and len(tries) <= 2:
                    both_hold.wait(30)

        in_transaction(site.sessions, change)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [(1, 2), (2, 1)]))
    assert len(tries) == 3
    assert [row["priority"] for row in site.rows("SELECT priority FROM study")] == [2, 2]


def test_a_forked_child_opens_its_own_connections(site):
    site.value("SELECT 1")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(site.value("SELECT count(*) FROM study")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "0"
    os.waitpid(child, 0)
    assert site.value("SELECT count(*) FROM study") == 0
