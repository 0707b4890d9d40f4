"""The registrar: spool to rows, in an order that loses nothing and counts nothing twice; real spool, store, database."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from dicom_io.header.digests import ReceivedDigests
from dicom_io.header.reader import pixels_sha256, read_object
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from dicom_io.reasons import Reason
from tests.support.objects import Made
from worker.database import Database, connect
from worker.db.read.queries import settle
from worker.db.schema.engine import in_transaction
from worker.intake import registrar as registrar_module
from worker.intake.filing import AT_ONCE, Filing, StudyClock
from worker.intake.registrar import Registrar
from worker.models.active import ensure_active_model
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@dataclass
class Bench:
    settings: Settings
    database: Database
    spool: Spool
    store: Store
    journal: Journal
    registered: int = 0

    def registrar(self) -> Registrar:
        """A registrar as a freshly started listener has it."""
        return Registrar(self.spool, self.journal, self.database.sessions, self.filing, self._count)

    def filing(self) -> Filing:
        ensure_active_model(self.settings, self.database)
        return Filing(self.database.sessions, self.store, StudyClock(1000, 60_000))

    def put(self, made: Made, folder: Path) -> str:
        return self.spool.put_file(made.write(folder / f"{made.sop_uid}.dcm"))

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.database.reads() as session:
            return [tuple(row) for row in session.execute(text(sql))]

    def settled(self) -> list[tuple[object, ...]]:
        """The states of the studies once those are settled that can be."""
        with self.database.sessions.begin() as session:
            settle(session)
        return self.rows("SELECT state FROM study")

    def _count(self) -> None:
        self.registered += 1


@pytest.fixture
def bench(migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url)
    database = connect(settings)
    spool = Spool(settings.spool)
    yield Bench(settings, database, spool, Store(settings.store), Journal(settings.spool))
    database.dispose()


def test_an_object_becomes_rows_and_leaves_the_spool(bench: Bench, tmp_path: Path) -> None:
    made = Made()
    key = bench.put(made, tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT sop_uid, store_key, rx_count FROM image") == [(made.sop_uid, key, 1)]
    assert bench.rows("SELECT state, attempts FROM task") == [("PENDING", 0)]
    assert bench.store.exists(key)
    assert bench.spool.keys() == []
    assert bench.registered == 1


def test_what_was_hashed_while_it_was_received_is_not_hashed_again_unless_it_is_unknown(
    bench: Bench, tmp_path: Path
) -> None:
    made, other = Made(), Made()
    key, unknown = bench.put(made, tmp_path), bench.put(other, tmp_path)
    path = bench.spool.path(key)
    size, pixels = len(made.dataset()), made.pixel_bytes
    # Not what the file has, so that the row shows where it comes from.
    bench.spool.receipts.note(key, ReceivedDigests("d" * 64, "e" * 64, size, size - pixels, pixels))
    before = read_object(path)[1], read_object(bench.spool.path(unknown))[1]
    bench.registrar().turn()
    found = bench.rows("SELECT sha256, pixel_sha256, film_header_sha256 FROM image ORDER BY id")
    assert found[0] == ("d" * 64, "e" * 64, before[0].film_header)
    assert found[1] == (before[1].dataset, before[1].pixels, before[1].film_header)
    assert bench.spool.receipts.of(key) is None


@pytest.mark.parametrize("is_corrected", [True, False])
def test_a_film_that_is_on_record_by_a_sha256_of_its_pixels_is_recognised(
    bench: Bench, tmp_path: Path, *, is_corrected: bool
) -> None:
    made = Made(changes={0x00100020: (b"LO", b"WRONG")})
    path = bench.spool.path(bench.put(made, tmp_path))
    by_sha256 = pixels_sha256(path)
    bench.registrar().turn()
    assert str(bench.rows("SELECT pixel_sha256 FROM image")[0][0]).startswith("blake3:")
    with bench.database.sessions.begin() as session:
        # As the release before wrote it.
        session.execute(text("UPDATE image SET pixel_sha256 = :old"), {"old": by_sha256})
    pixels = bytes(made.pixel_bytes) if is_corrected else b"\1" * made.pixel_bytes
    changes = {0x00100020: (b"LO", b"RIGHT"), 0x7FE00010: (b"OW", pixels)}
    bench.put(replace(made, changes=changes), tmp_path)
    bench.registrar().turn()
    found = bench.rows("SELECT pixel_sha256 FROM image ORDER BY id")
    studies = bench.rows("SELECT patient_id FROM study WHERE merged_into_id IS NULL ORDER BY side")
    conflicts = bench.rows("SELECT kind FROM conflict")
    if is_corrected:
        # Both by the same hash, so that a third version is compared with both.
        assert found == [(by_sha256,), (by_sha256,)]
        assert (studies, conflicts) == ([("RIGHT",)], [])
    else:
        assert found == [(by_sha256,), (sha256(pixels).hexdigest(),)]
        assert (studies, len(conflicts)) == ([("WRONG",), ("RIGHT",)], 1)


def test_the_same_bytes_are_known_whichever_hash_of_their_pixels_is_on_record(bench: Bench, tmp_path: Path) -> None:
    made = Made()
    bench.put(made, tmp_path)
    bench.registrar().turn()
    with bench.database.sessions.begin() as session:
        session.execute(text("UPDATE image SET pixel_sha256 = :old"), {"old": "a" * 64})
    bench.put(made, tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT rx_count, pixel_sha256 FROM image") == [(2, "a" * 64)]


def test_a_burst_wakes_the_dispatcher_now_and_then_and_not_for_each_object(bench: Bench, tmp_path: Path) -> None:
    for _ in range(AT_ONCE + 1):
        bench.put(Made(), tmp_path)
    bench.registrar().turn()
    assert len(bench.rows("SELECT id FROM task")) == AT_ONCE + 1
    assert bench.registered == 2


def test_an_entry_left_by_a_crash_after_the_commit_is_received_once(bench: Bench, tmp_path: Path) -> None:
    key = bench.put(Made(), tmp_path)
    # All that a registrar does before it dies: file and commit, but not remove the entry.
    bench.filing().file(bench.spool.path(key), key)
    bench.registrar().turn()
    assert bench.rows("SELECT store_key, rx_count FROM image") == [(key, 1)]
    assert len(bench.rows("SELECT id FROM task")) == 1
    assert bench.store.exists(key)
    assert bench.spool.keys() == []


def test_an_entry_left_by_a_crash_before_the_commit_is_registered(bench: Bench, tmp_path: Path) -> None:
    key = bench.put(Made(), tmp_path)
    bench.store.file(bench.spool.path(key), key)
    bench.registrar().turn()
    assert bench.rows("SELECT store_key, rx_count FROM image") == [(key, 1)]
    assert bench.store.exists(key)


def test_the_second_copy_of_the_same_bytes_goes_and_the_first_stays(bench: Bench, tmp_path: Path) -> None:
    made = Made()
    first, second = bench.put(made, tmp_path), bench.put(made, tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT store_key, rx_count FROM image") == [(first, 2)]
    assert bench.store.exists(first)
    assert not bench.store.exists(second)
    assert bench.spool.keys() == []


@pytest.mark.parametrize("damage", ["gone", "cut off", "another object"])
def test_the_second_copy_stays_where_the_first_is_not_what_sql_says(bench: Bench, tmp_path: Path, damage: str) -> None:
    made = Made()
    first = bench.put(made, tmp_path)
    bench.registrar().turn()
    original = bench.store.path(first)
    content = original.read_bytes()
    original.unlink()
    if damage == "cut off":
        original.write_bytes(content[:-100])
    elif damage == "another object":
        Made().write(original)
    second = bench.put(made, tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT store_key, rx_count FROM image") == [(second, 2)]
    assert bench.store.path(second).read_bytes() == content
    third = bench.put(made, tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT store_key FROM image") == [(second,)]
    assert not bench.store.exists(third)


def test_what_is_on_record_is_not_discarded_with_an_entry_that_fails_later(bench: Bench, tmp_path: Path) -> None:
    key = bench.put(Made(), tmp_path)
    filing = bench.filing()
    filing.file(bench.spool.path(key), key)
    filing.discard(key)
    assert bench.store.exists(key)


def test_an_original_on_record_stays_when_its_spool_entry_is_found_damaged(bench: Bench, tmp_path: Path) -> None:
    key = bench.put(Made(), tmp_path)
    bench.filing().file(bench.spool.path(key), key)
    # As on two file systems: what a power cut does to the entry, it does not do to the copy.
    bench.spool.path(key).unlink()
    bench.spool.path(key).write_bytes(bytes(4096))
    bench.registrar().turn()
    assert bench.store.exists(key)
    assert bench.spool.quarantined() == 1


def test_a_listener_that_cannot_register_anything_says_all_the_same_that_it_may_hold_objects(bench: Bench) -> None:
    registrar = bench.registrar()
    registrar.turn()
    registrar.close()
    until = bench.rows("SELECT registered_until_ms FROM inbox")
    again = bench.registrar()
    again.beat()
    assert bench.rows("SELECT registered_until_ms FROM inbox WHERE closed_at IS NULL") == until


def test_the_first_publication_is_synced_and_the_others_only_say_how_far_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut an inbox that was closed must not be closed still, while the spool holds what was acknowledged."""
    seen: list[bool] = []

    def noted(sessions: Any, work: Any, *, is_synced: bool = True) -> Any:
        seen.append(is_synced)
        return in_transaction(sessions, work, is_synced=is_synced)

    monkeypatch.setattr(registrar_module, "in_transaction", noted)
    registrar = bench.registrar()
    registrar.beat()
    registrar.turn()
    registrar._publish_s = 0.0
    registrar.turn()
    registrar.turn()
    assert seen == [True, True, False, False]


