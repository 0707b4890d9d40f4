"""What the contract of the views says of their columns is what both databases have, and what rows hold."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select, text

from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from model.labels import Band
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.contract.column import Kind
from worker.db.contract.views import VIEWS
from worker.db.filing.registry import add_refusals
from worker.db.schema.views import VIEW_NAMES, WORKLIST_V3

pytestmark = pytest.mark.integration

DAY = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def live_through(site) -> None:
    """Studies of every answer, a re-run by another model, a verdict, and refusals of door and gate."""
    device = {
        "manufacturer": "ACME",
        "device_model": "DR",
        "station_name": "R1",
        "institution": "CITY",
        "calling_aet": "P",
    }
    site.finish(site.receive("1.1", "1.1.1", received_at=DAY, **device).task_id, scored(0.9, band=Band.HIGH))
    site.finish(site.receive("1.2", "1.2.1").task_id, scored(0.1, band=Band.LOW, flags=(Reason.AGE_UNKNOWN,)))
    site.finish(site.receive("1.3", "1.3.1").task_id, refused(Reason.LATERAL_VIEW))
    site.finish(site.receive("1.4", "1.4.1").task_id, refused(Reason.DECODE_FAILED))
    site.receive("1.5", "1.5.1", quiet_ms=600_000)
    site.receive("1.6", "1.6.1", has_pixel_data=False)
    site.settle()
    for columns, values in (("reader, label", "'lee', 'NORMAL'"), ("reader, verdict", "'kim', 'AGREE'")):
        site.change(f"INSERT INTO assessments (study_uid, {columns}) VALUES ('1.1', {values})")
    with site.sessions.begin() as session:
        record = RefusalRecord("a", DAY.isoformat(), RefusalKind.OBJECT, Reason.INVALID_SOP_UID, "PACS")
        add_refusals(session, [record])
    rerun(site, "1.2", scored(0.7))


def rerun(site, study_uid: str, judgement) -> None:
    """Score a study again by a new model."""
    model_id = site.add_model(f"of {study_uid}")
    with site.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=Selector(study_uids=(study_uid,)),
            model_id=model_id,
            who="ada",
            why="newer",
            keep_current=False,
        )
        (task,) = reruns.pending_ids(session, batch.batch_id, 10)
    site.finish(task, judgement)


def test_every_view_is_described_and_no_other():
    assert sorted(VIEWS) == sorted(VIEW_NAMES)


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_the_columns_that_are_described_are_those_of_the_database(site, view):
    with site.engine.connect() as connection:
        columns = list(connection.execute(text(f"SELECT * FROM {view}")).keys())
    assert [column.name for column in VIEWS[view].columns] == columns


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_column_has_a_meaning_and_a_number_of_something_its_unit(view):
    for column in VIEWS[view].columns:
        assert column.meaning, column.name
        assert column.unit or column.kind is not Kind.MOMENT, column.name
        assert column.unit or not column.name.endswith(("_s", "_ms", "_bytes")), column.name


def test_a_column_is_null_only_where_the_contract_says_what_that_means(site):
    live_through(site)
    silent = [
        f"{view.name}.{column.name}"
        for view in VIEWS.values()
        for column in view.columns
        if not column.null and site.value(f"SELECT count(*) FROM {view.name} WHERE {column.name} IS NULL")
    ]
    assert silent == []


def test_every_answer_and_most_views_are_among_the_rows_of_this_test(site):
    """Else the test above would prove little."""
    live_through(site)
    states = {row["ai_status"] for row in site.worklist()}
    assert {"FINAL", "NOT_APPLICABLE", "FAILED", "RECEIVING"} <= states
    filled = {name for name in VIEWS if site.value(f"SELECT count(*) FROM {name}")}
    assert filled >= {
        "worklist_v3",
        "worklist",
        "changes",
        "films",
        "assessments",
        "agreement",
        "result_history",
        "refused",
    }


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_the_database_says_of_each_view_and_column_what_the_contract_says(site):
    said = {
        (row["view"], row["column_name"]): row["comment"]
        for row in site.rows(
            "SELECT c.relname AS view, a.attname AS column_name, col_description(c.oid, a.attnum) AS comment, "
            "format_type(a.atttypid, NULL) AS kind FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0"
        )
    }
    assert said == {(view.name, column.name): column.comment for view in VIEWS.values() for column in view.columns}
    for view in VIEWS.values():
        assert site.value(f"SELECT obj_description('{view.name}'::regclass)") == view.meaning


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_the_types_that_are_described_are_those_of_postgresql(site):
    found = {
        (row["view"], row["column_name"]): row["kind"].replace("character varying", "text")
        for row in site.rows(
            "SELECT c.relname AS view, a.attname AS column_name, format_type(a.atttypid, NULL) AS kind "
            "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0"
        )
    }
    said = {
        (view.name, column.name): "text" if column.kind is Kind.CODES_TEXT else str(column.kind)
        for view in VIEWS.values()
        for column in view.columns
    }
    assert {key: (said[key], kind) for key, kind in found.items() if said[key] != kind} == {}


def test_worklist_shows_the_rows_of_its_version(site):
    live_through(site)
    names = ", ".join(column.name for column in VIEWS["worklist"].columns if column.name not in {"flags", "waiting_s"})
    of_version = site.rows(f"SELECT {names} FROM worklist_v3 ORDER BY study_uid")
    assert site.rows(f"SELECT {names} FROM worklist ORDER BY study_uid") == of_version


def test_flags_are_a_list_in_the_version_and_the_text_of_before_in_the_worklist(site):
    flags = (Reason.AGE_UNKNOWN, Reason.BURNED_IN_ANNOTATION)
    site.finish(site.receive().task_id, scored(0.9, flags=flags))
    site.settle()
    assert site.value("SELECT flags FROM worklist") == '["AGE_UNKNOWN","BURNED_IN_ANNOTATION"]'
    with site.sessions() as session:
        assert session.execute(select(WORKLIST_V3.c.flags)).scalar_one() == flags


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_flags_are_asked_for_as_a_list_on_postgresql(site):
    site.finish(site.receive().task_id, scored(0.9, flags=(Reason.AGE_UNKNOWN,)))
    assert site.value("SELECT count(*) FROM worklist_v3 WHERE flags ? 'AGE_UNKNOWN'") == 1


@pytest.mark.parametrize(
    ("probability", "band", "finding_status"),
    [
        (0.9, Band.HIGH, "DETECTED"),
        (0.9, Band.INTERMEDIATE, "INDETERMINATE"),
        (0.9, None, "DETECTED"),
        (0.1, Band.INTERMEDIATE, "INDETERMINATE"),
        (0.1, Band.LOW, "NOT_DETECTED"),
        (0.1, None, "NOT_DETECTED"),
    ],
)
def test_the_finding_is_detected_indeterminate_or_not_by_label_and_band(site, probability, band, finding_status):
    site.finish(site.receive().task_id, scored(probability, band=band))
    site.settle()
    assert site.rows("SELECT finding, finding_status FROM worklist_v3") == [
        {"finding": "PNEUMONIA", "finding_status": finding_status}
    ]


def test_without_a_label_the_finding_has_no_status(site):
    live_through(site)
    assert {row["finding_status"] for row in site.worklist() if row["label"] is None} == {None}


def test_a_rerun_moves_neither_turnaround_nor_completion(site):
    site.finish(site.receive(received_at=DAY).task_id, scored(0.1))
    site.settle()
    columns = "finished_at, completed_at, first_finished_at, turnaround_s, updated_at, label"
    (before,) = site.rows(f"SELECT {columns} FROM worklist_v3")
    rerun(site, "1.2.3", scored(0.9))
    (after,) = site.rows(f"SELECT {columns} FROM worklist_v3")
    assert (before["label"], after["label"]) == ("NORMAL", "PNEUMONIA")
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"finished_at", "updated_at", "label"}


def test_a_new_film_moves_the_completion_and_not_the_first_answer(site):
    site.finish(site.receive(sop="1.1").task_id, scored(0.1))
    site.settle()
    (first,) = site.rows("SELECT * FROM worklist_v3")
    second = site.receive(sop="1.2")
    (between,) = site.rows("SELECT * FROM worklist_v3")
    site.finish(second.task_id, scored(0.1))
    site.settle()
    (last,) = site.rows("SELECT * FROM worklist_v3")
    assert (between["completed_at"], between["finished_at"]) == (None, None)
    assert first["completed_at"] < last["completed_at"]
    assert first["first_finished_at"] == between["first_finished_at"] == last["first_finished_at"]
    assert last["last_received_at"] > first["last_received_at"]


def test_a_study_tells_what_the_model_before_said_of_the_same_films(site):
    site.finish(site.receive("1.1", "1.1.1").task_id, scored(0.1))
    site.finish(site.receive("1.2", "1.2.1").task_id, scored(0.9))
    site.settle()
    assert {row["previous_label"] for row in site.worklist()} == {None}
    rerun(site, "1.1", scored(0.9))
    rerun(site, "1.2", scored(0.8))
    flipped = site.rows("SELECT study_uid, previous_label, label FROM worklist_v3 WHERE previous_label <> label")
    assert flipped == [{"study_uid": "1.1", "previous_label": "NORMAL", "label": "PNEUMONIA"}]
    assert {row["study_uid"]: row["previous_label"] for row in site.worklist()} == {"1.1": "NORMAL", "1.2": "PNEUMONIA"}


def test_which_film_of_a_study_failed_and_on_which_device(site):
    site.finish(site.receive(sop="1.1", station_name="R1").task_id, scored(0.1))
    site.finish(site.receive(sop="1.2", station_name="R2").task_id, refused(Reason.DECODE_FAILED))
    site.settle()
    assert site.entry()["n_failed"] == 1
    assert site.rows("SELECT sop_uid, outcome, reason, station_name FROM films ORDER BY sop_uid") == [
        {"sop_uid": "1.1", "outcome": "OK", "reason": None, "station_name": "R1"},
        {"sop_uid": "1.2", "outcome": "BAD_INPUT", "reason": "DECODE_FAILED", "station_name": "R2"},
    ]
    assert site.entry()["station_name"] == "R1"


def test_a_device_name_longer_than_its_column_is_cut(site):
    site.receive(manufacturer="M" * 300, institution="I" * 300)
    assert {len(site.entry()[name]) for name in ("manufacturer", "institution")} == {64}


def test_names_stand_beside_the_rows_of_the_worklist(site):
    site.receive("1.1", "1.1.1", patient_name="DOE^JANE", patient_birth_date=date(2022, 5, 1), patient_sex="F")
    (row,) = site.rows("SELECT patient_name, patient_sex FROM worklist JOIN worklist_names USING (study_uid, side)")
    assert row == {"patient_name": "DOE^JANE", "patient_sex": "F"}
