"""One entry that cannot be filed never stops the others: it waits apart, and is set aside when the fault is its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dicom_io.errors import SpoolError
from dicom_io.inbox import journal as journals
from dicom_io.inbox.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import MARKER, Store, StoreAway
from dicom_io.reasons import Reason
from tests.support.database import Site, fresh_site
from tests.support.objects import Made
from tests.support.permissions import permissions_hold
from worker.intake.filing import Filing, StudyClock
from worker.intake.registrar import MOST_IN_A_ROW, TRIES, TRIES_ALONE, Registrar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

ODD_KEY = "0" * 32


@dataclass
class Inbox:
    """A spool with its registrar, whose clock the test moves."""

    folder: Path
    site: Site
    spool: Spool
    store: Store
    journal: Journal
    now: list[float] = field(default_factory=lambda: [0.0])

    def registrar(self) -> Registrar:
        filing = Filing(self.site.sessions, self.store, StudyClock(0, 60_000))
        return Registrar(
            self.spool, self.journal, self.site.sessions, lambda: filing, lambda: None, clock=lambda: self.now[0]
        )

    def put(self, made: Made | None = None) -> str:
        made = made or Made()
        return self.spool.put_file(made.write(self.folder / f"{made.sop_uid}.dcm"))

    def entry(self, name: str = ODD_KEY) -> Path:
        """Where an entry lies that did not come by the spool's own hand, and stands before all others."""
        return self.spool.root / "new" / name

    def turns(self, registrar: Registrar, count: int) -> None:
        """Turns with time between them; errors end a turn, as they do in the loop."""
        for _ in range(count):
            self.now[0] += 100.0
            try:
                registrar.turn()
            except Exception:  # noqa: BLE001 - the loop's own rule
                continue

    @property
    def filed(self) -> set[str]:
        return {row["store_key"] for row in self.site.rows("SELECT store_key FROM image")}

    @property
    def quarantined(self) -> list[str]:
        return sorted(path.name for path in (self.spool.root / "quarantine").iterdir())


