"""The radiologist's verdict by SQL: one INSERT, by an account that may do nothing else, with its audit event."""

from __future__ import annotations

import json

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from dicom_io.reasons import Reason
from model.labels import Band
from model.statistics.intervals import wilson
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.audit.codes import CODES, Act

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def answered(site, study: str = "1.1", probability: float = 0.9, **others) -> None:
    """A study with an answer of the model at 0.5."""
    band = others.pop("band", Band.HIGH if probability > 0.5 else Band.LOW)
    site.finish(site.receive(study, f"{study}.1", **others).task_id, scored(probability, band=band))
    site.settle()


def assess(site, study: str = "1.1", **values: str) -> None:
    """Insert an assessment as a vendor does; values are SQL."""
    columns = {"study_uid": f"'{study}'", "reader": "'lee'", **values}
    site.change(f"INSERT INTO assessments ({', '.join(columns)}) VALUES ({', '.join(columns.values())})")


def mark(site, study: str = "1.1") -> tuple[bool, str | None, str | None]:
    """Whether the worklist shows a study as read, and by which verdict and label."""
    entry = site.entry(study)
    return entry["read_at"] is not None, entry["verdict"], entry["reader_label"]


@pytest.mark.parametrize(
    ("values", "verdict", "label"),
    [
        ({}, None, None),
        ({"verdict": "'AGREE'"}, "AGREE", "PNEUMONIA"),
        ({"verdict": "'DISAGREE'"}, "DISAGREE", None),
        ({"verdict": "'DISAGREE'", "label": "'NORMAL'"}, "DISAGREE", "NORMAL"),
        ({"label": "'PNEUMONIA'"}, "AGREE", "PNEUMONIA"),
        ({"label": "'NORMAL'", "blinded": "true", "airai_code": "'AIRAI_19'"}, "DISAGREE", "NORMAL"),
    ],
)
def test_a_verdict_marks_the_study_as_read_and_keeps_the_answer_as_it_stood(site, values, verdict, label):
    answered(site)
    assert mark(site) == (False, None, None)
    assess(site, **values)
    assert mark(site) == (True, verdict, label)
    (row,) = site.rows("SELECT * FROM assessments")
    assert (row["reader"], row["verdict"], row["label"]) == ("lee", verdict, label)
    assert (row["answer_state"], row["answer_label"], row["probability"], row["band"]) == (
        "FINAL",
        "PNEUMONIA",
        0.9,
        "HIGH",
    )
    assert (bool(row["blinded"]), row["airai_code"]) == (
        "blinded" in values,
        "AIRAI_19" if "airai_code" in values else None,
    )


def test_a_study_without_an_answer_is_read_and_labelled_without_a_verdict(site):
    site.finish(site.receive("1.1", "1.1.1").task_id, refused(Reason.TIMED_OUT))
    site.settle()
    assess(site, label="'PNEUMONIA'")
    assert mark(site) == (True, None, "PNEUMONIA")


@pytest.mark.parametrize(
    ("study", "values"),
    [
        ("1.9", {}),
        ("1.1", {"side": "1"}),
        ("1.1", {"verdict": "'MAYBE'"}),
        ("1.1", {"label": "'SICK'"}),
        ("1.1", {"verdict": "'AGREE'", "label": "'NORMAL'"}),
        ("1.1", {"verdict": "'DISAGREE'", "label": "'PNEUMONIA'"}),
        ("1.1", {"reader": "''"}),
        ("1.1", {"reader": "NULL"}),
        ("1.2", {"verdict": "'AGREE'"}),
    ],
)
def test_an_assessment_that_cannot_be_true_is_refused_whole(site, study, values):
    answered(site)
    site.receive("1.2", "1.2.1", quiet_ms=600_000)
    events = site.value("SELECT count(*) FROM audit_event")
    with pytest.raises(DBAPIError):
        assess(site, study, **values)
    assert site.rows("SELECT * FROM assessments") == []
    assert mark(site) == (False, None, None)
    assert site.value("SELECT count(*) FROM audit_event") == events


def test_films_that_nobody_has_read_take_the_mark_away(site):
    answered(site)
    assess(site, verdict="'AGREE'")
    site.finish(site.receive("1.1", "1.1.2").task_id, scored(0.8))
    site.settle()
    assert mark(site) == (False, None, None)
    assert site.value("SELECT count(*) FROM assessments") == 1, "the verdict on the answer of then is kept"


