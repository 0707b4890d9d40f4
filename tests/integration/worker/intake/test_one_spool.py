"""Several processes on one spool: each object is registered by one of them, and nothing of it is lost or turned away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.objects import Made
from worker.batches.ingest import Ingester
from worker.intake.filing import Filing, StudyClock
from worker.intake.registrar import Registrar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.database import Database

pytestmark = pytest.mark.integration

CLOCK = StudyClock(1000, 60_000)


class Interrupted(Store):
    """Lets the other process have its turn in the middle of the first registration."""

    def __init__(self, root: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def link(self, source: Path, key: str) -> None:
        super().link(source, key)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            meanwhile()


def filing(database: Database, store: Store) -> Filing:
    return Filing(database.sessions, store, CLOCK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def images(database: Database) -> list[tuple[str, int]]:
    with database.reads() as session:
        return [tuple(row) for row in session.execute(text("SELECT store_key, rx_count FROM image"))]


def assert_registered_once(database: Database, store: Store, spool: Spool, n: int) -> None:
    """Every object is one image, received once, and its original is there."""
    rows = images(database)
    assert [count for _, count in rows] == [1] * n
    assert all(store.exists(key) for key, _ in rows)
    assert len(list(store.root.glob("*/*/*"))) == n
    left = [path for path in spool.root.rglob("*") if path.is_file()]
    assert [path for path in left if not path.name.endswith(".lock") and not path.name.startswith("inbox.")] == []


def test_an_ingest_keeps_what_it_works_on_from_another_that_looks_for_leftovers(
    database: Database, store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "spool"
    second = Ingester(Spool(root, holds=True), filing(database, store))
    first = Ingester(Spool(root, holds=True), filing(database, Interrupted(store.root, second.take_leftovers)))
    first.take(Made().write(tmp_path / "film.dcm"))
    assert (first.intake.registered, first.intake.duplicates, first.intake.turned) == (1, 0, [])
    assert second.intake.registered == 0
    assert_registered_once(database, store, Spool(root), 1)


def test_two_ingests_at_the_same_leftovers_register_each_once(database: Database, store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(3):
        spool.put_file(Made().write(tmp_path / f"{number}.dcm"))
    second = Ingester(Spool(spool.root, holds=True), filing(database, store))
    first = Ingester(Spool(spool.root, holds=True), filing(database, Interrupted(store.root, second.take_leftovers)))
    first.take_leftovers()
    # The first one holds what it files together.
    assert (first.intake.registered, second.intake.registered) == (3, 0)
    assert first.intake.turned == second.intake.turned == []
    assert_registered_once(database, store, spool, 3)


def test_two_listeners_of_one_spool_register_each_object_once(database: Database, store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(3):
        spool.put_file(Made().write(tmp_path / f"{number}.dcm"))

    def registrar(by: Filing) -> Registrar:
        journal = Journal(spool.root)
        return Registrar(Spool(spool.root), journal, database.sessions, lambda: by, lambda: None)

    second = registrar(filing(database, store))
    registrar(filing(database, Interrupted(store.root, second.turn))).turn()
    assert_registered_once(database, store, spool, 3)
