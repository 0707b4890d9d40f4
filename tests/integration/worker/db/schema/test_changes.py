"""Who polls the view `changes` misses no change, whatever runs at the same time; on PostgreSQL a notice says when to look."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import text

from tests.support.database import BOTH, fresh_site, scored
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate

pytestmark = pytest.mark.integration

READ = """
SELECT change_id, study_uid, side, is_shown FROM changes
WHERE change_id >= :change_id AND (change_id > :change_id OR (study_uid, side) > (:study_uid, :side))
ORDER BY change_id, study_uid, side LIMIT {limit}
"""


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


class Poller:
    """A program that remembers the last row it read and asks for those behind it, as the documents tell."""

    def __init__(self, site, limit: int = 1000) -> None:
        self._site, self._statement = site, text(READ.format(limit=limit))
        self._last = {"change_id": 0, "study_uid": "", "side": 0}

    def poll(self) -> list[str]:
        """The studies that changed since the last poll."""
        found: list[str] = []
        with self._site.engine.connect().execution_options(sqlite_begin="BEGIN") as connection:
            while rows := [dict(row) for row in connection.execute(self._statement, self._last).mappings()]:
                found += [row["study_uid"] for row in rows]
                self._last = {name: rows[-1][name] for name in self._last}
        return found


def test_a_study_stands_behind_the_last_place_after_each_change_that_the_worklist_shows(site):
    poller = Poller(site)
    task = site.receive("1.1", "1.1.1").task_id
    site.receive("1.2", "1.2.1")
    assert poller.poll() == ["1.1", "1.2"]
    claim = site.claimed(task)
    assert poller.poll() == [], "a claim changes no row of the worklist"
    site.change("UPDATE study SET ready_at_ms = ready_at_ms, columns_at_ms = columns_at_ms + 1")
    assert poller.poll() == []
    assert site.ended(claim, scored(0.9))
    assert poller.poll() == ["1.1"]
    site.change("INSERT INTO assessments (study_uid, reader) VALUES ('1.1', 'lee')")
    assert poller.poll() == ["1.1"]
    assert poller.poll() == []


def test_pages_of_changes_are_all_of_them(site):
    for number in range(9):
        site.receive(f"1.{number}", f"1.{number}.1")
    site.change("UPDATE study SET revision = revision + 1")
    assert sorted(Poller(site, limit=2).poll()) == [f"1.{number}" for number in range(9)]


def test_a_row_that_the_worklist_no_longer_shows_is_a_change_that_says_so(site):
    site.receive("1.1", "1.1.1")
    site.receive("1.2", "1.2.1")
    site.change("UPDATE study SET merged_into_id = 1 WHERE id = 2")
    shown = {row["study_uid"]: bool(row["is_shown"]) for row in site.rows("SELECT study_uid, is_shown FROM changes")}
    assert shown == {"1.1": True, "1.2": False}


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_change_is_held_back_until_those_that_began_before_it_have_ended(site):
    """The first transaction takes its number and commits last: a reader that had gone by would never see it."""
    for number in (1, 2):
        site.receive(f"1.{number}", f"1.{number}.1")
    poller = Poller(site)
    poller.poll()
    with ExitStack() as stack:
        first = stack.enter_context(site.engine.connect())
        second = stack.enter_context(site.engine.connect())
        first.execute(text("UPDATE study SET revision = 2 WHERE study_uid = '1.1'"))
        second.execute(text("UPDATE study SET revision = 2 WHERE study_uid = '1.2'"))
        second.commit()
        assert site.value("SELECT revision FROM worklist WHERE study_uid = '1.2'") == 2, "the worklist shows it at once"
        assert poller.poll() == []
        first.commit()
    assert poller.poll() == ["1.1", "1.2"]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_change_that_is_rolled_back_holds_nothing_up(site):
    site.receive("1.1", "1.1.1")
    site.receive("1.2", "1.2.1")
    poller = Poller(site)
    poller.poll()
    with site.engine.connect() as connection:
        connection.execute(text("UPDATE study SET revision = 2 WHERE study_uid = '1.1'"))
        connection.rollback()
    site.change("UPDATE study SET revision = 2 WHERE study_uid = '1.2'")
    assert poller.poll() == ["1.2"]


def write(site, seed: int, studies: int, rounds: int) -> None:
    """Change random rows in transactions of random length, some of which are rolled back."""
    chance = random.Random(seed)
    change = text("UPDATE study SET revision = revision + 1 WHERE study_uid = :uid")
    for _ in range(rounds):
        with site.engine.connect() as connection:
            # In the order of ids, as all code locks studies.
            for number in sorted(chance.sample(range(studies), chance.randint(1, 3))):
                connection.execute(change, {"uid": f"1.{number}"})
            if chance.random() >= 0.2:
                connection.commit()


def test_no_change_is_missed_while_writers_run_side_by_side(site):
    """Writers change rows in transactions of random length; what a poller saw last of each row is what the row says."""
    studies, writers, rounds = 6, 4, 25
    for number in range(studies):
        site.receive(f"1.{number}", f"1.{number}.1")
    poller = Poller(site, limit=3)
    done = threading.Event()
    seen: dict[str, int] = {}

    def look() -> None:
        for uid in poller.poll():
            seen[uid] = site.value(f"SELECT revision FROM study WHERE study_uid = '{uid}'")

    def read() -> None:
        while not done.is_set():
            look()

    reader = threading.Thread(target=read)
    threads = [threading.Thread(target=write, args=(site, seed, studies, rounds)) for seed in range(writers)]
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join(100)
    done.set()
    reader.join(100)
    look()
    now = {row["study_uid"]: row["revision"] for row in site.rows("SELECT study_uid, revision FROM study")}
    assert seen == now


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_listener_is_notified_of_each_transaction_once(site):
    site.receive("1.1", "1.1.1")
    site.receive("1.2", "1.2.1")
    url = sa.make_url(site.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN auscult_changes")
        site.change("UPDATE study SET ready_at_ms = 0")
        site.change("UPDATE study SET revision = revision + 1")
        notices = list(connection.notifies(timeout=20, stop_after=1))
        assert [(notice.channel, notice.payload) for notice in notices] == [("auscult_changes", "")]
        assert list(connection.notifies(timeout=0.1)) == []


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_numbers_go_on_rising_in_a_cluster_that_counts_from_the_start(site):
    """A restored copy has the numbers of transactions of another cluster."""
    site.receive("1.1", "1.1.1")
    with site.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE study SET change_id = 4000000000"))
    assert site.rows("SELECT * FROM changes") == []
    engine = make_engine(site.url)
    migrate(engine)
    engine.dispose()
    assert [row["change_id"] for row in site.rows("SELECT change_id FROM changes")] == [4_000_000_000]
    poller = Poller(site)
    assert poller.poll() == ["1.1"]
    site.receive("1.2", "1.2.1")
    assert poller.poll() == ["1.2"]
    base = site.value("SELECT value FROM change_clock")
    engine = make_engine(site.url)
    migrate(engine)
    engine.dispose()
    assert site.value("SELECT value FROM change_clock") == base, "where they rise already, nothing is changed"