def test_a_listener_that_has_just_published_does_not_say_again_that_it_lives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrar = bench.registrar()
    registrar.turn()
    before = bench.rows("SELECT heartbeat_at FROM inbox")
    registrar.beat()
    assert bench.rows("SELECT heartbeat_at FROM inbox") == before
    later = time.monotonic() + registrar_module.PUBLISH_S[1]
    monkeypatch.setattr("worker.intake.registrar.time.monotonic", lambda: later)
    registrar.beat()
    assert bench.rows("SELECT heartbeat_at FROM inbox") > before


def test_an_ingested_file_is_not_said_to_come_from_the_sender_it_names(bench: Bench, tmp_path: Path) -> None:
    path = Made().write(tmp_path / "exported.dcm")
    ensure_active_model(bench.settings, bench.database)
    Filing(bench.database.sessions, bench.store, StudyClock(0, 1000), source="").file(path, "0" * 32)
    bench.put(Made(), tmp_path)
    bench.registrar().turn()
    assert bench.rows("SELECT source FROM receipt ORDER BY id") == [("",), ("TEST",)]


def test_what_cannot_be_read_is_set_aside_on_disk_and_on_record(bench: Bench, tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"this was never an object")
    key = bench.spool.put_file(broken)
    good = bench.put(Made(), tmp_path)
    registrar = bench.registrar()
    registrar.turn()
    registrar.turn()
    assert bench.rows("SELECT store_key FROM image") == [(good,)]
    assert bench.rows("SELECT reason, source FROM refused") == [(Reason.REGISTRATION_FAILED, "door")]
    assert any(key in path.name for path in (bench.settings.spool / "quarantine").iterdir())
    assert not bench.store.exists(key)


