"""Objects that wait are registered together, one that waits alone at once; a crash or an object at fault costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.database import BOTH, Site, fresh_site
from tests.support.objects import Made
from tests.support.waiting import wait_until
from worker.batches.ingest import Ingester
from worker.intake.filing import AT_ONCE, Filing, StudyClock
from worker.intake.registrar import GATHER, Registrar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Inbox:
    """A spool, its store, and a database."""

    folder: Path
    site: Site

    @property
    def spool(self) -> Spool:
        return Spool(self.folder / "spool")

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def filing(self, store: Store | None = None) -> Filing:
        return Filing(self.site.sessions, store or self.store, StudyClock(0, 60_000))

    def registrar(self, spool: Spool | None = None, store: Store | None = None) -> Registrar:
        filing = self.filing(store)
        return Registrar(
            spool or self.spool, Journal(self.folder / "spool"), self.site.sessions, lambda: filing, lambda: None
        )

    def put(self, *objects: Made) -> list[str]:
        return [self.spool.put_file(made.write(self.folder / "made.dcm")) for made in objects]

    def images(self) -> list[dict[str, Any]]:
        return self.site.rows("SELECT sop_uid, store_key, rx_count FROM image ORDER BY sop_uid")


@pytest.fixture(params=BOTH)
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inbox]:
    for site in fresh_site(request, tmp_path):
        yield Inbox(tmp_path, site)


def transactions(site: Site, work: Callable[[], object]) -> list[int]:
    """How many rows each transaction has added to `image`, of those that added any."""
    found: list[int] = []

    def begun(_connection: Any) -> None:
        found.append(0)

    def executed(_connection: Any, _cursor: Any, statement: str, _parameters: Any, *_others: Any) -> None:
        if statement.startswith("INSERT INTO image"):
            found[-1] += statement.count("), (") + 1

    listeners: dict[str, Callable[..., Any]] = {"begin": begun, "before_cursor_execute": executed}
    for name, listener in listeners.items():
        event.listen(site.engine, name, listener)
    work()
    for name, listener in listeners.items():
        event.remove(site.engine, name, listener)
    return [count for count in found if count]


def test_what_waits_is_registered_in_one_transaction_and_what_is_more_in_the_next(inbox: Inbox) -> None:
    inbox.put(*(Made() for _ in range(AT_ONCE + 3)))
    assert transactions(inbox.site, inbox.registrar().turn) == [AT_ONCE, 3]
    assert len(inbox.images()) == AT_ONCE + 3
    assert inbox.spool.keys() == []


def test_an_object_that_waits_alone_is_registered_by_the_turn_that_finds_it(inbox: Inbox) -> None:
    registrar = inbox.registrar()
    for _ in range(2):
        inbox.put(Made())
        assert transactions(inbox.site, registrar.turn) == [1]
        assert inbox.spool.keys() == []


def test_one_object_that_the_database_refuses_costs_the_others_nothing(inbox: Inbox) -> None:
    poison = Made()
    if inbox.site.engine.dialect.name == "sqlite":
        inbox.site.change(
            f"CREATE TRIGGER refuse BEFORE INSERT ON image WHEN NEW.sop_uid = '{poison.sop_uid}' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    else:
        inbox.site.change(f"ALTER TABLE image ADD CONSTRAINT refuse CHECK (sop_uid <> '{poison.sop_uid}')")
    keys = inbox.put(Made(), poison, Made(), Made())
    registrar = inbox.registrar()
    assert transactions(inbox.site, registrar.turn)[-3:] == [1, 1, 1]
    assert {row["store_key"] for row in inbox.images()} == {keys[0], *keys[2:]}
    assert registrar.put_off == 1
    # It is tried alone from now on.
    later = inbox.put(Made(), Made())
    assert transactions(inbox.site, registrar.turn) == [2]
    assert {row["store_key"] for row in inbox.images()} == {keys[0], *keys[2:], *later}


def test_one_object_that_cannot_be_read_leaves_the_others_in_their_transaction(inbox: Inbox) -> None:
    keys = inbox.put(Made())
    (inbox.folder / "broken.dcm").write_bytes(b"this was never an object")
    broken = inbox.spool.put_file(inbox.folder / "broken.dcm")
    keys += inbox.put(Made())
    assert transactions(inbox.site, inbox.registrar().turn) == [2]
    assert {row["store_key"] for row in inbox.images()} == set(keys)
    assert not inbox.store.exists(broken)
    assert inbox.spool.quarantined() == 1


def test_the_same_bytes_twice_in_one_batch_are_one_image_with_one_original(inbox: Inbox) -> None:
    made, other = Made(), Made()
    first, _, second = inbox.put(made, other, made)
    inbox.registrar().turn()
    assert [row["rx_count"] for row in inbox.images() if row["store_key"] == first] == [2]
    assert len(inbox.images()) == 2
    assert inbox.store.exists(first)
    assert not inbox.store.exists(second)


class OpenAssociation:
    """One that has sent these studies and stays open."""

    def __init__(self, *study_uids: str) -> None:
        self.studies = frozenset(study_uids)

    def open_studies(self) -> frozenset[str]:
        return self.studies


def test_the_studies_of_an_open_association_are_pushed_in_parts_of_the_quiet_time_not_each_turn(inbox: Inbox) -> None:
    made, times = Made(), [0.0]
    inbox.put(made)
    filing = Filing(inbox.site.sessions, inbox.store, StudyClock(2_000, 60_000))
    journal = Journal(inbox.folder / "spool")
    registrar = Registrar(
        inbox.spool, journal, inbox.site.sessions, lambda: filing, lambda: None, clock=lambda: times[0]
    )
    registrar.watch(OpenAssociation(made.study_uid), quiet_ms=2_000)
    registrar.turn()

    def pushes_at(moment: float) -> bool:
        times[0] = moment
        inbox.site.change("UPDATE study SET ready_at_ms = 0")
        registrar.turn()
        return inbox.site.study(made.study_uid).ready_at_ms > 0

    assert [pushes_at(moment) for moment in (0.1, 0.49, 0.51, 0.6, 1.02)] == [False, False, True, False, True]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registrar that gathers for longer than a test may take."""
    monkeypatch.setattr("worker.intake.registrar.GATHER_S", 3600.0)


