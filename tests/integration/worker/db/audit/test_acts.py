"""What is done on both databases leaves its audit event, and what changed nothing leaves none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, scored
from worker.cli.common.audited import audit_batch, audit_shown
from worker.database import Database
from worker.db.answers import inboxes
from worker.db.audit import read
from worker.db.audit.codes import Act
from worker.db.audit.objects import name_studies
from worker.db.audit.purge import AuditCutoffs, purge_audit
from worker.db.audit.record import Actor, record
from worker.db.batches import reruns, suspensions
from worker.db.batches.selection import Selector
from worker.db.filing import disputes
from worker.db.filing.registry import add_refusals
from worker.db.identity.rules import Patient
from worker.db.models import bundles
from worker.db.models.bundles import Order
from worker.db.schema.audit import AuditObject
from worker.db.schema.engine import read_session_factory
from worker.db.schema.states import ConflictEnd, SuspensionEnd
from worker.db.tasks import shadow
from worker.environment import login

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def events(site, *acts: str) -> list[dict]:
    listed = ", ".join(f"'{act}'" for act in acts)
    rows = site.rows(f"SELECT * FROM audit_event WHERE act IN ({listed}) ORDER BY id")
    return [{**row, "detail": json.loads(row["detail"])} for row in rows]


def test_a_study_is_received_once_for_each_revision_and_source(site):
    for sop in ("1.2.3.1", "1.2.3.2"):
        site.receive(sop=sop, source="PACS", peer="dicom://10.0.0.1", patient_id="P7", content=sop)
    first, *others = events(site, "STUDY_RECEIVED")
    assert others == []
    assert (first["who"], first["origin"], first["study_uid"], first["sop_uid"]) == (
        "PACS",
        "10.0.0.1",
        "1.2.3",
        "1.2.3.1",
    )
    assert first["patient_key"] == site.value("SELECT DISTINCT patient_key FROM image")
    assert first["detail"] == {"revision": 1, "sop_class": "1.2.840.10008.5.1.4.1.1.1.1"}
    site.receive(sop="1.2.3.3", source="MODALITY")
    site.receive(sop="1.2.3.1", source="OTHER", content="1.2.3.1")
    assert [(event["who"], event["detail"]["revision"]) for event in events(site, "STUDY_RECEIVED")] == [
        ("PACS", 1),
        ("MODALITY", 1),
    ]
    for row in site.rows("SELECT id FROM task"):
        site.finish(row["id"], scored(0.1))
    site.settle()
    site.receive(sop="1.2.3.4", source="PACS")
    assert events(site, "STUDY_RECEIVED")[-1]["detail"]["revision"] == 2
    assert "P7" not in str(site.rows("SELECT * FROM audit_event"))


def test_an_ingested_study_names_the_user(site):
    site.receive(source="")
    (event,) = events(site, "STUDY_INGESTED")
    assert event["who"] == login()
    assert event["origin"].startswith(f"{login()}@")
    assert events(site, "STUDY_RECEIVED") == []


def test_a_refusal_is_audited_with_its_row_and_once(site):
    at = "2026-01-01T10:00:00+00:00"
    door = RefusalRecord("a", at, RefusalKind.ASSOCIATION, Reason.CALLING_AE_NOT_ALLOWED, "EVIL", "AUSCULT", "10.0.0.9")
    file = RefusalRecord(
        "b", at, RefusalKind.OBJECT, Reason.INVALID_SOP_UID, "PACS", "AUSCULT", "10.0.0.1", "1.2", "1.2.9"
    )
    for records in ([door], [door, file]):
        with site.sessions.begin() as session:
            add_refusals(session, records)
    one, other = events(site, "ASSOCIATION_REFUSED", "OBJECT_REFUSED")
    assert (one["who"], one["origin"], one["outcome"]) == ("EVIL", "10.0.0.9", 4)
    assert one["detail"] == {"reason": "CALLING_AE_NOT_ALLOWED", "called_aet": "AUSCULT", "times": 1, "at": at}
    assert (other["act"], other["study_uid"], other["sop_uid"]) == ("OBJECT_REFUSED", "1.2", "1.2.9")


def test_every_change_of_a_model_is_audited_with_its_event(site):
    order = Order("ada", "tried")
    other = site.add_model("2")
    with site.sessions.begin() as session:
        shadow.start_shadow(session, other, order)
        shadow.end_shadow(session, other, order)
        bundles.activate(session, other, order)
        assert not bundles.activate(session, other, order)
        bundles.retire(session, site.model_id, order)
        suspensions.suspend(session, other, order)
        suspensions.resume(session, other, SuspensionEnd.RELEASED, order)
    found = [
        (event["act"], event["detail"]["model"], event["detail"]["event"], event["who"])
        for event in events(site, "MODEL_ACTIVATED", "MODEL_CHANGED", "MODEL_SUSPENDED", "MODEL_SUSPENSION_ENDED")
    ]
    assert found == [
        ("MODEL_ACTIVATED", "test-1", "ACTIVATED", "test"),
        ("MODEL_CHANGED", "test-2", "SHADOWED", "ada"),
        ("MODEL_CHANGED", "test-2", "UNSHADOWED", "ada"),
        ("MODEL_CHANGED", "test-1", "DEACTIVATED", "ada"),
        ("MODEL_ACTIVATED", "test-2", "ACTIVATED", "ada"),
        ("MODEL_CHANGED", "test-1", "RETIRED", "ada"),
        ("MODEL_SUSPENDED", "test-2", "SUSPENDED", "ada"),
        ("MODEL_SUSPENSION_ENDED", "test-2", "RELEASED", "ada"),
    ]


def test_a_rerun_is_audited_when_it_is_ordered_and_not_when_it_is_resumed(site):
    site.receive()
    for _ in range(2):
        with site.sessions.begin() as session:
            batch = reruns.open_batch(
                session, selector=Selector(all=True), model_id=site.model_id, who="ada", why="w", keep_current=True
            )
    (event,) = events(site, "RERUN_ORDERED")
    assert event["detail"] == {"batch": batch.batch_id, "model_id": site.model_id, "keep_current": True}


def test_a_decided_conflict_and_a_retired_listener_are_audited(site):
    site.receive("1.2", "1.2.1", patient_id="P", source="PACS")
    site.receive("1.3", "1.2.1", patient_id="Q", source="PACS")
    number = site.value("SELECT id FROM conflict")
    with site.sessions.begin() as session:
        disputes.resolve(session, number, ConflictEnd.BOTH, who="ada", why="both")
        inboxes.publish(session, inboxes.Published("u" * 32, "away", 1, 1, 3))
    site.change("UPDATE inbox SET heartbeat_at = '2026-01-01 00:00:00'")
    with site.sessions.begin() as session:
        inboxes.retire(session, site.value("SELECT id FROM inbox"), "ada", "gone")
    conflict, listener = events(site, "CONFLICT_RESOLVED", "LISTENER_RETIRED")
    assert (conflict["study_uid"], conflict["sop_uid"], conflict["who"]) == ("1.2", "1.2.1", "ada")
    assert conflict["detail"] == {"conflict": number, "resolution": "BOTH", "claim": "1.3", "claim_side": 0}
    assert listener["detail"]["host"] == "away"


def objects_of(site, act: str) -> list[tuple[str, int, str]]:
    rows = site.rows(
        f"SELECT study_uid, side, patient_id FROM audit_objects WHERE act = '{act}' ORDER BY study_uid, side, patient_id"
    )
    return [(row["study_uid"], row["side"], row["patient_id"]) for row in rows]


def test_each_study_and_patient_of_an_act_on_several_is_found_from_the_trail(site):
    site.receive("1.2", "1.2.1", patient_id="P")
    site.receive("1.3", "1.3.1", patient_id="Q")
    site.receive("1.4", "1.4.1")
    rows = [{"study_uid": f"1.{number}", "side": 0} for number in (2, 3, 4)]
    database = Database(site.engine, site.sessions, read_session_factory(site.engine))
    audit_shown(database, "worklist", [*rows, rows[0]])
    audit_shown(database, "worklist", rows[:1])
    audit_shown(database, "worklist", rows[:2], as_csv=True)
    named = [("1.2", 0, "P"), ("1.3", 0, "Q"), ("1.4", 0, "")]
    assert objects_of(site, "WORKLIST_SHOWN") == named
    assert objects_of(site, "PATIENT_SHOWN") == named[:1]
    assert objects_of(site, "STUDIES_EXPORTED") == named[:2]
    with site.sessions.begin() as session:
        reruns.open_batch(
            session,
            selector=Selector(study_uids=("1.2", "1.3")),
            model_id=site.model_id,
            who="ada",
            why="w",
            keep_current=True,
        )
    assert objects_of(site, "RERUN_ORDERED") == named[:2]
    audit_batch(database, site.value("SELECT max(id) FROM batch"), ["1.3", "1.4"])
    assert objects_of(site, "RESULTS_EXPORTED") == named[1:2]
    # The trail holds no Patient ID: after a study is erased its patient is found by the digest alone.
    keys = {row["patient_key"] for row in site.rows("SELECT patient_key FROM audit_objects")}
    assert keys >= {row["patient_key"] for row in site.rows("SELECT patient_key FROM image")}
    with database.reads() as session:
        found = [read.events(session, read.Wanted(50, study_uid=uid)) for uid in ("1.2", "1.4")]
        of_patient = read.events(session, read.Wanted(50, patient_key=Patient.of("Q", "").key))
    shown = [
        "RESULTS_EXPORTED",
        "RERUN_ORDERED",
        "STUDIES_EXPORTED",
        "PATIENT_SHOWN",
        "WORKLIST_SHOWN",
        "STUDY_INGESTED",
    ]
    assert [event["act"] for event in found[0]] == shown[1:]
    assert [event["act"] for event in found[1]] == ["WORKLIST_SHOWN", "STUDY_INGESTED"]
    assert [event["act"] for event in of_patient] == [act for act in shown if act != "PATIENT_SHOWN"]


def test_what_an_event_names_is_changed_by_nobody_and_goes_with_it(site):
    site.receive("1.2", "1.2.1", patient_id="P")
    with site.sessions.begin() as session:
        name_studies(session, record(session, Act.WORKLIST_SHOWN, Actor("ada")), [("1.2", 0)])
    for statement in ("UPDATE audit_object SET side = 1", "DELETE FROM audit_object"):
        with pytest.raises(DBAPIError, match="append-only"), site.engine.begin() as connection:
            connection.execute(text(statement))
    with site.sessions.begin() as session:
        assert purge_audit(session, AuditCutoffs.at(datetime.now(UTC) - timedelta(hours=1)), Actor("ada")) == 0
        assert session.scalar(select(func.count()).select_from(AuditObject)) == 1
        assert purge_audit(session, AuditCutoffs.at(datetime.now(UTC) + timedelta(hours=1)), Actor("ada")) > 2
        assert session.scalar(select(func.count()).select_from(AuditObject)) == 0
    added = (
        "INSERT INTO audit_object (event_id, study_uid, side, patient_key) SELECT max(id), '1', 0, '' FROM audit_event"
    )
    site.change(added)
    with pytest.raises(DBAPIError, match="append-only"), site.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_object"))
