"""The export reads events in order and misses none, however transactions overlap."""

from __future__ import annotations

import threading

import pytest

from tests.support.database import BOTH, fresh_site
from worker.db.audit.codes import Act
from worker.db.audit.export import Reader, claim, destinations, forget, note_sent, sent_until
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import reading

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def reader(site):
    return Reader(reading(site.sessions))


def add(session, who: str) -> None:
    record(session, Act.RERUN_ORDERED, Actor(who))


def read(reader, after: int = 0, limit: int = 100) -> list[str]:
    return [row["who"] for row in reader.after(after, limit)]


def test_events_are_read_in_order_and_in_parts(site, reader):
    for who in "abcd":
        with site.sessions.begin() as session:
            add(session, who)
    first = reader.after(0, 3)
    assert [row["who"] for row in first] == ["test", "a", "b"]
    assert read(reader, first[-1]["event_id"]) == ["c", "d"]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_event_that_is_committed_after_a_later_one_is_not_missed(site, reader, is_kept):
    assert read(reader) == ["test"]
    with site.sessions() as slow:
        add(slow, "slow")
        with site.sessions.begin() as session:
            add(session, "quick")
        assert read(reader) == ["test"]
        # Transactions that begin later keep nothing back.
        with site.sessions() as later:
            add(later, "later")
            if is_kept:
                slow.commit()
            else:
                slow.rollback()
            expected = ["test", "slow", "quick"] if is_kept else ["test", "quick"]
            assert read(reader) == expected
            later.commit()
    read(reader)
    assert read(reader) == [*expected, "later"]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_many_writers_at_once_are_all_read_and_in_order(site, reader):
    """Each writer rolls every third transaction back, so that numbers are missing for good."""

    def write(name: int) -> None:
        for number in range(30):
            with site.sessions() as session:
                add(session, f"{name}:{number}")
                if number % 3 == 2:
                    session.rollback()
                else:
                    session.commit()

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    seen: list[dict] = []
    while any(writer.is_alive() for writer in writers):
        seen += reader.after(seen[-1]["event_id"] if seen else 0, 20)
    for writer in writers:
        writer.join()
    # The first call may still wait for transactions that have ended since, the second sees all.
    for _ in range(2):
        seen += reader.after(seen[-1]["event_id"] if seen else 0, 1000)
    assert [row["event_id"] for row in seen] == [
        row["id"] for row in site.rows("SELECT id FROM audit_event ORDER BY id")
    ]
    assert len(seen) == 1 + 4 * 20


def test_a_destination_remembers_what_it_has_and_can_be_forgotten(site):
    with site.sessions.begin() as session:
        assert sent_until(session, "tls://arr:1") == 0
        note_sent(session, "tls://arr:1", 1)
        # A sender that was slower does not set it back.
        note_sent(session, "tls://arr:1", 0)
        assert sent_until(session, "tls://arr:1") == 1
        assert [(row["destination"], row["last_event_id"], row["waiting"]) for row in destinations(session)] == [
            ("tls://arr:1", 1, 0)
        ]
        assert forget(session, "tls://arr:1")
        assert not forget(session, "tls://arr:1")


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_two_senders_do_not_send_to_one_destination_at_once(site):
    with site.sessions.begin() as session:
        sent_until(session, "tls://arr:1")
    with site.sessions.begin() as one, site.sessions.begin() as other:
        assert claim(one, "tls://arr:1") == 0
        assert claim(other, "tls://arr:1") is None