@pytest.mark.usefixtures("patient")
def test_the_first_object_is_filed_at_once_and_what_follows_it_in_one_transaction(inbox: Inbox) -> None:
    spool, registrar = inbox.spool, inbox.registrar(inbox.spool)
    registrar.watch(OpenAssociation(), quiet_ms=60_000)
    groups: list[int] = []

    def filed(count: int) -> bool:
        return len(inbox.images()) == count

    def begin() -> None:
        for made in (Made(), *(Made() for _ in range(3))):
            registrar.arrived(spool.put_file(made.write(inbox.folder / "made.dcm")))
            if not groups:
                wait_until(lambda: filed(1), what="the first object")
                groups.append(1)
        # The sender has released its association: nothing more comes.
        registrar.association_closed()
        wait_until(lambda: filed(4), what="the others")

    registrar.start()
    try:
        assert transactions(inbox.site, begin) == [1, 3]
    finally:
        registrar.stop(30)
    assert not registrar.is_alive


@pytest.mark.usefixtures("patient")
def test_it_gathers_as_long_as_another_association_is_open_and_ends_without_delay(inbox: Inbox) -> None:
    registrar = inbox.registrar()
    inbox.put(Made())
    registrar.turn()
    registrar.watch(OpenAssociation("1.2.3"), quiet_ms=60_000)
    registrar.association_closed()
    assert not registrar._hurry.is_set()
    registrar.watch(OpenAssociation(), quiet_ms=60_000)
    registrar.association_closed()
    registrar.rest()
    registrar.turn()
    assert not registrar._hurry.is_set()
    # Nothing came since: a turn without objects is followed by none that waits, and so is the end.
    registrar.end()
    registrar.rest()


@pytest.mark.usefixtures("patient")
def test_enough_objects_are_filed_at_once_although_more_may_come(inbox: Inbox) -> None:
    spool, registrar = inbox.spool, inbox.registrar(inbox.spool)
    registrar.watch(OpenAssociation("1.2.3"), quiet_ms=60_000)
    registrar.start()
    try:
        for _ in range(3 * GATHER):
            registrar.arrived(spool.put_file(Made().write(inbox.folder / "made.dcm")))
        # Fewer than so many may be left to wait for others.
        wait_until(lambda: len(inbox.images()) > 2 * GATHER, what="the objects")
    finally:
        registrar.stop(30)