@pytest.fixture(params=["sqlite"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inbox]:
    for site in fresh_site(request, tmp_path):
        spool = Spool(tmp_path / "spool")
        yield Inbox(tmp_path, site, spool, Store(tmp_path / "store"), Journal(tmp_path / "spool"))


def folder(path: Path) -> None:
    path.mkdir()


def link_to_a_film(path: Path) -> None:
    path.symlink_to(Made().write(path.parents[2] / "elsewhere.dcm"))


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "nowhere")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def nothing_in_it(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("make", [folder, link_to_a_film, dangling_link, fifo, nothing_in_it])
def test_an_entry_that_is_no_object_is_set_aside_at_once(inbox: Inbox, make: Callable[[Path], None]) -> None:
    make(inbox.entry())
    good = [inbox.put(), inbox.put()]
    inbox.registrar().turn()
    assert inbox.filed == set(good)
    assert inbox.quarantined == [ODD_KEY]
    assert not inbox.store.exists(ODD_KEY)


def test_a_name_that_is_no_key_is_left_alone(inbox: Inbox) -> None:
    inbox.entry("restored by hand.dcm").write_bytes(b"x")
    good = inbox.put()
    inbox.registrar().turn()
    assert inbox.filed == {good}
    assert inbox.quarantined == []


def test_an_unreadable_entry_lets_later_ones_go_first_and_is_set_aside_in_the_end(inbox: Inbox) -> None:
    bad = inbox.put()
    inbox.spool.path(bad).chmod(0)
    good = [inbox.put() for _ in range(3)]
    registrar = inbox.registrar()
    with permissions_hold():
        registrar.turn()
        assert inbox.filed == set(good)
        assert (registrar.put_off, inbox.quarantined) == (1, [])
        inbox.turns(registrar, TRIES)
    assert inbox.quarantined == [bad]
    assert registrar.put_off == 0
    inbox.turns(registrar, 1)
    assert inbox.site.rows("SELECT reason FROM refused") == [{"reason": Reason.REGISTRATION_FAILED}]


def test_an_unreadable_entry_needs_no_other_to_be_set_aside(inbox: Inbox) -> None:
    bad = inbox.put()
    inbox.spool.path(bad).chmod(0)
    registrar = inbox.registrar()
    with permissions_hold():
        inbox.turns(registrar, TRIES)
    assert inbox.quarantined == [bad]


def test_the_only_entry_that_fails_holds_up_studies_for_a_while_and_not_for_ever(inbox: Inbox) -> None:
    refuse(inbox, "true")
    bad = inbox.put()
    registrar = inbox.registrar()
    inbox.turns(registrar, TRIES_ALONE - 1)
    assert inbox.quarantined == []
    inbox.turns(registrar, 1)
    assert inbox.quarantined == [bad]


def test_an_entry_that_becomes_readable_is_filed(inbox: Inbox) -> None:
    late, good = inbox.put(), inbox.put()
    inbox.spool.path(late).chmod(0)
    registrar = inbox.registrar()
    with permissions_hold():
        inbox.turns(registrar, TRIES - 1)
    inbox.spool.path(late).chmod(0o600)
    inbox.turns(registrar, 1)
    assert inbox.filed == {late, good}
    assert registrar.put_off == 0


def test_what_cannot_be_set_aside_either_is_left_out(inbox: Inbox) -> None:
    inbox.entry().mkdir()
    (inbox.spool.root / "quarantine").rmdir()
    (inbox.spool.root / "quarantine").write_bytes(b"")
    registrar = inbox.registrar()
    good = inbox.put()
    inbox.turns(registrar, TRIES + 1)
    later = inbox.put()
    inbox.turns(registrar, 1)
    assert inbox.filed == {good, later}
    assert registrar.put_off == 1


def test_an_object_that_the_database_refuses_is_set_aside_and_no_other(inbox: Inbox) -> None:
    poison = Made()
    refuse(inbox, f"NEW.sop_uid = '{poison.sop_uid}'")
    bad, good = inbox.put(poison), inbox.put()
    registrar = inbox.registrar()
    registrar.turn()
    assert inbox.filed == {good}
    inbox.turns(registrar, TRIES)
    assert inbox.quarantined == [bad]
    assert not inbox.store.exists(bad)


def test_nothing_is_set_aside_while_nothing_can_be_filed(inbox: Inbox) -> None:
    refuse(inbox, "true")
    keys = {inbox.put() for _ in range(MOST_IN_A_ROW + 2)}
    registrar = inbox.registrar()
    inbox.turns(registrar, 3 * TRIES)
    assert (inbox.filed, inbox.quarantined) == (set(), [])
    inbox.site.change("DROP TRIGGER refuse")
    registrar.turn()
    registrar.turn()
    assert inbox.filed == keys, "what waited is tried as soon as one was filed"
    assert registrar.put_off == 0


def test_entries_at_fault_at_the_head_end_a_turn_but_never_block_those_behind(inbox: Inbox) -> None:
    refuse(inbox, "NEW.modality = 'DX'")
    for _ in range(2 * MOST_IN_A_ROW):
        inbox.put(Made(changes={0x00080060: (b"CS", b"DX")}))
    good = inbox.put()
    registrar = inbox.registrar()
    inbox.turns(registrar, 2 * TRIES)
    assert inbox.filed == {good}
    assert len(inbox.quarantined) == 2 * MOST_IN_A_ROW


def refuse(inbox: Inbox, when: str) -> None:
    inbox.site.change(
        f"CREATE TRIGGER refuse BEFORE INSERT ON image WHEN {when} BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )


def test_a_store_that_is_away_keeps_all_in_the_spool_and_nothing_is_written_beneath_it(inbox: Inbox) -> None:
    keys = {inbox.put() for _ in range(4)}
    (inbox.store.root / MARKER).rename(inbox.folder / "volume")
    registrar = inbox.registrar()
    for _ in range(2 * TRIES):
        inbox.now[0] += 100.0
        with pytest.raises(StoreAway):
            registrar.turn()
    assert list(inbox.store.root.iterdir()) == []
    assert set(inbox.spool.keys()) == keys
    (inbox.folder / "volume").rename(inbox.store.root / MARKER)
    registrar.turn()
    assert inbox.filed == keys


def test_one_folder_of_the_store_that_fails_holds_only_its_own_objects_and_for_as_long_as_it_does(inbox: Inbox) -> None:
    held = inbox.put()
    # Keys of another listener: those of one share a folder for a while.
    inbox.spool = Spool(inbox.spool.root)
    good = inbox.put()
    # The inner of two folders: of two beginnings in 256 the outer one is the same.
    blocked = inbox.store.path(held).parent
    assert blocked != inbox.store.path(good).parent
    blocked.parent.mkdir(mode=0o700)
    blocked.write_bytes(b"")
    registrar = inbox.registrar()
    inbox.turns(registrar, 3 * TRIES)
    assert (inbox.filed, inbox.quarantined) == ({good}, [])
    blocked.unlink()
    inbox.turns(registrar, 1)
    assert inbox.filed == {held, good}


def test_a_journal_that_cannot_be_read_keeps_no_object_from_being_filed(inbox: Inbox) -> None:
    note = RefusalRecord(kind=RefusalKind.OBJECT, reason=Reason.OBJECT_TOO_LARGE, **now_and_uid())
    inbox.journal.append(note)
    (inbox.spool.root / "journal.00000000000000000001.taken").mkdir()
    os.mkfifo(inbox.spool.root / "journal.00000000000000000002.taken")
    good = inbox.put()
    registrar = inbox.registrar()
    registrar.turn()
    assert inbox.filed == {good}
    assert inbox.site.rows("SELECT reason FROM refused") == [{"reason": Reason.OBJECT_TOO_LARGE}]
    registrar.turn()
    assert len(list(inbox.spool.root.glob("*.broken"))) == 2


def test_a_journal_folder_that_fails_counts_as_a_failed_turn_after_the_objects_are_filed(inbox: Inbox) -> None:
    (inbox.spool.root / "journal.lock").unlink(missing_ok=True)
    (inbox.spool.root / "journal.lock").mkdir()
    good = inbox.put()
    with pytest.raises(SpoolError):
        inbox.registrar().turn()
    assert inbox.filed == {good}


def test_a_full_journal_keeps_nothing_from_being_set_aside(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_JOURNAL_BYTES", -1)
    nothing_in_it(inbox.entry())
    inbox.registrar().turn()
    assert inbox.quarantined == [ODD_KEY]


def test_a_refusal_that_the_database_does_not_take_is_dropped_alone(inbox: Inbox) -> None:
    with inbox.site.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON refusal WHEN NEW.calling_aet = 'POISON' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )
    for title in ("BEFORE", "POISON", "AFTER"):
        reason = Reason.OBJECT_TOO_LARGE
        inbox.journal.append(RefusalRecord(kind=RefusalKind.OBJECT, reason=reason, calling_aet=title, **now_and_uid()))
    inbox.registrar().turn()
    assert [row["calling_aet"] for row in inbox.site.rows("SELECT calling_aet FROM refusal ORDER BY id")] == [
        "BEFORE",
        "AFTER",
    ]
