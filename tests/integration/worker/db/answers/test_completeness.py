"""When a study settles: after every listener has registered what it acknowledged, and not by any clock that jumps."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.database import BOTH, fresh_site, scored
from worker.db.answers import inboxes
from worker.db.answers.inboxes import Published
from worker.db.answers.listeners import listeners
from worker.db.answers.recompute import recompute_all
from worker.db.filing import holdings
from worker.db.tasks import queue
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from tests.support.database import Site
    from worker.db.answers.decide import Answer
    from worker.db.answers.inboxes import Watermarks

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000
TWO_HOURS_MS = 2 * HOUR_MS


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


class Listener:
    """What a listener says of its spool."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.uid = uuid.uuid4().hex

    def publish(self, behind_ms: int = 0, waiting: int = 0) -> None:
        with self._site.sessions.begin() as session:
            until = inboxes.clock(session) - behind_ms
            inboxes.publish(session, Published(self.uid, "host", 1, until, waiting))

    def falls_silent(self) -> None:
        self._site.change(f"UPDATE inbox SET heartbeat_at = '2026-01-01 00:00:00' WHERE uid = '{self.uid}'")

    @property
    def number(self) -> int:
        return int(self._site.value(f"SELECT id FROM inbox WHERE uid = '{self.uid}'"))


def shown(site: Site, study: str = "1.2.3") -> tuple[object, object, object]:
    row = site.entry(study)
    return row["ai_status"], row["label"], row["reason"]


def test_a_listener_with_a_backlog_holds_every_study_of_its_time(site: Site) -> None:
    listener = Listener(site)
    listener.publish(behind_ms=5000, waiting=3)
    site.finish(site.receive().task_id, scored(0.1))
    site.settle()
    assert shown(site) == ("PROVISIONAL", None, None)
    listener.publish()
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)


def test_a_film_that_came_while_the_others_were_judged_is_awaited(site: Site) -> None:
    # It was acknowledged after the quiet time, and a full disk keeps the registrar from it.
    listener = Listener(site)
    entry = site.receive()
    listener.publish(waiting=1)
    site.settle()
    assert shown(site)[0] == "QUEUED"
    site.finish(entry.task_id, scored(0.1))
    assert shown(site) == ("PROVISIONAL", None, None)
    site.settle()
    assert shown(site) == ("PROVISIONAL", None, None)
    late = site.receive(sop="1.2.3.2")
    listener.publish()
    site.settle()
    assert shown(site)[1] is None
    site.finish(late.task_id, scored(0.9))
    assert shown(site)[1] == "PNEUMONIA"


def test_a_normal_waits_for_what_came_until_its_work_ended_and_no_longer(site: Site) -> None:
    listener = Listener(site)
    entry = site.receive()
    listener.publish(waiting=1)
    site.settle()
    site.finish(entry.task_id, scored(0.1))
    ended = site.study().ready_at_ms
    with site.sessions.begin() as session:
        # It has a backlog, and is through with what came until then.
        inboxes.publish(session, Published(listener.uid, "host", 1, ended, 99))
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)
    assert site.study().force_at_ms >= site.study().ready_at_ms


@pytest.mark.parametrize(("probability", "label"), [(0.1, None), (0.9, "PNEUMONIA")])
def test_a_listener_that_fell_silent_while_films_were_judged_withholds_normal(
    site: Site, probability: float, label: str | None
) -> None:
    silent = Listener(site)
    entry = site.receive()
    silent.publish()
    silent.falls_silent()
    site.settle()
    assert shown(site)[0] == "QUEUED"
    site.finish(entry.task_id, scored(probability))
    site.settle()
    assert shown(site)[:2] == ("FINAL" if label else "WITHHELD", label)
    silent.publish()
    site.settle()
    assert shown(site) == ("FINAL", label or "NORMAL", None)


def test_a_pneumonia_is_shown_while_a_listener_has_a_backlog(site: Site) -> None:
    Listener(site).publish(behind_ms=5000, waiting=3)
    site.finish(site.receive().task_id, scored(0.9))
    site.settle()
    assert shown(site) == ("PROVISIONAL", "PNEUMONIA", None)


