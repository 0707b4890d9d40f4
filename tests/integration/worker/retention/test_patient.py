"""One person's request: everything held is written into a document, and goes but for what has to stay."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date

import pytest

from dicom_io.inbox.quarantine import Note, Quarantine
from dicom_io.inbox.spool import Spool
from tests.support.database import BOTH, any_film, fresh_site, scored
from tests.support.killed_purge import STEPS, killed
from tests.support.objects import Made
from tests.support.retention import REPORT, Holding
from worker.db.audit.record import Actor
from worker.db.delivery.claims import claim
from worker.db.filing.merges import PatientName, merge_patients
from worker.db.retention import files
from worker.db.retention.commitments import commit_objects
from worker.db.retention.people import find
from worker.db.retention.rules import Kept
from worker.db.retention.tables import delete_studies
from worker.db.schema.states import ConflictEnd
from worker.db.schema.study import Base
from worker.db.schema.views import VIEW_NAMES
from worker.delivering.planner import plan
from worker.errors import UsageError
from worker.fsck.run import fsck
from worker.retention import erase as erasing
from worker.retention import export as exporting
from worker.retention.policy import record_rule

pytestmark = pytest.mark.integration

ADA = Actor("ada", "here")
PATIENT, NAME, BORN = "ZQ-0815-77", "Zqmuster^Anna^Maria", date(1931, 7, 9)
#: What may stand nowhere once the person is erased, in every form in which it could.
TRACES = (b"ZQ-0815-77", b"ZQ-0001-11", b"ZQ-0002-22", b"Zqmuster", b"19310709", b"1931-07-09")
OTHER = "ZQ-4711"
NONE = {"keep_years": 0, "keep_until_birthday": 0}


@pytest.fixture(params=BOTH)
def holding(request, tmp_path):
    for site in fresh_site(request, tmp_path):
        held = Holding.of(site, tmp_path / "home", **NONE)
        yield held
        held.close()


def film(holding, study: str, sop: str = "", *, days: int = 1, **others):
    """A finished study of the person, whose original is a real object that names them."""
    named = {"patient_id": PATIENT, "patient_name": NAME, "patient_birth_date": BORN, "age_months": None} | others
    entry = holding.judged(study, sop or f"{study}.1", days=days, **named)
    path = holding.store.path(entry.store_key)
    elements = {0x00100010: (b"PN", NAME.encode()), 0x00100020: (b"LO", PATIENT.encode())}
    Made(changes=elements).write(path)
    return entry


def spools(holding):
    return {"listener": holding.settings.spool}


def request_of(holding, issuer: str | None = None, patient_id: str = PATIENT, **rule) -> erasing.Request:
    return erasing.Request(patient_id, issuer, record_rule(holding.settings, **rule), spools(holding))


def erase(holding, **wanted):
    return erasing.erase(
        holding.settings, holding.database, request_of(holding, **wanted), actor=ADA, why="asked for on paper"
    )


def export(holding, out, *, originals: bool = False, patient_id: str = PATIENT):
    request = exporting.ExportRequest(patient_id, None, out, originals, record_rule(holding.settings), spools(holding))
    return exporting.export_patient(holding.settings, holding.database, request, ADA)


def keeping(holding, **settings) -> None:
    holding.settings = holding.settings.model_copy(update=settings)


def put_aside(holding, patient_id: str = PATIENT) -> str:
    spool = Spool(holding.settings.spool)
    path = holding.settings.home / "object.dcm"
    Made(changes={0x00100010: (b"PN", NAME.encode()), 0x00100020: (b"LO", patient_id.encode())}).write(path)
    key = spool.put_file(path)
    path.unlink()
    spool.quarantine(key, Note("UNREGISTRABLE", "ValueError"))
    return key


def traces(holding) -> list[str]:
    """Where something of the person stands: tables, views and every file of the data folder; SQLite's is read as bytes."""
    found = []
    for name in (*Base.metadata.tables, *VIEW_NAMES):
        rows = holding.site.rows(f"SELECT * FROM {name}")
        found += [name for row in rows if any(trace.decode() in str(list(row.values())) for trace in TRACES)]
    files = [path for path in holding.settings.home.rglob("*") if path.is_file()]
    if holding.site.engine.dialect.name == "sqlite":
        database = holding.site.engine.url.database
        files += [path for path in holding.settings.home.parent.iterdir() if str(path).startswith(database)]
    return found + [path.name for path in files if any(trace in path.read_bytes() for trace in TRACES)]


