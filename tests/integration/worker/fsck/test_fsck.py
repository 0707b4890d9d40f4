"""`auscult fsck` on real files and rows: everything that can be inconsistent is found, and repaired where nothing is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from dicom_io.film.film import film_of_dicom
from dicom_io.film.store import FilmStore
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.inbox.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store, StoreAway, prepare_root
from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, refused, scored
from tests.support.rejections import LISTED, note_dataset
from tests.support.studies import chest_film, new_uid
from worker.cli.command import app
from worker.database import Database, connect
from worker.db.answers import inboxes
from worker.db.audit.record import Actor
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.fsck.findings import FindingKind
from worker.fsck.look import LEFT_S, ON_ITS_WAY_S
from worker.fsck.run import fsck
from worker.fsck.waiting import WAITS_S
from worker.intake.filing import Filing, StudyClock
from worker.retention.policy import FilePolicy
from worker.retention.purge import purge
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    from tests.support.database import Site
    from worker.db.filing.registry import Registration

pytestmark = pytest.mark.integration
MANY = {kind.value: kind for kind in FindingKind}


@dataclass
class Bench:
    """A site with judged studies, their originals and films on disk."""

    site: Site
    settings: Settings
    database: Database
    store: Store
    films: FilmStore

    def receive(self, ds: Dataset, key: str) -> Registration:
        path = self.settings.home / f"{key}.sent"  # the store links it
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        return Filing(self.database.sessions, self.store, StudyClock(0, 0)).file(path, key)

    def judged(self, number: int, opacity: float = 0.0) -> Registration:
        """Receive and judge a film, which is made from its original as a worker makes it."""
        entry = self.receive(
            chest_film(opacity, StudyInstanceUID=new_uid(), SOPInstanceUID=new_uid()), self.key(number)
        )
        film = film_of_dicom(self.store.path(self.key(number)))
        self.films.save(film)
        self.site.finish(entry.task_id, scored(0.9 if opacity else 0.1, film=film))
        self.site.settle()
        return entry

    @staticmethod
    def key(number: int) -> str:
        return f"{number:032x}"

    def film_path(self, image_id: int) -> Path:
        return self.films.path(self.site.value(f"SELECT film_key FROM image WHERE id = {image_id}"))

    def found(self, *, deep: bool = False, repair: bool = False) -> dict[FindingKind, tuple[int, int]]:
        """The kinds found, with how many of each and how many were repaired."""
        report = fsck(self.settings, self.database, deep=deep, repair=repair)
        return {MANY[row["finding"]]: (row["count"], row["repaired"]) for row in report.rows()}


@pytest.fixture(params=BOTH)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    for site in fresh_site(request, tmp_path):
        settings = load_settings(home=tmp_path / "home", database_url=site.url)
        prepare_root(settings.films, known=False)
        made = Bench(site, settings, connect(settings), Store(settings.store), FilmStore(settings.films))
        yield made
        made.database.dispose()


def as_received(ds: Dataset) -> bytes:
    """A file as the listener writes it for an object of the PACS."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    uids = ObjectUids(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
    # Preamble and prefix, the element of the group's length, the group.
    begins = 144 + int.from_bytes(buffer.getvalue()[140:144], "little")
    return encode_file_meta(uids, Sender("PACS", "AUSCULT", "10.1.2.3"), "AUSCULT") + buffer.getvalue()[begins:]