def test_a_silent_listener_withholds_normal_alone_until_it_is_back(site: Site) -> None:
    silent = Listener(site)
    silent.publish(behind_ms=5000, waiting=1)
    silent.falls_silent()
    site.finish(site.receive("1.1", "1.1.1").task_id, scored(0.1))
    site.finish(site.receive("1.2", "1.2.1").task_id, scored(0.9))
    site.settle()
    assert shown(site, "1.1") == ("WITHHELD", None, "LISTENER_SILENT")
    assert shown(site, "1.2") == ("FINAL", "PNEUMONIA", None)
    assert site.entry("1.2")["flags"] == ["LISTENER_SILENT"]
    silent.publish()
    site.settle()
    assert shown(site, "1.1") == ("FINAL", "NORMAL", None)
    assert [site.entry(study)["flags"] for study in ("1.1", "1.2")] == [[], []]


def test_a_silent_listener_that_had_registered_everything_holds_nothing(site: Site) -> None:
    silent = Listener(site)
    site.finish(site.receive().task_id, scored(0.1))
    silent.publish()
    silent.falls_silent()
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)


def test_a_retired_listener_holds_nothing_and_says_who_retired_it(site: Site) -> None:
    silent = Listener(site)
    silent.publish(behind_ms=5000, waiting=1)
    with pytest.raises(UsageError, match="is running: stop it first"), site.sessions.begin() as session:
        inboxes.retire(session, silent.number, "ada", "sold")
    silent.falls_silent()
    site.finish(site.receive().task_id, scored(0.1))
    with site.sessions.begin() as session:
        inboxes.retire(session, silent.number, "ada", "sold")
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)
    with site.sessions.begin() as session:
        (row,) = listeners(session)
    assert (row.state, row.retired_by, row.retired_why) == ("RETIRED", "ada", "sold")
    with pytest.raises(UsageError, match="no listener 99"), site.sessions.begin() as session:
        inboxes.retire(session, 99, "ada", "")


def test_a_listener_that_ended_in_order_holds_nothing_until_it_is_back(site: Site) -> None:
    listener = Listener(site)
    listener.publish(behind_ms=5000)
    with site.sessions.begin() as session:
        inboxes.close(session, listener.uid)
    site.finish(site.receive("1.1", "1.1.1").task_id, scored(0.1))
    site.settle()
    assert shown(site, "1.1") == ("FINAL", "NORMAL", None)
    listener.publish(behind_ms=5000, waiting=1)
    site.finish(site.receive("1.2", "1.2.1").task_id, scored(0.1))
    site.settle()
    assert shown(site, "1.2") == ("PROVISIONAL", None, None)


def test_of_several_listeners_the_slowest_decides(site: Site) -> None:
    quick, slow = Listener(site), Listener(site)
    slow.publish(behind_ms=5000, waiting=9)
    site.finish(site.receive().task_id, scored(0.1))
    quick.publish()
    site.settle()
    assert shown(site) == ("PROVISIONAL", None, None)
    slow.publish()
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)


def test_a_published_moment_ahead_of_the_clock_says_nothing(site: Site) -> None:
    listener = Listener(site)
    listener.publish(behind_ms=-TWO_HOURS_MS)
    site.finish(site.receive().task_id, scored(0.1))
    site.settle()
    assert shown(site)[1] is None
    listener.publish()
    site.settle()
    assert shown(site) == ("FINAL", "NORMAL", None)


def test_the_quiet_time_runs_from_the_arrival_and_not_from_the_registration(site: Site) -> None:
    with site.sessions.begin() as session:
        came = inboxes.clock(session) - 60_000
    entry = site.receive(quiet_ms=30_000, arrived_ms=came)
    assert site.study().ready_at_ms == came + 30_000
    site.finish(entry.task_id, scored(0.1))
    assert shown(site) == ("FINAL", "NORMAL", None)


def test_a_clock_set_back_delays_neither_studies_nor_work(site: Site) -> None:
    claimed = site.receive("1.1", "1.1.1", quiet_ms=5000)
    site.claimed(claimed.task_id)
    waiting = site.receive("1.2", "1.2.1", quiet_ms=5000)
    with site.sessions.begin() as session:
        assert queue.rewind(session, 60_000) == 0
    site.change(
        f"UPDATE study SET ready_at_ms = ready_at_ms + {TWO_HOURS_MS}, force_at_ms = force_at_ms + {TWO_HOURS_MS}"
    )
    site.change(
        f"UPDATE task SET lease_until_ms = lease_until_ms + {TWO_HOURS_MS}, "
        f"not_before_ms = {TWO_HOURS_MS} + (SELECT max(ready_at_ms) FROM study)"
    )
    with site.sessions.begin() as session:
        assert queue.rewind(session, 60_000) == 5
        clock = inboxes.clock(session)
    assert site.value("SELECT max(ready_at_ms) FROM study") <= clock + 5000
    assert site.value("SELECT max(force_at_ms) FROM study") <= clock + 900_000
    assert site.value("SELECT max(lease_until_ms) FROM task") <= clock + 60_000
    assert site.due() == [waiting.task_id]