def all_is_well(holding) -> None:
    holding.every_row_tells_the_truth()
    assert fsck(holding.settings, holding.database).rows() == []


def test_nothing_of_a_person_is_left_in_any_table_view_or_file(holding):
    film(holding, "1.1", grey=1, patient_name="Zqmuster^Anne")
    holding.site.receive("1.1", "1.1.1", content="corrected", patient_id=PATIENT, patient_name=NAME)
    holding.judge(holding.site.value("SELECT max(id) FROM task"), scored(0.2, film=any_film(grey=1)))
    film(holding, "1.2", grey=2)
    holding.judged("1.9", "1.9.1", grey=9, days=1, patient_id=OTHER)
    holding.site.settle()
    put_aside(holding)
    holding.site.change("INSERT INTO audit_export (destination, last_event_id, at) VALUES ('x', 0, '2026-01-01')")
    holding.site.change("UPDATE conflict SET why = 'x'")
    assert {"study", "correction", "worklist", "corrections"} <= set(traces(holding))
    key = holding.site.value("SELECT patient_key FROM image WHERE sop_uid = '1.2.1'")
    looked = erasing.outlook(holding.database, request_of(holding))
    assert (len(looked.studies), len(looked.set_aside), looked.stays) == (2, 1, [])
    report = erase(holding)
    assert (report.studies, report.originals, report.quarantined, report.stays) == (2, 2, 1, [])
    assert report.is_complete
    assert traces(holding) == []
    (row,) = holding.site.rows("SELECT patient_id, patient_key FROM study JOIN image ON image.study_id = study.id")
    assert row["patient_id"] == OTHER
    (event,) = holding.site.rows("SELECT * FROM audit WHERE act = 'PATIENT_ERASED'")
    assert (event["who"], event["patient_key"], event["action"], event["outcome"]) == ("ada", key, "D", 0)
    detail = json.loads(event["detail"])
    assert (detail["studies"], detail["stays"], detail["below_floor"]) == (2, 0, False)
    assert len(holding.site.rows("SELECT * FROM audit WHERE act = 'RECORDS_PURGED'")) == 2
    (run,) = holding.site.rows("SELECT kind, n_records, ended_how FROM purges")
    assert (run["kind"], run["n_records"], run["ended_how"]) == ("PERSON", 2, "DONE")
    all_is_well(holding)
    again = film(holding, "1.1", grey=1)
    assert (again.is_new_image, again.revision) == (True, 1)
    assert holding.site.entry("1.1")["ai_status"] == "FINAL"
    all_is_well(holding)


def test_a_person_whose_answer_is_being_sent_is_erased_once_it_has_left_and_its_recipient_is_named(holding, tmp_path):
    film(holding, "1.1", grey=1)
    claimed = holding.sending(holding.tell())
    report = erase(holding)
    assert (report.studies, report.originals, report.recipients) == (0, 0, ["PACS"])
    assert [(row["reason"], row["files_go"]) for each in report.stays for row in each.as_rows()] == [
        ("UNDELIVERED", False)
    ]
    assert holding.sent(claimed)
    export(holding, tmp_path / "person.json")
    document = json.loads((tmp_path / "person.json").read_text(encoding="utf-8"))
    (recipient,) = document["recipients"]
    assert (recipient["name"], recipient["kind"], recipient["answers"]) == ("PACS", "C_STORE", 1)
    assert [row["report_uid"] for row in document["tables"]["delivery"]] == [REPORT.sop_uid]
    report = erase(holding)
    assert (report.studies, report.recipients) == (1, ["PACS"])
    assert holding.site.rows("SELECT id FROM delivery") == []
    (event,) = holding.site.rows("SELECT detail FROM audit WHERE act = 'PATIENT_ERASED' ORDER BY event_id DESC LIMIT 1")
    assert json.loads(event["detail"])["recipients"] == ["PACS"]