def age(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds - 60
    os.utime(path, (moment, moment))


def test_nothing_is_found_where_nothing_is_wrong(bench: Bench) -> None:
    for number in (1, 2):
        bench.judged(number)
    report = fsck(bench.settings, bench.database, deep=True)
    assert report.as_dict() == {"images": 2, "originals": 2, "films": 1, "studies": 2, "left": 0, "findings": []}


def test_an_original_that_is_gone_is_named_by_its_uid_and_left_to_a_person(bench: Bench) -> None:
    entry = bench.judged(1)
    bench.store.remove(bench.key(1))
    report = fsck(bench.settings, bench.database, repair=True)
    (row,) = report.rows()
    uid = bench.site.value(f"SELECT sop_uid FROM image WHERE id = {entry.image_id}")
    assert (row["finding"], row["count"], row["repaired"], row["named"]) == ("ORIGINAL_MISSING", 1, 0, [uid])
    assert report.left == 1


def test_another_file_under_the_name_of_an_original_is_found_by_reading_it(bench: Bench) -> None:
    bench.judged(1)
    path = bench.store.path(bench.key(1))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert bench.found() == {}
    assert bench.found(deep=True, repair=True) == {FindingKind.ORIGINAL_DAMAGED: (1, 0)}


def test_an_object_without_a_row_is_registered_once_it_is_not_on_its_way(bench: Bench) -> None:
    bench.judged(1)
    lost = bench.judged(2)
    bench.site.change(f"DELETE FROM result WHERE image_id = {lost.image_id}")
    bench.site.change(f"DELETE FROM task WHERE image_id = {lost.image_id}")
    bench.site.change(f"DELETE FROM receipt WHERE image_id = {lost.image_id}")
    bench.site.change(f"DELETE FROM image WHERE id = {lost.image_id}")
    bench.site.change(f"DELETE FROM study WHERE id = {lost.study_id}")
    assert bench.found() == {}, "a young file may be on its way into SQL"
    age(bench.store.path(bench.key(2)), ON_ITS_WAY_S)
    assert bench.found() == {FindingKind.ORIGINAL_UNRECORDED: (1, 0)}
    assert bench.found(repair=True) == {FindingKind.ORIGINAL_UNRECORDED: (1, 1)}
    assert bench.found() == {}
    assert bench.site.rows(f"SELECT state FROM task WHERE image_id > {lost.image_id - 1}") == [{"state": "PENDING"}]
    assert bench.store.exists(bench.key(2))


def test_a_second_copy_of_an_object_takes_the_place_of_one_that_is_gone(bench: Bench) -> None:
    entry = bench.judged(1)
    path = bench.store.path(bench.key(7))
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(bench.store.path(bench.key(1)), path)
    age(path, ON_ITS_WAY_S)
    assert bench.found(repair=True) == {
        FindingKind.ORIGINAL_MISSING: (1, 0),
        FindingKind.ORIGINAL_UNRECORDED: (1, 1),
    }
    assert bench.site.value(f"SELECT store_key FROM image WHERE id = {entry.image_id}") == bench.key(7)
    assert bench.found(deep=True) == {}


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_film_is_made_again_from_its_original(bench: Bench, harm: str) -> None:
    entry = bench.judged(1)
    path = bench.film_path(entry.image_id)
    before = path.read_bytes()
    path.unlink() if harm == "gone" else path.write_bytes(before[: len(before) // 2])
    kind = FindingKind.FILM_MISSING if harm == "gone" else FindingKind.FILM_DAMAGED
    assert bench.found(deep=True, repair=True) == {kind: (1, 1)}
    assert path.read_bytes() == before
    assert bench.found(deep=True) == {}


def test_a_film_whose_original_is_gone_too_is_forgotten_and_its_results_stay(bench: Bench) -> None:
    entry = bench.judged(1)
    bench.film_path(entry.image_id).unlink()
    bench.store.remove(bench.key(1))
    assert bench.found(repair=True) == {FindingKind.ORIGINAL_MISSING: (1, 0), FindingKind.FILM_MISSING: (1, 1)}
    assert bench.found() == {FindingKind.ORIGINAL_MISSING: (1, 0)}
    assert bench.site.entry(bench.site.value("SELECT study_uid FROM study"))["label"] == "NORMAL"


def test_what_lies_beside_the_files_is_told_apart(bench: Bench) -> None:
    entry = bench.judged(1)
    film = bench.film_path(entry.image_id)
    stray = film.with_name(f"{'0' * 64}.png")
    unrecorded = bench.films.path(f"{film.name[:4]}{'0' * 60}")
    unrecorded.write_bytes(film.read_bytes())
    part, young = film.with_name(".ab.part"), film.with_name(".cd.part")
    for path in (stray, part, young):
        path.write_bytes(b"half")
    for path in (unrecorded, part):
        age(path, LEFT_S)
    assert bench.found(repair=True) == {
        FindingKind.FILM_UNRECORDED: (1, 1),
        FindingKind.PART_LEFT: (1, 1),
        FindingKind.FOREIGN_FILE: (1, 0),
    }
    assert [path.exists() for path in (stray, unrecorded, part, young, film)] == [True, False, False, True, True]


def test_an_answer_that_is_not_what_its_films_say_is_decided_again(bench: Bench) -> None:
    entry = bench.judged(1, opacity=0.8)
    other = bench.judged(2)
    bench.site.change(f"UPDATE study SET label = 'NORMAL', probability = 0.1, n_scored = 5 WHERE id = {entry.study_id}")
    bench.site.change(f"UPDATE study SET n_images = 9 WHERE id = {other.study_id}")
    assert bench.found() == {FindingKind.ANSWER_STALE: (2, 0)}
    assert bench.site.value(f"SELECT label FROM study WHERE id = {entry.study_id}") == "NORMAL", (
        "looking changes nothing"
    )
    assert bench.found(repair=True) == {FindingKind.ANSWER_STALE: (2, 2)}
    assert bench.site.value(f"SELECT label FROM study WHERE id = {entry.study_id}") == "PNEUMONIA"
    assert bench.found() == {}


def test_a_film_that_nobody_works_on_is_given_a_task(bench: Bench) -> None:
    entry = bench.receive(chest_film(), bench.key(1))
    bench.site.change(f"UPDATE task SET state = 'CANCELLED' WHERE id = {entry.task_id}")
    assert bench.found(repair=True)[FindingKind.NO_TASK] == (1, 1)
    assert bench.found() == {}
    assert [row["state"] for row in bench.site.rows("SELECT state FROM task ORDER BY id")] == ["CANCELLED", "PENDING"]


def test_an_open_task_whose_result_is_on_record_is_ended_as_the_result_says(bench: Bench) -> None:
    entry = bench.judged(1)
    before = bench.site.worklist()
    bench.site.change(f"UPDATE task SET state = 'PENDING', finished_at = NULL WHERE id = {entry.task_id}")
    assert bench.found()[FindingKind.TASK_WORKED] == (1, 0)
    assert bench.found(repair=True) == {FindingKind.TASK_WORKED: (1, 1)}
    assert bench.found() == {}
    (task,) = bench.site.rows("SELECT state, finished_at IS NULL AS is_open FROM task")
    assert (task["state"], bool(task["is_open"])) == ("DONE", False)
    assert bench.site.worklist() == before


def test_a_re_run_that_is_open_for_nothing_is_closed_and_one_that_takes_long_is_named(bench: Bench) -> None:
    bench.judged(1)
    with bench.site.sessions.begin() as session:
        batch_id = reruns.open_batch(
            session, selector=Selector(all=True), model_id=bench.site.model_id, who="ada", why="", keep_current=True
        ).batch_id
    assert bench.found() == {}
    old = {"postgresql": "now() - interval '31 days'", "sqlite": "datetime('now', '-31 days')"}
    moment = old[bench.site.engine.dialect.name]
    bench.site.change(f"UPDATE batch SET created_at = {moment}")
    assert bench.found(repair=True) == {FindingKind.BATCH_LONG_OPEN: (1, 0)}
    bench.site.change(f"UPDATE task SET state = 'CANCELLED', finished_at = {moment} WHERE batch_id = {batch_id}")
    assert bench.found() == {FindingKind.BATCH_FORGOTTEN: (1, 0)}
    assert bench.found(repair=True) == {FindingKind.BATCH_FORGOTTEN: (1, 1)}
    assert bench.found() == {}
    assert bench.site.value("SELECT closed_at IS NOT NULL AS is_closed FROM batch")


@pytest.mark.parametrize("name", ["spool", "ingest", "fetch"])
def test_an_object_that_waits_long_in_a_spool_is_registered_unless_another_process_has_it(
    bench: Bench, name: str
) -> None:
    ds = chest_film(StudyInstanceUID=new_uid(), SOPInstanceUID=new_uid())
    sent = bench.settings.home / "film.sent"
    ds.save_as(sent, enforce_file_format=True)
    spool = Spool(bench.settings.home / name)
    key = spool.put([sent.read_bytes()])
    assert bench.found() == {}, "a young object is on its way"
    age(spool.path(key), WAITS_S)
    with spool.claimed(key):
        assert bench.found(repair=True) == {FindingKind.SPOOL_WAITS: (1, 0)}
    assert bench.found(repair=True) == {FindingKind.SPOOL_WAITS: (1, 1)}
    assert (bench.found(), spool.keys()) == ({}, [])
    (image,) = bench.site.rows("SELECT sop_uid FROM image")
    assert image["sop_uid"] == ds.SOPInstanceUID
    acts = [row["act"] for row in bench.site.rows("SELECT act FROM audit WHERE act LIKE 'STUDY%'")]
    assert acts == ["STUDY_INGESTED"]


def test_a_rejection_note_that_waits_in_a_spool_is_followed_by_the_sites_rule(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"rejection_sources": ("PACS@10.0.0.0/8",)})
    film = chest_film(StudyInstanceUID=new_uid(), SOPInstanceUID=new_uid(), PatientID="P")
    bench.receive(film, bench.key(1))
    named = [(film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID)]
    spool = Spool(bench.settings.spool)
    key = spool.put([as_received(note_dataset(named, sop_class=film.SOPClassUID, PatientID="P"))])
    age(spool.path(key), WAITS_S)
    assert bench.found(repair=True)[FindingKind.SPOOL_WAITS] == (1, 1)
    assert [row["state"] for row in bench.site.rows("SELECT state FROM withdrawals")] == ["APPLIED"]


def test_refusals_that_nobody_recorded_are_recorded_once(bench: Bench) -> None:
    journal = Journal(bench.settings.spool)
    record = RefusalRecord(
        kind=RefusalKind.ASSOCIATION, reason=Reason.CALLING_AE_NOT_ALLOWED, calling_aet="EVIL", **now_and_uid()
    )
    journal.append(record)
    journal.drain()
    journal.append(record)
    assert bench.found() == {}
    for path in bench.settings.spool.glob("journal.*"):
        age(path, WAITS_S)
    assert bench.found() == {FindingKind.JOURNAL_WAITS: (2, 0)}
    assert bench.found(repair=True) == {FindingKind.JOURNAL_WAITS: (1, 1)}, "every file is recorded with the first"
    assert [row["calling_aet"] for row in bench.site.rows("SELECT calling_aet FROM refused")] == ["EVIL"]
    broken = bench.settings.spool / "journal.1.broken"
    broken.write_bytes(b"\xff")
    assert bench.found(repair=True) == {FindingKind.JOURNAL_BROKEN: (1, 0)}


def test_a_listener_that_is_long_gone_is_named_until_it_is_retired(bench: Bench) -> None:
    with bench.site.sessions.begin() as session:
        inboxes.publish(session, inboxes.Published("u" * 32, "away", 1, 1, 3))
    assert bench.found() == {}
    bench.site.change("UPDATE inbox SET heartbeat_at = '2026-01-01 00:00:00'")
    assert bench.found(repair=True) == {FindingKind.LISTENER_GONE: (1, 0)}
    with bench.site.sessions.begin() as session:
        inboxes.retire(session, bench.site.value("SELECT id FROM inbox"), "ada", "gone")
    assert bench.found() == {}


def test_nothing_is_found_after_a_purge_and_a_withdrawal(bench: Bench) -> None:
    bench.judged(1, opacity=0.8)
    bench.judged(2, opacity=0.6)
    film = bench.site.rows("SELECT image.*, study_uid FROM image JOIN study ON study.id = study_id ORDER BY image.id")[
        0
    ]
    named = [(film["study_uid"], film["series_uid"], film["sop_uid"])]
    note = note_dataset(named, sop_class=film["sop_class_uid"], PatientID=chest_film().PatientID)
    noted = bench.settings.home / "note.sent"
    noted.write_bytes(as_received(note))
    entry = Filing(bench.database.sessions, bench.store, StudyClock(0, 0), policy=LISTED).file(noted, bench.key(3))
    bench.site.finish(entry.task_id, refused(Reason.NOT_A_RADIOGRAPH))
    bench.site.settle()
    assert bench.site.value("SELECT state FROM withdrawals") == "APPLIED"
    old = {"postgresql": "now() - interval '100 days'", "sqlite": "datetime('now', '-100 days')"}
    bench.site.change(f"UPDATE study SET last_rx_at = {old[bench.site.engine.dialect.name]}")
    settings = bench.settings.model_copy(update={"purge_originals_days": 10, "purge_films_days": 10})
    report = purge(settings, bench.database, FilePolicy.of(settings), actor=Actor("ada"), why="space")
    assert report.originals > 0
    assert report.films > 0
    assert bench.found(deep=True) == {}


def test_a_store_that_is_not_mounted_is_no_store_without_files(bench: Bench) -> None:
    bench.judged(1)
    shutil.rmtree(bench.settings.store)
    bench.settings.store.mkdir()
    with pytest.raises(StoreAway):
        bench.found()


def test_a_damaged_database_file_is_said_to_be_damaged(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for site in fresh_site(request, tmp_path, "sqlite"):
        settings = load_settings(home=tmp_path / "home", database_url=site.url)
        prepare_root(settings.films, known=False)
        Store(settings.store)
        with closing(sqlite3.connect(site.engine.url.database or "")) as connection:
            connection.execute("UPDATE model SET id = id + 100")
            connection.execute(
                "INSERT INTO model_event (model_id, event, who, why, at) VALUES (1, 'ACTIVATED', '', '', 0)"
            )
            connection.commit()
        database = connect(settings)
        (row,) = fsck(settings, database).rows()
        assert row["finding"] == "DATABASE_DAMAGED"
        assert set(row["named"]) == {"a row of model_event names no row of model"}
        database.dispose()


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
def test_the_verb_ends_with_1_while_something_is_left_to_do(bench: Bench) -> None:
    bench.judged(1)
    env = {"AUSCULT_HOME": str(bench.settings.home), "AUSCULT_DATABASE_URL": bench.site.url}

    def told(*options: str) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(app, ["fsck", "--json", *options], env=env, catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)

    assert told()[0] == 0
    bench.store.remove(bench.key(1))
    code, document = told("--repair")
    assert (code, document["left"]) == (1, 1)