@pytest.mark.parametrize(("count", "said"), [(None, "ASSUMED"), (1, "COUNTED"), (3, "SHORT")])
def test_the_worklist_says_whether_the_images_were_counted(site: Site, count: int | None, said: str) -> None:
    site.receive()
    site.change(f"UPDATE study SET n_expected = {count or 'NULL'}")
    row = site.entry()
    assert (row["completeness"], row["n_expected"]) == (said, count)


def test_a_new_object_after_the_count_makes_it_an_assumption(site: Site) -> None:
    site.finish(site.receive().task_id, scored(0.1))
    site.change("UPDATE study SET n_expected = 1")
    site.receive(sop="1.2.3.2")
    assert site.entry()["completeness"] == "ASSUMED"


def test_an_index_finds_the_answers_that_a_silent_listener_withheld(site: Site) -> None:
    with site.engine.connect() as connection:
        if site.engine.dialect.name == "postgresql":
            connection.execute(text("SET enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN" if site.engine.dialect.name == "sqlite" else "EXPLAIN"
        asked = "SELECT id FROM study WHERE study.flags LIKE '%LISTENER_SILENT%' ORDER BY ready_at_ms LIMIT 5"
        plan = " ".join(str(row) for row in connection.execute(text(f"{explain} {asked}")).all())
    assert "ix_study_listener_silent" in plan


def test_a_study_that_cannot_be_decided_keeps_no_other_from_its_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    Listener(site).publish(behind_ms=5000, waiting=1)
    entries = [site.receive(study, f"{study}.1") for study in ("1.1", "1.2")]
    for entry in entries:
        site.finish(entry.task_id, scored(0.1))
    site.change("UPDATE inbox SET closed_at = heartbeat_at")

    def undecidable(
        session: Session, study_ids: Collection[int], *others: Watermarks, **options: bool
    ) -> dict[int, Answer]:
        if entries[0].study_id in study_ids:
            raise RuntimeError("made up")
        return recompute_all(session, study_ids, *others, is_settling=options["is_settling"])

    monkeypatch.setattr("worker.db.tasks.queue.recompute_all", undecidable)
    site.settle()
    assert [shown(site, study)[0] for study in ("1.1", "1.2")] == ["PROVISIONAL", "FINAL"]


def test_a_version_that_comes_after_the_clock_was_set_back_is_the_newer_one(site: Site) -> None:
    first = site.receive(content="one", patient_id="P1", accession_number="A1", source="PACS", pixels="a")
    site.finish(first.task_id, scored(0.1))
    site.change(
        f"UPDATE receipt SET first_at_ms = first_at_ms + {TWO_HOURS_MS}, last_at_ms = last_at_ms + {TWO_HOURS_MS}"
    )
    site.change(f"UPDATE study SET columns_at_ms = columns_at_ms + {TWO_HOURS_MS}")
    second = site.receive(content="two", patient_id="P1", accession_number="A2", source="PACS", pixels="b")
    site.finish(second.task_id, scored(0.9))
    row = site.entry()
    assert (row["label"], row["accession_number"]) == ("PNEUMONIA", "A2")


def test_finished_studies_of_a_source_that_can_be_asked_are_asked_about_once(site: Site) -> None:
    site.finish(site.receive("1.1", "1.1.1", calling_aet="PACS").task_id, scored(0.1))
    site.finish(site.receive("1.2", "1.2.1", calling_aet="OTHER").task_id, scored(0.1))
    site.receive("1.3", "1.3.1", calling_aet="PACS", quiet_ms=60_000)
    with site.sessions.begin() as session:
        (found,) = holdings.uncounted(session, ["PACS"], 10)
        holdings.note_expected(session, found.study_uid, 2)
    assert (found.study_uid, found.source) == ("1.1", "PACS")
    with site.sessions.begin() as session:
        assert holdings.uncounted(session, ["PACS"], 10) == []
    assert site.entry("1.1")["completeness"] == "SHORT"
