"""The audit trail on both databases: written with the act, read by the view, and changed by nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.database import BOTH, fresh_site
from worker.db.audit.codes import Act, EventOutcome
from worker.db.audit.purge import AuditCutoffs, count_due, purge_audit
from worker.db.audit.record import Actor, record

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def test_an_event_is_committed_with_its_act(site):
    before = datetime.now(UTC)
    with site.sessions.begin() as session:
        record(
            session,
            Act.CONFLICT_RESOLVED,
            Actor("ada\0", "host"),
            outcome=EventOutcome.MINOR_FAILURE,
            study_uid="1.2.3",
            patient_key="k" * 64,
            sop_uid="1.2.3.1",
            detail={"conflict": 7},
        )
    (event,) = site.rows("SELECT * FROM audit WHERE act = 'CONFLICT_RESOLVED'")
    assert (event["event_code"], event["event_type_code"], event["action"], event["outcome"]) == ("110110", "", "U", 4)
    assert (event["who"], event["from_where"], event["study_uid"], event["side"]) == ("ada", "host", "1.2.3", 0)
    assert (event["patient_key"], event["sop_uid"]) == ("k" * 64, "1.2.3.1")
    assert json.loads(event["detail"]) == {"conflict": 7}
    assert event["patient_id"] == ""
    at = datetime.fromisoformat(event["at"]).replace(tzinfo=UTC) if isinstance(event["at"], str) else event["at"]
    assert abs((at - before).total_seconds()) < 600


def test_an_act_that_is_rolled_back_leaves_no_event(site):
    n = site.value("SELECT count(*) FROM audit_event")
    with site.sessions() as session:
        record(session, Act.RERUN_ORDERED, Actor("ada"))
        session.rollback()
    assert site.value("SELECT count(*) FROM audit_event") == n


def test_the_view_looks_the_patient_up_while_the_study_is_there(site):
    site.receive("1.2.3", patient_id="P7")
    with site.sessions.begin() as session:
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"), study_uid="1.2.3")
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"), study_uid="1.2.3", side=1)
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"))
    found = site.rows("SELECT patient_id FROM audit WHERE act = 'CONFLICT_RESOLVED' ORDER BY event_id")
    assert [row["patient_id"] for row in found] == ["P7", "", ""]
    assert "P7" not in str(site.rows("SELECT * FROM audit_event"))


@pytest.mark.parametrize("statement", ["UPDATE audit_event SET who = 'eve'", "DELETE FROM audit_event"])
def test_nobody_changes_an_event(site, statement):
    with site.sessions.begin() as session:
        record(session, Act.RERUN_ORDERED, Actor("ada"))
    before = site.rows("SELECT * FROM audit_event ORDER BY id")
    with pytest.raises(DBAPIError, match="append-only"), site.engine.begin() as connection:
        connection.execute(text(statement))
    assert site.rows("SELECT * FROM audit_event ORDER BY id") == before


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_nobody_empties_the_trail(site):
    with pytest.raises(DBAPIError, match="append-only"), site.engine.begin() as connection:
        connection.execute(text("TRUNCATE audit_event"))


def test_a_purge_deletes_what_is_old_and_sent_and_the_guard_stands_again(site):
    with site.sessions.begin() as session:
        for _ in range(3):
            record(session, Act.RERUN_ORDERED, Actor("ada"))
    first = site.value("SELECT min(id) FROM audit_event")
    later = datetime.now(UTC) + timedelta(hours=1)
    site.change(
        "INSERT INTO audit_export (destination, last_event_id, at) "
        f"VALUES ('tls://here:1', {first + 1}, '2026-01-01 00:00:00')"
    )
    with site.sessions.begin() as session:
        assert purge_audit(session, AuditCutoffs.at(later - timedelta(hours=2)), Actor("ada")) == 0
        assert purge_audit(session, AuditCutoffs.at(later), Actor("ada")) == 2
    assert site.value("SELECT min(id) FROM audit_event") == first + 2
    event = site.rows("SELECT * FROM audit WHERE act = 'AUDIT_PURGED' ORDER BY event_id")[-1]
    assert json.loads(event["detail"]) == {
        "before": later.isoformat(),
        "of_persons_before": later.isoformat(),
        "events": 2,
        "below_floor": False,
        "why": "",
    }
    with pytest.raises(DBAPIError, match="append-only"), site.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event"))


def test_events_about_a_person_are_purged_by_a_floor_of_their_own(site):
    with site.sessions.begin() as session:
        record(session, Act.RERUN_ORDERED, Actor("ada"))
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"), study_uid="1.2")
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"), patient_key="k")
        record(session, Act.CONFLICT_RESOLVED, Actor("ada"), sop_uid="1.2.1")
    later = datetime.now(UTC) + timedelta(hours=1)
    old = later - timedelta(hours=2)
    before = {row["id"] for row in site.rows("SELECT id FROM audit_event WHERE act = 'CONFLICT_RESOLVED'")}
    cutoffs = AuditCutoffs(general=later, person=old)
    with site.sessions.begin() as session:
        due = count_due(session, cutoffs)
        assert purge_audit(session, cutoffs, Actor("ada"), why="tidy") == due > 0
    left = {row["id"]: row["act"] for row in site.rows("SELECT id, act FROM audit_event")}
    assert before < left.keys()
    assert set(left.values()) == {"CONFLICT_RESOLVED", "AUDIT_PURGED"}
    with site.sessions.begin() as session:
        assert purge_audit(session, AuditCutoffs(general=old, person=later), Actor("ada")) == 0