def test_a_store_that_fails_leaves_the_entry_in_the_spool(bench: Bench, tmp_path: Path) -> None:
    key = bench.put(Made(), tmp_path)
    blocked = bench.store.path(key).parent.parent
    blocked.write_bytes(b"a file where the store needs a folder")
    bench.registrar().turn()
    assert bench.spool.keys() == [key]
    blocked.unlink()
    bench.registrar().turn()
    assert bench.spool.keys() == []
    assert bench.rows("SELECT store_key FROM image") == [(key,)]


def test_it_publishes_that_nothing_is_left_only_when_nothing_is(bench: Bench, tmp_path: Path) -> None:
    bench.put(Made(), tmp_path)
    registrar = bench.registrar()
    registrar.turn()
    assert bench.rows("SELECT waiting, registered_until_ms FROM inbox") == [(1, 0)]
    registrar.turn()
    ((waiting, until),) = bench.rows("SELECT waiting, registered_until_ms FROM inbox")
    assert waiting == 0
    assert bench.rows(f"SELECT count(*) FROM study WHERE ready_at_ms - quiet_ms <= {until}") == [(1,)]


def test_that_entries_came_costs_no_publication_of_its_own_and_that_none_is_left_is_published_at_once(
    bench: Bench, tmp_path: Path
) -> None:
    registrar = bench.registrar()
    # Its time between two publications is longer than the test.
    registrar.watch(_NothingOpen(), quiet_ms=3_600_000)
    registrar._publish_s = 3600.0
    registrar.turn()
    before = bench.rows("SELECT waiting, registered_until_ms FROM inbox")
    bench.put(Made(), tmp_path)
    registrar.turn()
    assert bench.rows("SELECT waiting, registered_until_ms FROM inbox") == before
    registrar.turn()
    ((waiting, until),) = bench.rows("SELECT waiting, registered_until_ms FROM inbox")
    assert waiting == 0
    assert bench.rows(f"SELECT count(*) FROM study WHERE ready_at_ms - quiet_ms <= {until}") == [(1,)]
    # Nothing has changed since.
    registrar.turn()
    assert bench.rows("SELECT registered_until_ms FROM inbox") == [(until,)]


