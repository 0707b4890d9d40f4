"""``auscult quarantine``: each entry with its reason; put back and filed, or deleted on the record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.quarantine import Note
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.database import Site, fresh_site
from tests.support.objects import CR, EXPLICIT_LE, Made
from worker.batches.ingest import ingest
from worker.cli.command import app
from worker.database import connect
from worker.errors import UsageError
from worker.intake import quarantine
from worker.intake.commitment import NOT_TAKEN
from worker.intake.filing import Filing, StudyClock
from worker.intake.folders import count_objects, waiting_folder
from worker.intake.registrar import TRIES_ALONE, Registrar
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from worker.settings import Settings

pytestmark = pytest.mark.integration


@dataclass
class Bench:
    """A site with a spool that its registrar works on."""

    settings: Settings
    site: Site
    spool: Spool
    store: Store
    now: float = 0.0

    def registrar(self) -> Registrar:
        filing = Filing(self.site.sessions, self.store, StudyClock(0, 60_000))
        journal = Journal(self.settings.spool)
        return Registrar(self.spool, journal, self.site.sessions, lambda: filing, lambda: None, clock=lambda: self.now)

    def turns(self, registrar: Registrar, count: int) -> None:
        for _ in range(count):
            self.now += 100.0
            try:
                registrar.turn()
            except Exception:  # noqa: BLE001 - the loop's own rule
                continue

    def put(self, made: Made) -> str:
        """An object as the listener writes it."""
        uids = ObjectUids(CR, made.sop_uid, EXPLICIT_LE)
        sender = Sender("CT_ROOM_3", "AUSCULT", "192.0.2.7")
        return self.spool.put([encode_file_meta(uids, sender, "AUSCULT"), made.dataset()])

    def poisoned(self, made: Made | None = None) -> tuple[str, Registrar]:
        """An object that the database refuses, in quarantine; and the registrar that put it there."""
        self.site.change("CREATE TRIGGER refuse BEFORE INSERT ON image BEGIN SELECT RAISE(ABORT, 'refused'); END")
        key, registrar = self.put(made or Made()), self.registrar()
        self.turns(registrar, TRIES_ALONE)
        self.site.change("DROP TRIGGER refuse")
        assert self.spool.set_aside.count() == 1
        return key, registrar

    def run(self, *arguments: str, code: int = 0) -> Result:
        env = {"AUSCULT_HOME": str(self.settings.home), "AUSCULT_DATABASE_URL": self.site.url, "COLUMNS": "200"}
        done = CliRunner().invoke(app, ["quarantine", *arguments], env=env)
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def events(self) -> list[dict[str, Any]]:
        rows = self.site.rows("SELECT act, action, who, sop_uid, detail FROM audit_event WHERE act LIKE 'QUARANTINE%'")
        return [row | {"detail": json.loads(row["detail"])} for row in rows]


@pytest.fixture(params=["sqlite"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    for site in fresh_site(request, tmp_path):
        settings = load_settings(home=tmp_path / "home", database_url=site.url)
        yield Bench(settings, site, Spool(settings.spool), Store(settings.store))


def test_the_list_says_why_when_who_and_what_and_names_no_patient(bench: Bench) -> None:
    made = Made()
    key, _ = bench.poisoned(made)
    printed = bench.run("list", "--json").stdout
    (row,) = json.loads(printed)
    assert (row["key"], row["spool"], row["reason"], row["cause"]) == (
        key, "listener", "REGISTRATION_FAILED", "IntegrityError",
    )  # fmt: skip
    assert (row["tries"], row["calling_aet"], row["peer"], row["sop_uid"]) == (
        TRIES_ALONE, "CT_ROOM_3", "dicom://192.0.2.7", made.sop_uid,
    )  # fmt: skip
    assert row["size_bytes"] == bench.spool.set_aside.entries()[0].size
    assert "patient" not in printed.lower()
    table = bench.run("list").output
    assert key[:12] in table
    assert "IntegrityError" in table


def test_what_an_earlier_release_set_aside_and_what_is_no_object_are_listed_too(bench: Bench) -> None:
    old = bench.put(Made())
    bench.spool.quarantine(old)
    (bench.settings.spool / "quarantine" / ("0" * 32)).mkdir()
    damaged = bench.spool.put(
        [encode_file_meta(ObjectUids(CR, "1.2.3", EXPLICIT_LE), Sender("PACS", "AUSCULT", "192.0.2.8"), "AUSCULT")]
    )
    bench.spool.quarantine(damaged)
    asked = Spool(waiting_folder(bench.settings))
    request = asked.put([b"{}"])
    asked.quarantine(request, Note.of(NOT_TAKEN, OSError()))
    rows = {row["key"]: row for row in json.loads(bench.run("list", "--json").stdout)}
    assert [rows[key]["reason"] for key in (old, "0" * 32, damaged, request)] == [*["UNKNOWN"] * 3, NOT_TAKEN]
    assert rows["0" * 32]["size_bytes"] is None
    assert (rows[damaged]["sop_uid"], rows[damaged]["calling_aet"]) == ("1.2.3", "PACS")
    assert rows[request]["spool"] == "commitment"
    assert count_objects(bench.settings) == 3


def test_a_released_object_is_filed_by_the_running_listener_under_its_key(bench: Bench) -> None:
    key, registrar = bench.poisoned()
    bench.run("release", key[:8], "--who", "pacs.admin", "--why", "trigger dropped")
    bench.turns(registrar, 1)
    assert bench.site.rows("SELECT store_key FROM image") == [{"store_key": key}]
    assert json.loads(bench.run("list", "--json").stdout) == []
    (event,) = bench.events()
    assert (event["act"], event["action"], event["who"]) == ("QUARANTINE_RELEASED", "U", "pacs.admin")
    assert (event["detail"]["key"], event["detail"]["why"]) == (key, "trigger dropped")


def test_a_released_object_waits_for_a_listener_that_is_stopped(bench: Bench) -> None:
    key, _ = bench.poisoned()
    bench.run("release", "--all")
    assert bench.spool.keys() == [key]
    bench.turns(bench.registrar(), 1)
    assert bench.site.rows("SELECT store_key FROM image") == [{"store_key": key}]


def test_an_object_that_fails_again_is_back_with_the_new_reason(bench: Bench) -> None:
    key, registrar = bench.poisoned()
    bench.run("release", key)
    bench.site.change("CREATE TRIGGER refuse BEFORE INSERT ON image BEGIN SELECT RAISE(ABORT, 'refused'); END")
    bench.turns(registrar, TRIES_ALONE)
    (row,) = json.loads(bench.run("list", "--json").stdout)
    assert (row["key"], row["tries"]) == (key, TRIES_ALONE)


def test_a_discard_needs_a_reason_and_a_yes_and_is_on_record(bench: Bench) -> None:
    made = Made()
    key, registrar = bench.poisoned(made)
    bench.run("discard", key, code=2)
    with pytest.raises(UsageError):
        raise bench.run("discard", key, "--why", "test object", code=1).exception or AssertionError
    assert bench.spool.quarantined() == 1
    bench.run("discard", key, "--why", "test object", "--yes")
    assert bench.spool.quarantined() == 0
    (event,) = bench.events()
    assert (event["act"], event["action"], event["sop_uid"]) == ("QUARANTINE_DISCARDED", "D", made.sop_uid)
    assert event["detail"]["why"] == "test object"
    bench.turns(registrar, 1)
    assert bench.site.rows("SELECT id FROM image") == []


@pytest.mark.parametrize("key", ["../../x", "", "0", "f" * 32])
def test_a_key_that_names_nothing_is_an_error_and_no_path(key: str, bench: Bench) -> None:
    bench.poisoned()
    with pytest.raises(UsageError, match="names no entry"):
        quarantine.named(bench.settings, [key])


def test_status_counts_what_is_in_quarantine_also_of_an_ingest(bench: Bench) -> None:
    other = Spool(bench.settings.home / "ingest")
    other.quarantine(other.put([b"x"]))
    done = CliRunner().invoke(
        app,
        ["status", "--json"],
        env={"AUSCULT_HOME": str(bench.settings.home), "AUSCULT_DATABASE_URL": bench.site.url},
    )
    (probe,) = [probe for probe in json.loads(done.stdout)["probes"] if probe["probe"] == "QUARANTINE"]
    assert (probe["level"], probe["value"]) == ("WARN", 1)
    assert "auscult quarantine list" in probe["sentence"]


def test_an_ingest_removes_what_a_killed_one_was_writing(bench: Bench, tmp_path: Path) -> None:
    spool = Spool(bench.settings.home / "ingest")
    (spool.root / "tmp" / ("0" * 32)).write_bytes(b"half")
    database = connect(bench.settings)
    try:
        (tmp_path / "a.txt").write_text("not DICOM")
        assert ingest(bench.settings, database, [tmp_path / "a.txt"]).registered == 0
    finally:
        database.dispose()
    assert list((spool.root / "tmp").iterdir()) == []