def test_nothing_is_planned_or_claimed_for_a_person_who_is_being_erased(holding):
    film(holding, "1.1", grey=1)
    film(holding, "1.2", grey=2)
    destination_id = holding.tell()
    holding.site.change("UPDATE delivery SET give_up_ms = 1")
    holding.site.change("UPDATE study SET revision = revision + 1")
    with ThreadPoolExecutor(1) as pool:
        with holding.site.sessions.begin() as session:
            files.lock_studies(session, find(session, PATIENT).study_ids)
            if holding.site.engine.dialect.name == "postgresql":
                assert claim(holding.site.sessions, destination_id, "me", 60_000) is None
            planned = pool.submit(plan, holding.site.sessions, destination_id, 60_000)
            delete_studies(session, find(session, PATIENT).study_ids)
        assert planned.result(60) is False
    assert holding.site.rows("SELECT id FROM delivery") == []


def test_rows_stay_until_their_floor_which_is_named_while_files_go(holding):
    keeping(holding, keep_years=10, keep_until_birthday=28)
    film(holding, "1.1", grey=1, study_date=date(2026, 1, 2))
    report = erase(holding)
    assert (report.studies, report.originals, report.films) == (0, 1, 1)
    (stays,) = report.as_dict()["stays"]
    assert (stays["what"], stays["name"], stays["reason"], stays["until"]) == ("study", "1.1", "FLOOR", "2036-01-02")
    assert stays["files_go"]
    assert holding.site.entry("1.1")["patient_id"] == PATIENT
    (event,) = holding.site.rows("SELECT detail FROM audit WHERE act = 'PATIENT_ERASED'")
    assert json.loads(event["detail"])["reasons"] == ["FLOOR"]
    assert "2036" not in event["detail"]
    all_is_well(holding)
    keeping(holding, keep_years=None)
    (unset,) = erase(holding).as_dict()["stays"]
    assert (unset["reason"], unset["until"]) == ("NO_FLOOR", None)
    assert erase(holding, below_floor=True).studies == 1
    events = holding.site.rows("SELECT detail FROM audit WHERE act = 'PATIENT_ERASED' ORDER BY event_id")
    assert [json.loads(row["detail"])["below_floor"] for row in events] == [False, False, True]
    assert traces(holding) == []


def test_what_has_to_stay_stays_with_its_files_and_every_reason_is_named(holding):
    open_study = holding.receive("1.1", "1.1.1", patient_id=PATIENT)
    committed = film(holding, "1.2", grey=2)
    with holding.site.sessions.begin() as session:
        commit_objects(session, [committed.image_id], "CT1", "1.9", 30)
    broken = put_aside(holding)
    (holding.settings.spool / "quarantine" / broken).write_bytes(b"no DICOM, but of ZQ-0815-77")
    waiting = Spool(holding.settings.spool).put([b"no DICOM, but of ZQ-0815-77"])
    (holding.settings.spool / "quarantine" / ("0" * 32)).write_bytes(b"of somebody else")
    report = erase(holding)
    found = {(each.what, each.name): [hold.reason for hold in each.holds] for each in report.stays}
    assert found == {
        ("study", "1.1"): [Kept.UNFINISHED],
        ("study", "1.2"): [Kept.COMMITTED],
        ("quarantine", broken): [Kept.UNFINISHED],
        ("spool", waiting): [Kept.UNFINISHED],
    }
    assert (report.studies, report.originals, holding.originals) == (0, 0, 2)
    assert open_study.task_id
    assert not erasing.outlook(holding.database, request_of(holding)).takes_something