def test_the_label_of_the_reader_is_held_against_what_a_later_model_says(site):
    answered(site)
    assess(site, label="'NORMAL'")
    assert mark(site) == (True, "DISAGREE", "NORMAL")
    site.change("UPDATE study SET label = 'NORMAL', probability = 0.1, band = 'LOW'")
    assert mark(site) == (True, "AGREE", "NORMAL")
    site.change("UPDATE study SET label = NULL, band = NULL, state = 'WITHHELD', reason = 'MODEL_SUSPENDED'")
    assert mark(site) == (True, None, "NORMAL")


def test_the_audit_event_is_that_of_the_code_table_and_names_the_patient(site):
    answered(site, patient_id="P7")
    assess(site, verdict="'AGREE'")
    code = CODES[Act.VERDICT_GIVEN]
    (event,) = site.rows("SELECT * FROM audit WHERE act = 'VERDICT_GIVEN'")
    assert (event["event_code"], event["event_type_code"], event["action"]) == (code.event, code.type, code.action)
    assert (event["who"], event["study_uid"], event["patient_id"]) == ("lee", "1.1", "P7")
    assert event["patient_key"] == site.value("SELECT patient_key FROM image")
    assert json.loads(event["detail"]) == {"assessment": 1, "verdict": "AGREE", "label": "PNEUMONIA"}


def test_agreement_is_counted_by_model_day_device_and_band_with_its_interval(site):
    for number in range(8):
        answered(site, f"1.{number}", 0.9 if number < 5 else 0.1, station_name=f"R{number % 2}")
        assess(site, f"1.{number}", label="'NORMAL'" if number in {0, 6, 7} else "'PNEUMONIA'")
    assess(site, "1.1", reader="'kim'", label="'NORMAL'")
    assess(site, "1.2", reader="'kim'")
    rows = site.rows("SELECT * FROM agreement")
    (whole,) = [row for row in rows if row["by_what"] == "MODEL"]
    # 1.1 is counted by its last verdict; that 1.2 was read again without one takes its verdict off the count.
    assert (whole["n"], whole["n_agree"], whole["n_pneumonia_denied"], whole["n_normal_denied"]) == (7, 4, 2, 1)
    for row in rows:
        assert (row["share_low"], row["share_high"]) == pytest.approx(wilson(row["n_agree"], row["n"]))
        assert row["share"] == pytest.approx(row["n_agree"] / row["n"])
    assert {row["band"]: row["n"] for row in rows if row["by_what"] == "BAND"} == {"HIGH": 4, "LOW": 3}
    assert {row["station_name"]: row["n"] for row in rows if row["by_what"] == "DEVICE"} == {"R0": 3, "R1": 4}
    assert sum(row["n"] for row in rows if row["by_what"] == "DAY") == 7


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_account_of_the_role_adds_assessments_and_does_nothing_else(site):
    answered(site)
    with site.engine.connect() as connection:
        connection.execute(text("SET ROLE auscult_assessor"))
        connection.execute(text("INSERT INTO assessments (study_uid, reader, verdict) VALUES ('1.1', 'lee', 'AGREE')"))
        connection.commit()
        for statement in (
            "SELECT * FROM assessments",
            "INSERT INTO assessments (study_uid, reader, at) VALUES ('1.1', 'lee', now())",
            "INSERT INTO assessment (study_id, reader) VALUES (1, 'lee')",
            "UPDATE study SET read_at = NULL",
            "SELECT * FROM study",
            "DELETE FROM assessment",
            "INSERT INTO audit_event (who) VALUES ('eve')",
        ):
            with pytest.raises(ProgrammingError) as caught:
                connection.execute(text(statement))
            assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege), statement
            connection.rollback()
        connection.invalidate()
    assert mark(site) == (True, "AGREE", "PNEUMONIA")
    assert site.value("SELECT from_where FROM audit WHERE act = 'VERDICT_GIVEN'").startswith("postgres@")


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_view_of_the_same_name_in_a_schema_of_the_account_is_not_what_its_insert_changes(site):
    """The function runs with the rights of the tables' owner, so it names its schema."""
    answered(site)
    with site.engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE study (LIKE study)"))
        connection.execute(text("INSERT INTO public.assessments (study_uid, reader) VALUES ('1.1', 'lee')"))
        connection.commit()
        connection.invalidate()
    assert mark(site) == (True, None, None)


def test_assessments_are_deleted_with_their_study(site):
    from worker.db.retention.tables import delete_studies

    answered(site)
    assess(site)
    with site.sessions.begin() as session:
        assert delete_studies(session, [1])["assessment"] == 1
