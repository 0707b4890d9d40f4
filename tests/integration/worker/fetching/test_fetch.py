"""Studies fetched from dcmtk's dcmqrscp: found by each selector, moved or got, complete or said not to be."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from contextlib import contextmanager
from datetime import date
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_io.client.peer import parse_peer
from dicom_io.client.query import STUDY_ROOT_FIND, StudyKeys
from dicom_io.client.retrieve import STUDY_ROOT_GET
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.database import sqlite_template
from tests.support.listening import LOCAL
from tests.support.objects import CR, new_uid
from tests.support.pacs import pacs
from tests.support.running import command
from tests.support.sites import make_study, new_site
from tests.support.waiting import wait_until
from worker.database import open_database
from worker.db.filing import disputes
from worker.fetching.fetch import CannotFetch, Fetch, Listing
from worker.fetching.questions import Question, Wanted, questions
from worker.fetching.study import FetchPlan
from worker.intake.filing import Filing, StudyClock
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pacs import Pacs
    from tests.support.peers import Peers
    from tests.support.sites import MadeStudy

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.integration, pytest.mark.acceptance]


@pytest.fixture(scope="module")
def archive(dcmtk: Peers) -> Iterator[tuple[Pacs, list[MadeStudy]]]:
    """Four studies of January 2024, and a destination that nothing listens at."""
    with pacs(dcmtk, {"NOBODY": 9}) as server:
        made = [
            server.keep(
                2 - number % 2,
                AccessionNumber=f"A{number}",
                PatientID=f"P{number // 2}",
                StudyDate=f"2024010{number + 1}",
                StudyTime="101500",
                Modality="DX" if number else "CR",
            )
            for number in range(4)
        ]
        yield server, made


@pytest.fixture(autouse=True)
def _home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder whose embedded database is migrated already."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy(sqlite_template(request), home / "auscult.db")
    monkeypatch.setenv("AUSCULT_HOME", str(home))


@contextmanager
def fetching(address: str, method: Literal["get", "move"] = "get", **settings: Any) -> Iterator[Fetch]:
    """A fetch in this process, by C-GET or to a listener elsewhere."""
    loaded = load_settings(model="notebook-1", retry_backoff_s=0.0, **settings)
    database = open_database(loaded)
    yield Fetch(loaded, database, FetchPlan(parse_peer(address), method, "ELSEWHERE"), Event())
    database.dispose()


def fates(document: Any) -> dict[str, str]:
    return {line["study_uid"]: line["fate"] for line in document["studies"]}


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(accession_numbers=("A1", "A3")), {1, 3}),
        (Wanted(patient_ids=("P0",)), {0, 1}),
        (Wanted(date_from=date(2024, 1, 2), date_to=date(2024, 1, 3)), {1, 2}),
        (Wanted(date_from=date(2024, 1, 1), date_to=date(2024, 1, 9), modalities=("CR",)), {0}),
        (Wanted(patient_ids=("P1",), date_from=date(2024, 1, 4)), {3}),
        (Wanted(accession_numbers=("A9",)), set()),
    ],
)
def test_each_selector_finds_its_studies_and_no_others(
    wanted: Wanted, numbers: set[int], archive: tuple[Pacs, list[MadeStudy]]
) -> None:
    server, made = archive
    with fetching(server.address) as fetch:
        listing = fetch.ask(questions(wanted))
    assert {study.study_uid for study in listing.studies} == {made[number].uid for number in numbers}
    assert listing.not_found == (("accession_number A9",) if not numbers else ())
    assert listing.cut_off == ()


def test_a_study_is_found_by_its_uid_and_brought_once(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    with fetching(server.address) as fetch:
        listing = fetch.ask(questions(Wanted(study_uids=(made[0].uid,))))
        assert fetch.compare(listing.studies[0]).as_dict()["images"] == "0 of 2"
        (line,) = fetch.fetch(listing).lines
        assert (line.fate, line.held, line.expected) == ("COMPLETE", 2, 2)
        (line,) = fetch.fetch(listing).lines
        assert line.fate == "PRESENT"
        assert fetch.queued() == 2


def test_a_study_whose_originals_are_gone_is_fetched_again(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    with fetching(server.address) as fetch:
        listing = fetch.ask(questions(Wanted(study_uids=(made[1].uid,))))
        fetch.fetch(listing)
        settings = load_settings()
        shutil.rmtree(settings.store)
        (line,) = fetch.fetch(listing).lines
        assert (line.fate, line.held) == ("COMPLETE", 1)
        assert sum(path.is_file() for path in settings.store.rglob("*.dcm")) == 1


@pytest.mark.parametrize("changes", [{"StudyInstanceUID": "1.2.3"}, {"PatientID": "OTHER"}])
def test_a_conflict_ends_when_the_pacs_answers_for_one_side_alone(
    archive: tuple[Pacs, list[MadeStudy]], changes: dict[str, str], tmp_path: Path
) -> None:
    server, made = archive
    with fetching(server.address) as fetch:
        listing = fetch.ask(questions(Wanted(study_uids=(made[1].uid,))))
        fetch.fetch(listing)
        stranger = dcmread(made[1].files[0])
        for keyword, value in {**changes, "PixelData": bytes(len(stranger.PixelData))}.items():
            setattr(stranger, keyword, value)
        stranger.save_as(tmp_path / "stranger.dcm")
        settings = load_settings()
        database = open_database(settings)
        filing = Filing(database.sessions, Store(settings.store), StudyClock(0, 1000), source="STRANGER")
        filing.file(tmp_path / "stranger.dcm", "0" * 32)
        with database.reads() as session:
            (conflict,) = disputes.conflicts(session)
        assert (conflict["held_study_uid"], conflict["resolution"]) == (made[1].uid, None)
        fetch.fetch(listing)
        with database.reads() as session:
            assert disputes.conflicts(session) == []
            ended = disputes.conflict(session, conflict["conflict_id"])
        assert (ended["resolution"], ended["who"]) == ("HELD", "fetch OLDPACS")
        assert ended["claim_ai_status"] != "FINAL"
        database.dispose()


def test_got_studies_stand_in_sql_behind_live_work(archive: tuple[Pacs, list[MadeStudy]], migrated_url: str) -> None:
    server, made = archive
    with new_site(database_url=migrated_url) as site:
        document = site.json("fetch", server.address, "--from", "2024-01-01", "--to", "2024-01-04", "--method", "get")
        assert fates(document) == {study.uid: "COMPLETE" for study in made}
        assert {(row["study_uid"], row["n_images"]) for row in site.query("SELECT * FROM study")} == {
            (study.uid, len(study.files)) for study in made
        }
        assert {row["priority"] for row in site.query("SELECT priority FROM task")} == {50}
        assert list((site.home / "fetch" / "new").iterdir()) == []


def test_moved_studies_come_in_by_our_own_listener(dcmtk: Peers, migrated_url: str) -> None:
    with (
        new_site(database_url=migrated_url) as site,
        site.running("listen") as running,
        pacs(dcmtk, {"AUSCULT": running.port}) as server,
    ):
        made = [server.keep(2, AccessionNumber="A1"), server.keep(1, AccessionNumber="A2")]
        document = site.json("fetch", server.address, "--accession", "A1", "--accession", "A2")
        assert fates(document) == {study.uid: "COMPLETE" for study in made}
        rows = site.query("SELECT calling_aet, count(*) AS n FROM image GROUP BY calling_aet")
        assert [(row["calling_aet"], row["n"]) for row in rows] == [("OLDPACS", 3)]
        again = site.json("fetch", server.address, "--accession", "A1", "--accession", "A2")
        assert again["counts"] == {"PRESENT": 2}


def test_a_dry_run_lists_what_would_come_and_fetches_nothing(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    with new_site() as site:
        document = site.json("fetch", server.address, "--accession", "A1", "--dry-run")
        (line,) = document["studies"]
        assert (line["study_uid"], line["accession_number"], line["study_date"]) == (made[1].uid, "A1", "2024-01-02")
        assert (line["fate"], line["images"]) == ("NOT_TRIED", "0 of 1")
        assert site.query("SELECT * FROM study") == []


def test_a_list_with_bad_lines_fetches_the_good_ones_and_ends_with_1(
    archive: tuple[Pacs, list[MadeStudy]], tmp_path: Path
) -> None:
    server, made = archive
    path = tmp_path / "list.csv"
    path.write_text("\ufeff# backfill\naccession_number;note\nA1;x\n;nothing\nA*;x\nA9;x\n", encoding="utf-8")
    with new_site() as site:
        done = site.run("fetch", server.address, "--list", path, "--method", "get", "--json", check=1)
    document = json.loads(done.stdout)
    assert fates(document) == {made[1].uid: "COMPLETE"}
    assert document["not_found"] == ["line 6"]
    assert "line 4: no accession_number" in done.stderr
    assert "line 5: accession_number with a wildcard" in done.stderr


def test_what_a_killed_fetch_left_behind_is_registered_by_the_next_one_whichever_its_method(tmp_path: Path) -> None:
    study = make_study(tmp_path, 1)
    Spool(tmp_path / "home" / "fetch").put_file(study.files[0])
    with fetching(f"PACS@{LOCAL}:1", "move") as fetch:
        assert fetch.fetch(Listing((), (), ())).lines == []
        assert fetch.queued() == 1


def test_a_fetch_that_was_killed_goes_on_where_it_was(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    arguments = ["fetch", server.address, "--from", "2024-01-01", "--to", "2024-01-04", "--method", "get"]
    with new_site() as site:
        site.run("migrate")
        # So slow that the first study is in and the second is waited for.
        slow = subprocess.Popen(
            command(*arguments, "--per-minute", "1"),
            env=site.environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: site.query("SELECT * FROM study WHERE priority = 50"), 60, "the first study")
        slow.kill()
        slow.wait(timeout=30)
        before = site.query("SELECT id FROM image")
        assert len(before) < sum(len(study.files) for study in made)
        document = site.json(*arguments)
        assert document["counts"] == {"PRESENT": 1, "COMPLETE": 3}
        assert len(site.query("SELECT id FROM image")) == sum(len(study.files) for study in made)


def test_ctrl_c_ends_after_the_study_and_says_how_to_go_on(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, _ = archive
    arguments = ["fetch", server.address, "--from", "2024-01-01", "--to", "2024-01-04", "--method", "get"]
    with new_site() as site:
        site.run("migrate")
        slow = subprocess.Popen(
            command(*arguments, "--per-minute", "1", "--json"),
            env=site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: site.query("SELECT * FROM study WHERE priority = 50"), 60, "the first study")
        slow.send_signal(signal.SIGINT)
        out, err = slow.communicate(timeout=30)
    assert slow.returncode == 1
    assert json.loads(out)["counts"] == {"COMPLETE": 1, "NOT_TRIED": 3}
    assert "the same command again continues" in err


def test_a_study_of_which_the_pacs_lost_a_file_is_reported_incomplete(dcmtk: Peers) -> None:
    with new_site() as site, site.running("listen") as running, pacs(dcmtk, {"AUSCULT": running.port}) as server:
        study = server.keep(2, AccessionNumber="A1")
        next((server.folder / "db").glob("DX*")).unlink()
        document = json.loads(site.run("fetch", server.address, "--accession", "A1", "--json", check=1).stdout)
    (line,) = document["studies"]
    assert (line["study_uid"], line["fate"], line["images"]) == (study.uid, "INCOMPLETE", "1 of 2")
    assert "could not send every object" in line["note"]


def test_a_destination_the_pacs_does_not_know_is_explained(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, _ = archive
    with new_site() as site:
        done = site.run("fetch", server.address, "--accession", "A1", "--destination", "ELSEWHERE", "--json", check=1)
    (line,) = json.loads(done.stdout)["studies"]
    assert line["fate"] == "REFUSED"
    assert "does not know the move destination" in line["note"]


def test_a_wrong_destination_ends_the_fetch_at_the_third_study(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    arguments = ["fetch", server.address, "--from", "2024-01-01", "--to", "2024-01-04", "--destination", "ELSEWHERE"]
    with new_site() as site:
        done = site.run(*arguments, "--json", check=1)
    assert json.loads(done.stdout)["counts"] == {"REFUSED": 3, "NOT_TRIED": len(made) - 3}
    assert "nothing came of 3 studies in a row for the same cause" in done.stderr
    assert "enter our AE title with this machine's address and port there" in done.stderr


@pytest.mark.parametrize(
    ("statuses", "fates"),
    [
        ([0xA701, 0xA900, 0xA701, 0xA701, None, 0xA701, 0xA701], [*["REFUSED"] * 4, "COMPLETE", *["REFUSED"] * 2]),
        ([0xA701, None, 0xC000, 0xC000, 0xC000, 0xC000], ["REFUSED", "COMPLETE", *["REFUSED"] * 3, "NOT_TRIED"]),
        (["lost"] * 4, ["INCOMPLETE"] * 3 + ["NOT_TRIED"]),
    ],
)
def test_three_failures_alike_in_a_row_end_a_fetch_and_what_came_is_kept(
    statuses: list[int | str | None], fates: list[str], tmp_path: Path
) -> None:
    films = [dcmread(make_study(tmp_path, 1, SOPClassUID=CR).files[0]) for _ in range(len(statuses))]
    by_uid = {str(film.StudyInstanceUID): (film, status) for film, status in zip(films, statuses, strict=True)}

    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        for uid in by_uid:
            yield found(StudyInstanceUID=uid, PatientID="P1", NumberOfStudyRelatedInstances="1")

    def send(event: Any) -> Iterator[Any]:
        film, status = by_uid[str(event.identifier.StudyInstanceUID)]
        if status == "lost":
            event.assoc.abort()
        yield 1
        yield (status, None) if status else (0xFF00, film)

    with careless_pacs(answer, send) as address, fetching(address, max_attempts=1) as fetch:
        report = fetch.fetch(fetch.ask([Question(StudyKeys(patient_id="P1"))]))
        assert fetch.queued() == fates.count("COMPLETE")
    assert [line.fate for line in report.lines] == fates
    assert bool(report.problem) == ("NOT_TRIED" in fates)


def test_without_a_listener_a_move_does_not_begin(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, _ = archive
    with new_site(port="1") as site:
        done = site.run("fetch", server.address, "--accession", "A1", check=1)
    assert "nothing listens on 127.0.0.1 port 1" in done.stderr


def test_a_pacs_that_is_down_is_tried_again_and_named() -> None:
    with fetching(f"PACS@{LOCAL}:1") as fetch, pytest.raises(CannotFetch, match="nothing listens on that port"):
        fetch.ask([Question(StudyKeys(accession_number="A1"))])


def test_a_pacs_that_goes_away_ends_the_fetch_and_the_rest_is_not_tried(dcmtk: Peers) -> None:
    with pacs(dcmtk, {}) as server:
        for number in range(2):
            server.keep(1, AccessionNumber=f"A{number}")
        with fetching(server.address) as fetch:
            listing = fetch.ask(questions(Wanted(accession_numbers=("A0", "A1"))))
            server.stop()
            report = fetch.fetch(listing)
    assert [line.fate for line in report.lines] == ["NOT_TRIED", "NOT_TRIED"]
    assert "nothing listens" in report.problem


def test_no_id_of_a_patient_is_in_the_log(archive: tuple[Pacs, list[MadeStudy]]) -> None:
    server, made = archive
    with new_site() as site:
        done = site.run("fetch", server.address, "--patient-id", "P1", "--method", "get")
        logs = done.stderr
        assert len(site.query("SELECT * FROM study")) == 2
    assert "P1" not in logs
    assert "Doe" not in logs
    assert made[2].uid not in logs


@contextmanager
def careless_pacs(on_find: Any, on_get: Any = None) -> Iterator[str]:
    """A PACS that answers C-FIND and C-GET as the test says."""
    ae = AE("CARELESS")
    ae.add_supported_context(STUDY_ROOT_FIND)
    ae.add_supported_context(STUDY_ROOT_GET)
    ae.add_supported_context(CR, scu_role=True, scp_role=True)
    server = ae.start_server(
        (LOCAL, 0), block=False, evt_handlers=[(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get or on_find)]
    )
    assert server is not None
    try:
        yield f"CARELESS@{LOCAL}:{server.server_address[1]}"
    finally:
        server.shutdown()


def found(**elements: Any) -> tuple[int, Dataset]:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return 0xFF00, ds


def test_the_second_ctrl_c_cancels_the_study_at_the_pacs() -> None:
    begun, cancelled = Event(), Event()
    uid = new_uid()

    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield found(StudyInstanceUID=uid, NumberOfStudyRelatedInstances="1")

    def never_send(event: Any) -> Iterator[Any]:
        yield 1
        begun.set()
        wait_until(lambda: event.is_cancelled, 30, "C-CANCEL")
        cancelled.set()
        yield 0xFE00, None

    with careless_pacs(answer, never_send) as address, new_site() as site:
        arguments = command("fetch", address, "--study-uid", uid, "--method", "get")
        run = subprocess.Popen(arguments, env=site.environment, stderr=subprocess.PIPE, text=True)
        assert begun.wait(60)
        assert run.stderr is not None
        run.send_signal(signal.SIGINT)
        assert wait_until(lambda: "Ctrl-C again" in run.stderr.readline(), 30, "an answer to Ctrl-C")  # type: ignore[union-attr]
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
        assert cancelled.wait(30)
    assert run.returncode == 130


def test_answers_that_do_not_match_are_dropped_whatever_the_pacs_thinks() -> None:
    right, wrong = new_uid(), new_uid()

    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield found(StudyInstanceUID=wrong, AccessionNumber="A2", ModalitiesInStudy="DX")
        yield found(StudyInstanceUID=right, AccessionNumber="A1", ModalitiesInStudy=["CT", "DX"])
        yield found(StudyInstanceUID=new_uid(), AccessionNumber="A1", ModalitiesInStudy="CT")
        yield found(StudyInstanceUID="not a uid", AccessionNumber="A1", ModalitiesInStudy="DX")

    with careless_pacs(answer) as address, fetching(address) as fetch:
        listing = fetch.ask(questions(Wanted(accession_numbers=("A1",), modalities=("DX",))))
    assert [study.study_uid for study in listing.studies] == [right]


@pytest.mark.parametrize(
    ("last", "days"), [(date(2024, 1, 5), ("20240105",)), (None, ("20240105", "20240106"))], ids=["range", "open end"]
)
def test_a_pacs_that_ignores_the_dates_does_not_get_its_surplus_fetched(
    last: date | None, days: tuple[str, ...]
) -> None:
    uids = {day: new_uid() for day in ("20231231", "20240105", "20240106", "")}

    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        for day, uid in uids.items():
            yield found(StudyInstanceUID=uid, StudyDate=day, PatientID="P1", NumberOfStudyRelatedInstances="1")

    wanted = Wanted(patient_ids=("P1",), date_from=date(2024, 1, 1), date_to=last)
    with careless_pacs(answer) as address, fetching(address) as fetch:
        listing = fetch.ask(questions(wanted))
    # One without a date cannot be judged, so the PACS is believed.
    assert {study.study_uid for study in listing.studies} == {uids[day] for day in (*days, "")}


def test_a_pacs_that_sends_another_study_by_get_is_said_to_have_done_so(tmp_path: Path) -> None:
    asked, other = new_uid(), dcmread(make_study(tmp_path, 1, SOPClassUID=CR).files[0])

    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield found(StudyInstanceUID=asked, NumberOfStudyRelatedInstances="1")

    def send(_: Any) -> Iterator[Any]:
        yield 1
        yield 0xFF00, other

    with careless_pacs(answer, send) as address, fetching(address) as fetch:
        (line,) = fetch.fetch(fetch.ask([Question(StudyKeys(study_uid=asked))])).lines
    assert (line.fate, line.held) == ("INCOMPLETE", 0)
    assert line.note == "The PACS says that it has sent 1, but nothing of this study has come: did it send another one?"


@pytest.mark.parametrize("status", [0xA700, 0xB001, 0xFE00])
def test_a_day_that_the_pacs_breaks_off_is_asked_for_by_the_hour(status: int) -> None:
    uids = [new_uid() for _ in range(3)]
    asked = []

    def answer(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        time = str(event.identifier.StudyTime)
        asked.append(time)
        hours = [int(time[:2])] if time else [8, 9, 10]
        for hour, uid in zip((8, 9, 10), uids, strict=True):
            if hour in hours:
                yield found(StudyInstanceUID=uid, NumberOfStudyRelatedInstances="1")
            if not time:
                yield status, None
                return

    with careless_pacs(answer) as address, fetching(address) as fetch:
        listing = fetch.ask(questions(Wanted(date_from=date(2024, 1, 5), date_to=date(2024, 1, 5))))
    assert {study.study_uid for study in listing.studies} == set(uids)
    assert listing.cut_off == ()
    assert len(asked) == 25


def test_a_pacs_that_refuses_the_question_is_quoted() -> None:
    def answer(_: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield 0xA900, None

    with careless_pacs(answer) as address, fetching(address) as fetch, pytest.raises(CannotFetch, match="0xA900"):
        fetch.ask([Question(StudyKeys(accession_number="A1"))])