class _NothingOpen:
    def open_studies(self) -> frozenset[str]:
        return frozenset()


def test_what_lies_in_quarantine_holds_no_study(bench: Bench, tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"this was never an object")
    bench.spool.put_file(broken)
    registrar = bench.registrar()
    registrar.turn()
    registrar.turn()
    assert bench.rows("SELECT waiting FROM inbox WHERE registered_until_ms > 0") == [(0,)]


def test_an_orderly_end_with_an_empty_spool_is_noted_and_one_with_a_backlog_is_not(
    bench: Bench, tmp_path: Path
) -> None:
    registrar = bench.registrar()
    registrar.turn()
    key = bench.put(Made(), tmp_path)
    registrar.close()
    assert bench.rows("SELECT count(*) FROM inbox WHERE closed_at IS NULL") == [(1,)]
    bench.spool.remove(key)
    registrar.close()
    assert bench.rows("SELECT count(*) FROM inbox WHERE closed_at IS NULL") == [(0,)]


def test_a_spool_keeps_its_identity_over_restarts(bench: Bench) -> None:
    for _ in range(2):
        bench.registrar().turn()
    assert bench.rows("SELECT count(*) FROM inbox") == [(1,)]
    assert Spool(bench.settings.spool).uid() == bench.spool.uid()


def test_a_study_is_not_normal_while_an_acknowledged_film_of_it_waits_in_the_spool(
    bench: Bench, tmp_path: Path
) -> None:
    first = Made()
    bench.put(first, tmp_path)
    registrar = bench.registrar()
    registrar.turn()
    registrar.turn()
    with bench.database.sessions.begin() as session:
        session.execute(text("UPDATE study SET ready_at_ms = ready_at_ms - 900000, state = 'RECEIVING'"))
        session.execute(text("UPDATE inbox SET registered_until_ms = (SELECT ready_at_ms - 1 FROM study)"))
        session.execute(text("UPDATE task SET state = 'CANCELLED'"))
    key = bench.put(Made(study_uid=first.study_uid), tmp_path)
    # Of the two folders the inner one: keys of the same time share both, so that of the first film makes way.
    blocked = bench.store.path(key).parent
    aside = blocked.with_name("aside")
    blocked.rename(aside)
    blocked.write_bytes(b"a file where the store needs a folder")
    bench.registrar().turn()
    assert bench.settled() == [("RECEIVING",)]
    blocked.unlink()
    aside.rename(blocked)
    bench.registrar().turn()
    assert bench.rows("SELECT state, n_images FROM study") == [("RECEIVING", 2)]
