"""The ten queries that a worklist needs, as docs/worklist.md has them, answer what they promise on both databases."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import text

from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from model.labels import Band
from tests.support.database import BOTH, fresh_site, refused, scored
from tests.support.documents import ROOT, blocks
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.filing.registry import add_refusals

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "worklist.md"
MORNING = datetime(2026, 1, 2, 8, 30, tzinfo=UTC)
QUERIES = dict(re.findall(r"^### (.+?)\n.*?^```sql\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S))


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def film(site, name: str, judgement=None, *, sop: int = 1, after_s: int | None = None, **others) -> None:
    """A film of the study and accession number NAME; its study counts as answered so many seconds after it came."""
    values = {"received_at": MORNING, "accession_number": name, "station_name": "R1", "calling_aet": "PACS", **others}
    task = site.receive(f"1.{name}", f"1.{name}.{sop}", quiet_ms=0 if judgement else 600_000, **values).task_id
    if judgement:
        site.finish(task, judgement)
        site.settle()
    if after_s is not None:
        moment = values["received_at"] + timedelta(seconds=after_s)
        site.change(
            f"UPDATE study SET first_finished_at = '{moment:%Y-%m-%d %H:%M:%S}.000000' WHERE study_uid = '1.{name}'"
        )


def ask(site, title: str, **replaced: str) -> list[tuple]:
    """What a query of the page answers, with its examples replaced."""
    query = QUERIES[title]
    for old, new in replaced.items():
        query = query.replace(old, new)
    with site.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_there_are_ten():
    assert len(QUERIES) == 10


def test_reading_order(site):
    film(site, "1", scored(0.1, band=Band.LOW))
    film(site, "2", scored(0.7, band=Band.INTERMEDIATE))
    film(site, "3", scored(0.9, band=Band.HIGH))
    film(site, "4", scored(0.9, band=Band.HIGH))
    film(site, "5", refused(Reason.DECODE_FAILED))
    site.change("INSERT INTO assessments (study_uid, reader) VALUES ('1.4', 'lee')")
    assert [row[:5] for row in ask(site, "Reading order")] == [
        ("3", "FINAL", "DETECTED", "HIGH", None),
        ("2", "FINAL", "INDETERMINATE", "INTERMEDIATE", None),
        ("5", "FAILED", None, None, "DECODE_FAILED"),
        ("1", "FINAL", "NOT_DETECTED", "LOW", None),
    ]


def test_unread_positives(site):
    for name, probability in (("1", 0.9), ("2", 0.8), ("3", 0.1)):
        film(site, name, scored(probability), patient_id=f"P{name}")
    site.change("INSERT INTO assessments (study_uid, reader, verdict) VALUES ('1.1', 'lee', 'AGREE')")
    assert [row[:4] for row in ask(site, "Unread positives")] == [("2", "P2", None, 0.8)]


def test_waiting_longest(site):
    film(site, "1", scored(0.1))
    film(site, "2")
    film(site, "3", received_at=MORNING + timedelta(hours=1))
    rows = ask(site, "Waiting longest")
    assert [row[:4] for row in rows] == [("2", "RECEIVING", 1, 0), ("3", "RECEIVING", 1, 0)]
    assert rows[0][4] - rows[1][4] == pytest.approx(3600, abs=2)


def test_turnaround_by_hour_is_of_the_first_answer(site):
    for number, seconds in enumerate((10, 20, 30, 40, 500)):
        film(site, str(number), scored(0.1), after_s=seconds)
    film(site, "9", scored(0.1), after_s=7, received_at=MORNING + timedelta(hours=1))
    assert ask(site, "Turnaround by hour") == [("2026-01-02 08", 5, 30, 500), ("2026-01-02 09", 1, 7, 7)]


def test_per_device_and_day(site):
    device: dict[str, Any] = {"manufacturer": "ACME", "device_model": "DR"}
    film(site, "1", scored(0.9), **device)
    film(site, "2", scored(0.1), **device)
    film(site, "3", refused(Reason.LATERAL_VIEW), **device, received_at=MORNING + timedelta(days=1))
    film(site, "4", scored(0.5), station_name="R2")
    assert ask(site, "Per device and day") == [
        ("", "", "R2", "2026-01-02", 1, 1, 1, 0.5),
        ("ACME", "DR", "R1", "2026-01-02", 2, 2, 1, 0.5),
        ("ACME", "DR", "R1", "2026-01-03", 1, 0, 0, None),
    ]


def test_flipped_since_the_last_model(site):
    film(site, "1", scored(0.1))
    film(site, "2", scored(0.1))
    model_id = site.add_model("2")
    with site.sessions.begin() as session:
        batch = reruns.open_batch(
            session, selector=Selector(states=("FINAL",)), model_id=model_id, who="a", why="b", keep_current=False
        )
        tasks = reruns.pending_ids(session, batch.batch_id, 10)
    for task, probability in zip(tasks, (0.9, 0.2), strict=True):
        site.finish(task, scored(probability))
    assert [row[:5] for row in ask(site, "Flipped since the last model")] == [("1", "NORMAL", "PNEUMONIA", "test", "2")]


def test_refused_by_reason(site):
    film(site, "1", refused(Reason.LATERAL_VIEW))
    film(site, "2", refused(Reason.LATERAL_VIEW))
    with site.sessions.begin() as session:
        add_refusals(
            session,
            [
                RefusalRecord(
                    "a", MORNING.isoformat(), RefusalKind.ASSOCIATION, Reason.CALLING_AE_NOT_ALLOWED, "EVIL", count=7
                )
            ],
        )
    assert [row[:4] for row in ask(site, "Refused by reason")] == [
        ("door", "CALLING_AE_NOT_ALLOWED", "EVIL", 7),
        ("gate", "LATERAL_VIEW", "PACS", 2),
    ]


def test_agreement_with_the_radiologist(site):
    film(site, "1", scored(0.9, band=Band.HIGH))
    film(site, "2", scored(0.9, band=Band.HIGH))
    film(site, "3", scored(0.1, band=Band.LOW))
    for name, label in (("1", "PNEUMONIA"), ("2", "NORMAL"), ("3", "PNEUMONIA")):
        site.change(f"INSERT INTO assessments (study_uid, reader, label) VALUES ('1.{name}', 'lee', '{label}')")
    rows = ask(site, "Agreement with the radiologist")
    assert [(*row[2:5], *row[7:]) for row in rows] == [("HIGH", 2, 0.5, 1, 0), ("LOW", 1, 0.0, 0, 1)]
    assert all(low <= share <= high for *_, share, low, high, _, _ in rows)


def test_one_film_failed_of_two(site):
    for name, second in (("1", refused(Reason.DECODE_FAILED)), ("2", scored(0.1))):
        film(site, name, scored(0.9))
        film(site, name, second, sop=2, station_name="R2")
    film(site, "3", refused(Reason.DECODE_FAILED))
    assert ask(site, "One film failed of two") == [("1", "FINAL", "PNEUMONIA", 2, "1.1.2", "DECODE_FAILED", "R2")]


def test_changes_since_the_last_poll(site):
    film(site, "1", scored(0.1))
    film(site, "2", scored(0.9))
    (first, second) = site.rows("SELECT change_id, study_uid FROM changes ORDER BY change_id")
    place = {"41": str(first["change_id"]), "'1.2.3'": f"'{first['study_uid']}'"}
    (row,) = ask(site, "Changes since the last poll", **place)
    assert row[:2] == (second["change_id"], "1.2")
    assert (bool(row[3]), *row[4:]) == (True, "FINAL", "PNEUMONIA", "DETECTED")


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_account_made_as_the_page_says_reads_the_worklist_and_no_name(site, postgres_server):
    if not postgres_server.owned:
        pytest.skip("accounts are made on a server of our own")
    (recipe,) = [block.body for block in blocks(PAGE, ("postgresql",)) if "CREATE ROLE" in block.body]
    film(site, "1", scored(0.9), patient_name="DOE^JANE")
    url = sa.make_url(site.url).set(drivername="postgresql")
    try:
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as administrator:
            administrator.execute(recipe)
        own = url.set(username="ris", password="change-me").render_as_string(hide_password=False)
        with psycopg.connect(own, autocommit=True) as connection:
            for title, query in QUERIES.items():
                assert connection.execute(query).description, title
            for statement in ("SELECT * FROM worklist_names", "SELECT * FROM study", "SELECT * FROM corrections"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("INSERT INTO assessments (study_uid, reader) VALUES ('1.1', 'ris')")
            assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
            assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)
    finally:
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as administrator:
            administrator.execute("DROP ROLE IF EXISTS ris")


def test_verdicts_are_added_as_the_page_says(site):
    (inserts,) = [block.body for block in blocks(PAGE, ("postgresql",)) if "INSERT INTO" in block.body]
    site.finish(site.receive("1.2.3", "1.2.3.1").task_id, scored(0.9))
    site.settle()
    for statement in filter(str.strip, inserts.split(";")):
        site.change(statement)
    rows = site.rows("SELECT reader, verdict, label FROM assessments ORDER BY assessment_id")
    assert [tuple(row.values()) for row in rows] == [
        ("dr.lee", "AGREE", "PNEUMONIA"),
        ("dr.kim", "DISAGREE", "NORMAL"),
        ("dr.lee", None, None),
    ]