def test_an_image_that_stands_in_another_person_s_study_is_named_and_its_study_left_alone(holding):
    film(holding, "1.1", grey=1, content="one")
    holding.judged("1.1", "1.1.2", grey=2, days=1, patient_id=OTHER, content="two")
    holding.decide(ConflictEnd.SAME)
    holding.age("1.1", 1)
    holding.site.change(f"UPDATE study SET patient_id = '{OTHER}' WHERE merged_into_id IS NULL")
    report = erase(holding)
    assert (report.studies, {each.what for each in report.stays}) == (0, {"object"})
    assert holding.site.entry("1.1")["patient_id"] == OTHER
    with pytest.raises(UsageError, match="Patient ID"), holding.database.reads() as session:
        find(session, "")


def test_of_several_issuers_one_must_be_named_and_the_others_keep_theirs(holding):
    film(holding, "1.1", grey=1, issuer_of_patient_id="NORTH")
    film(holding, "1.2", grey=2, issuer_of_patient_id="SOUTH")
    with pytest.raises(UsageError, match="NORTH, SOUTH"):
        erasing.outlook(holding.database, request_of(holding))
    assert erase(holding, issuer="NORTH").studies == 1
    assert [row["study_uid"] for row in holding.site.worklist()] == ["1.2"]
    with holding.database.reads() as session:
        assert find(session, PATIENT).issuers == ("", "SOUTH")
        assert find(session, PATIENT, "NORTH").study_ids == ()


def test_a_reason_that_somebody_typed_and_that_names_the_person_is_replaced(holding):
    film(holding, "1.1", grey=1)
    holding.judged("1.9", "1.9.1", grey=9, patient_id=OTHER)
    values = "'PIXELS', 'ada', 'wrong film of {}', '{{}}', '2026-01-01', '2026-01-01', 'DONE', 0"
    columns = "kind, who, why, rules, started_at, finished_at, ended_how, lease_until_ms"
    for text in (PATIENT, "Anna Zqmuster", "nobody"):
        holding.site.change(f"INSERT INTO purge ({columns}) VALUES ({values.format(text)})")
    report = erase(holding)
    assert report.texts == 2
    whys = [row["why"] for row in holding.site.rows("SELECT why FROM purge ORDER BY id")]
    assert whys == ["(erased: it named a patient)"] * 2 + ["wrong film of nobody", "asked for on paper"]
    assert traces(holding) == []


@pytest.mark.parametrize("step", [step for step in STEPS if step != "files are marked, not committed"])
def test_an_erasure_that_is_killed_loses_nothing_and_the_same_command_ends_it(holding, step):
    film(holding, "1.1", grey=1)
    film(holding, "1.2", grey=2)
    holding.judged("1.9", "1.9.1", grey=9, patient_id=OTHER)
    killed(holding, lambda: erase(holding), step)
    is_done = step == "all is done"
    events = holding.site.rows("SELECT * FROM audit WHERE act IN ('PATIENT_ERASED', 'RECORDS_PURGED')")
    assert (len(events), len(holding.site.worklist())) == ((3, 1) if is_done else (0, 3))
    assert erase(holding).studies == (0 if is_done else 2)
    assert traces(holding) == []
    assert (holding.originals, holding.film_files) == (1, 1)
    all_is_well(holding)