class CountingStore(Store):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.steps: list[tuple[str, Path]] = []

    def link(self, source: Path, key: str) -> None:
        super().link(source, key)
        self.steps.append(("link", self.path(key).parent))

    def sync(self, key: str) -> None:
        super().sync(key)
        self.steps.append(("sync", self.path(key).parent))


def test_a_folder_of_the_store_is_synced_once_after_all_links_of_a_batch(inbox: Inbox) -> None:
    spool, store = inbox.spool, CountingStore(inbox.folder / "store")
    count = AT_ONCE - 1
    keys = [spool.put_file(Made().write(inbox.folder / "made.dcm")) for _ in range(count)]
    # A key of another time.
    keys += inbox.put(Made())
    inbox.registrar(store=store).turn()
    folders = {store.path(key).parent for key in keys}
    assert len(folders) <= 2
    assert [step for step, _ in store.steps] == ["link"] * len(keys) + ["sync"] * len(folders)
    assert {folder for step, folder in store.steps if step == "sync"} == folders
    assert inbox.spool.keys() == []


class Dying:
    """Counts the steps of a batch and ends the process at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class DyingStore(Store):
    def __init__(self, root: Path, dying: Dying) -> None:
        super().__init__(root)
        self._dying = dying

    def link(self, source: Path, key: str) -> None:
        super().link(source, key)
        self._dying.step()

    def sync(self, key: str) -> None:
        super().sync(key)
        self._dying.step()

    def remove(self, key: str) -> None:
        self._dying.step()
        super().remove(key)


class DyingSpool(Spool):
    def __init__(self, root: Path, dying: Dying) -> None:
        super().__init__(root)
        self._dying = dying

    def remove(self, key: str) -> None:
        self._dying.step()
        super().remove(key)
        self._dying.step()


def test_a_crash_at_any_step_of_a_batch_loses_nothing_and_is_harmless_to_repeat(inbox: Inbox) -> None:
    at, is_over = 0, False
    while not is_over:
        at += 3
        # A known film, one that comes twice, another version of it, and new ones.
        twice = Made()
        objects = [
            Made(),
            twice,
            Made(),
            twice,
            Made(sop_uid=twice.sop_uid, pixel_bytes=600, study_uid=twice.study_uid),
        ]
        inbox.put(*objects)
        dying = Dying(at)
        registrar = inbox.registrar(
            DyingSpool(inbox.folder / "spool", dying), DyingStore(inbox.folder / "store", dying)
        )
        for name in ("before_cursor_execute", "commit"):
            event.listen(inbox.site.engine, name, dying.step)
        try:
            registrar.turn()
            is_over = True
        except Crash:
            pass
        finally:
            for name in ("before_cursor_execute", "commit"):
                event.remove(inbox.site.engine, name, dying.step)
        inbox.registrar().turn()
        assert inbox.spool.keys() == []
        of_batch = {made.sop_uid for made in objects}
        found = [row for row in inbox.images() if row["sop_uid"] in of_batch]
        assert sorted(row["rx_count"] for row in found) == [1, 1, 1, 2]
        assert all(inbox.store.exists(row["store_key"]) for row in found)
    assert at > 60, "there were as many steps"
    assert inbox.site.value("SELECT count(*) FROM task") == len(inbox.images())
    originals = [path.stem for path in inbox.store.root.glob("*/*/*.dcm")]
    assert sorted(originals) == sorted(row["store_key"] for row in inbox.images())


def test_an_ingest_registers_what_it_has_read_together(inbox: Inbox) -> None:
    paths = [Made().write(inbox.folder / f"{number}.dcm") for number in range(AT_ONCE + 2)]
    ingester = Ingester(Spool(inbox.folder / "ingest", holds=True), inbox.filing())

    def take() -> None:
        for path in paths:
            ingester.add(path)
        assert ingester.seen == AT_ONCE + 2
        ingester.register()

    assert transactions(inbox.site, take) == [AT_ONCE, 2]
    assert ingester.intake.registered == AT_ONCE + 2