def test_the_document_has_every_row_about_the_person_and_nothing_of_others(holding, tmp_path):
    film(holding, "1.1", grey=1, patient_name="Zqmuster^Anne")
    holding.site.receive("1.1", "1.1.1", content="corrected", patient_id=PATIENT, patient_name=NAME)
    holding.judge(holding.site.value("SELECT max(id) FROM task"), scored(0.7, film=any_film(grey=1)))
    holding.judged("1.9", "1.9.1", grey=9, patient_id=OTHER, patient_name="Zqother^Bob")
    key = put_aside(holding)
    out = tmp_path / "person.json"
    done = export(holding, out)
    assert (done.studies, done.images, done.results, done.originals) == (1, 2, 2, 0)
    assert out.stat().st_mode & 0o777 == 0o600
    assert done.bytes == out.stat().st_size
    text = out.read_text(encoding="utf-8")
    assert OTHER not in text
    assert "Zqother" not in text
    document = json.loads(text)
    assert document["document"] == "auscult-patient-export"
    assert document["version"] == 2
    assert "Not a medical device" in document["notice"]
    assert "article 15" in document["law"]
    assert document["patient"]["names"] == [NAME]
    assert document["patient"]["birth_dates"] == [] or document["patient"]["birth_dates"] == [str(BORN)]
    assert document["kept"][0]["study_uid"] == "1.1"
    (study,) = document["tables"]["study"]
    assert (study["patient_id"], study["label"]) == (PATIENT, "PNEUMONIA")
    assert {row["probability"] for row in document["tables"]["result"]} == {0.1, 0.7}
    assert document["tables"]["correction"][0]["old_value"] == "Zqmuster^Anne"
    assert [row["key"] for row in document["quarantined_or_waiting"]] == [key]
    assert document["columns"]["study"]["patient_id"] == "Patient ID (0010,0020)"
    acts = [event["act"] for event in document["audit_events"]]
    assert {"STUDY_INGESTED", "PATIENT_EXPORTED"} <= set(acts)
    (event,) = holding.site.rows("SELECT who, patient_key, action, detail FROM audit WHERE act = 'PATIENT_EXPORTED'")
    assert (event["who"], event["action"]) == ("ada", "R")
    assert json.loads(event["detail"])["rows"]["study"] == 1
    with pytest.raises(UsageError, match="exists"):
        export(holding, out)
    with pytest.raises(UsageError, match="nothing is held"):
        export(holding, tmp_path / "nobody.json", patient_id="nobody")
    assert len(holding.site.rows("SELECT * FROM audit WHERE act = 'PATIENT_EXPORTED'")) == 1
    assert not (tmp_path / "nobody.json").exists()


def test_the_originals_go_along_byte_by_byte_where_they_are_asked_for(holding, tmp_path):
    entry = film(holding, "1.1", grey=1)
    lost = film(holding, "1.2", grey=2)
    holding.store.path(lost.store_key).unlink()
    out = tmp_path / "person.zip"
    done = export(holding, out, originals=True)
    assert (done.originals, done.missing) == (1, 1)
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        document = json.loads(archive.read("patient.json"))
        named = {row["sop_uid"]: row["exported_as"] for row in document["tables"]["image"]}
        assert named == {"1.1.1": "originals/000001.dcm", "1.2.1": None}
        assert archive.read("originals/000001.dcm") == holding.store.path(entry.store_key).read_bytes()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_busy_sqlite_file_is_reported_and_the_command_can_be_run_again(holding, monkeypatch):
    if holding.site.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no such file")
    film(holding, "1.1", grey=1)
    with closing(sqlite3.connect(holding.site.engine.url.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM study").fetchall()
        monkeypatch.setattr("worker.db.retention.scrub.BUSY_TIMEOUT_MS", 10)
        assert not erase(holding).is_complete
    assert erase(holding).is_complete
    assert traces(holding) == []


def test_an_object_in_quarantine_of_somebody_unknown_to_the_database_is_found(holding):
    put_aside(holding)
    found = erasing.outlook(holding.database, request_of(holding))
    assert (found.studies, len(found.set_aside)) == ([], 1)
    assert erase(holding).quarantined == 1
    assert Quarantine(holding.settings.spool).count() == 0
    assert erasing.outlook(holding.database, request_of(holding)).is_empty


def test_what_names_a_former_id_of_the_person_goes_along_over_any_number_of_merges(holding):
    film(holding, "1.1", grey=1, patient_id="ZQ-0001-11")
    film(holding, "1.2", grey=2)
    for old, new in (("ZQ-0001-11", "ZQ-0002-22"), ("ZQ-0002-22", PATIENT)):
        with holding.database.sessions.begin() as session:
            merge_patients(session, PatientName(old), PatientName(new), ADA, f"A40 of {old}")
    put_aside(holding, "ZQ-0001-11")
    looked = erasing.outlook(holding.database, request_of(holding, patient_id="ZQ-0001-11"))
    assert (len(looked.studies), len(looked.set_aside), looked.stays) == (2, 1, [])
    report = erase(holding, patient_id="ZQ-0002-22")
    assert (report.studies, report.quarantined, report.is_complete) == (2, 1, True)
    assert traces(holding) == []
    all_is_well(holding)
