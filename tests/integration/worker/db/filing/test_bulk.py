"""Objects registered together give the rows that they give one by one; with few statements, and beside other registrars."""

from __future__ import annotations

import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select

from dicom_io.header.rejection import RejectionTitle
from tests.support.database import BOTH, Site, facts_of, fresh_site, migrated_copy, open_site, scored
from tests.support.rejections import LISTED, NOTE_FACTS, rejecting
from worker.db.audit.record import Actor
from worker.db.filing.bulk import register_all
from worker.db.filing.merges import PatientName, merge_patients, unmerge_patient
from worker.db.filing.registry import register
from worker.db.identity.arrivals import Received
from worker.db.identity.rejections import SentAgain
from worker.db.models.bundles import Order
from worker.db.schema.engine import in_transaction, make_engine, session_factory
from worker.db.schema.study import Base
from worker.db.schema.types import UtcDateTime
from worker.db.tasks.shadow import start_shadow
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.integration

ADA = Actor("ada", "desk")
PATIENTS = ("ANN", "ANN", "ANN", "BEN", "CAT", "")
PROBABILITY = {"ill": 0.9, "well": 0.1}


@dataclass(frozen=True)
class Merge:
    """A merge of two patients, or the end of the merge of the old one."""

    old: str
    new: str


WORK = "a worker judges all that waits"
Act = Received | Merge | str


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def film(rng: random.Random, number: int) -> Received:
    """A film: mostly the only version of its UID, of a study that has other films of one patient, or is new."""
    study = f"1.{rng.randrange(6)}"
    patient = "ANN" if rng.random() < 0.7 else rng.choice(PATIENTS)
    sop = f"{study}.{number}" if rng.random() < 0.7 else rng.choice((f"{study}.8", f"{study}.9", "9.8", "9.9"))
    header, pixels = rng.randrange(2), rng.choice(tuple(PROBABILITY))
    sent = {
        "patient_id": patient,
        "patient_name": rng.choice(("Doe^Ann", "", "Doe^A")),
        "study_description": rng.choice(("", "thorax")),
        "requested_priority": "STAT" if rng.random() < 0.1 else "",
    }
    return Received(
        facts=facts_of(study, sop, **sent),
        sha256=_digest(study, sop, header, pixels, sent),
        pixel_sha256=_digest(pixels),
        store_key=f"{number:032x}",
        source=rng.choice(("PACS", "MODALITY")),
        arrived_ms=1000 + (number if rng.random() < 0.9 else rng.randrange(number + 1)) * 10,
        quiet_ms=0,
        max_wait_ms=1000,
        policy=replace(LISTED, sent_again=SentAgain(rng.choice(tuple(SentAgain)))),
    )


def note(rng: random.Random, number: int, films: Sequence[Received]) -> Received:
    """A rejection note for films that came or may come."""
    study = rng.choice(films).facts.study_uid if films else "1.1"
    came = [item.facts.sop_uid for item in films if item.facts.study_uid == study]
    named = [*came[-2:], f"{study}.{number + 2}"]
    document = rejecting(*named, study=study, title=rng.choice(tuple(RejectionTitle)))
    sent = {"patient_id": "ANN", "calling_aet": "PACS", "peer": "dicom://10.1.2.3", **NOTE_FACTS}
    return Received(
        facts=facts_of(study, f"{study}.7{number}", **sent),
        sha256=_digest(number),
        store_key=f"{number:032x}",
        source="PACS",
        arrived_ms=1000 + number * 10,
        quiet_ms=0,
        max_wait_ms=1000,
        rejection=document,
        policy=LISTED,
    )


def acts(rng: random.Random, count: int) -> list[Act]:
    """What happens: mostly films, some of them again as they were, notes, merges and work."""
    found: list[Act] = []
    for number in range(count):
        films = [act for act in found if isinstance(act, Received) and act.rejection is None]
        chance = rng.random()
        if chance < 0.04:
            found.append(WORK)
        elif chance < 0.08:
            found.append(Merge(*rng.sample(("ANN", "BEN", "CAT"), 2)))
        elif chance < 0.12:
            found.append(note(rng, number, films))
        elif chance < 0.2 and films:
            again = rng.choice(films)
            key = again.store_key if rng.random() < 0.5 else f"{number:032x}"
            found.append(replace(again, store_key=key, arrived_ms=1000 + number * 10))
        else:
            found.append(film(rng, number))
    return found


def batches(rng: random.Random, happened: Sequence[Act]) -> Iterator[list[Received] | Merge | str]:
    """The same in the same order, with some objects that follow each other in one transaction."""
    waiting: list[Received] = []
    for act in happened:
        if isinstance(act, Received):
            waiting.append(act)
        if waiting and (not isinstance(act, Received) or rng.random() < 0.15):
            yield waiting
            waiting = []
        if not isinstance(act, Received):
            yield act
    if waiting:
        yield waiting


def do(site: Site, act: Merge | str) -> None:
    if isinstance(act, Merge):
        with site.sessions.begin() as session:
            try:
                merge_patients(session, PatientName(act.old), PatientName(act.new), ADA, "one person")
            except UsageError:
                session.rollback()
        return
    for row in site.rows(
        "SELECT task.id, pixel_sha256 FROM task JOIN image ON image.id = image_id "
        "WHERE state = 'PENDING' AND batch_id IS NULL ORDER BY sop_uid, sha256, task.id"
    ):
        by_digest = {_digest(pixels): value for pixels, value in PROBABILITY.items()}
        site.finish(row["id"], scored(by_digest.get(row["pixel_sha256"], 0.1)))
    site.settle()


#: What a row is known by besides its number.
_KEYS = {
    "study": ("study_uid", "side"),
    "image": ("sop_uid", "sha256"),
    "task": ("image_id", "idem_key"),
    "result": ("task_id",),
    "rejection_note": ("image_id",),
    "rejected_object": ("note_id", "sop_uid"),
}
#: Times of the database's clock, and what is computed of them.
_TIMES = {"ready_at_ms", "force_at_ms", "priority_rank", "hinted_at_ms", "lease_until_ms", "claimed_at_ms"}
#: How often rows were written differs: those of a batch once.
_CHANGES = {"change_id", "change_clock"}


def contents(site: Site) -> dict[str, list[str]]:
    """All rows of all tables, without numbers of rows and times."""
    with site.engine.connect() as connection:
        tables = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in Base.metadata.sorted_tables
        }
    by_id = {name: {row["id"]: row for row in rows if "id" in row} for name, rows in tables.items()}

    def known(table: str, number: int | None) -> Any:
        if number is None or table not in _KEYS:
            return number
        row = by_id[table][number]
        return tuple(cell(table, name, row[name]) for name in _KEYS[table])

    def cell(table: str, name: str, value: Any) -> Any:
        column = Base.metadata.tables[table].c[name]
        if isinstance(column.type, UtcDateTime):
            return value is not None
        if name == "idem_key":
            kind, image, *rest = value.split(":")
            return (kind, known("image", int(image)), *rest)
        for key in column.foreign_keys:
            return known(key.column.table.name, value)
        return value

    return {
        name: sorted(
            str({key: cell(name, key, row[key]) for key in row if key != "id" and key not in _TIMES | _CHANGES})
            for row in rows
        )
        for name, rows in tables.items()
        if name not in _CHANGES
    }


def two_sites(request: pytest.FixtureRequest, kind: str, tmp_path: Any, seed: int) -> Iterator[tuple[Site, Site]]:
    with (
        migrated_copy(request, kind, tmp_path / f"{seed}-one.db") as first,
        migrated_copy(request, kind, tmp_path / f"{seed}-many.db") as second,
        open_site(first) as one,
        open_site(second) as many,
    ):
        if kind == "sqlite":
            for site in (one, many):
                # No power cut is tested here.
                event.listen(
                    site.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF")
                )
                site.engine.dispose()
        yield one, many


class Crash(Exception):
    """The process ends before its commit."""


def die_before_the_commit(site: Site, batch: Sequence[Received]) -> None:
    with site.sessions.begin() as session:
        register_all(session, batch)
        raise Crash


def compare(one: Site, many: Site, seed: int) -> int:
    """Let the same happen at both sites; returns how many objects came together."""
    rng = random.Random(seed)
    happened = acts(rng, 40)
    if seed % 2:
        for site in (one, many):
            shadow = site.add_model("2")
            with site.sessions.begin() as session:
                start_shadow(session, shadow, Order("test", "compare"))
    together = 0
    for batch in batches(rng, happened):
        if isinstance(batch, Merge | str):
            do(one, batch)
            do(many, batch)
            continue
        together += len(batch) if len(batch) > 1 else 0
        for item in batch:
            with one.sessions.begin() as session:
                register(session, item)
        if rng.random() < 0.1:
            with pytest.raises(Crash):
                die_before_the_commit(many, batch)
        with many.sessions.begin() as session:
            found = register_all(session, batch)
        assert [many.value(f"SELECT sha256 FROM image WHERE id = {entry.image_id}") for entry in found] == [
            item.sha256 for item in batch
        ]
    assert contents(one) == contents(many), seed
    return together


@pytest.mark.parametrize("seed", range(6))
def test_objects_registered_together_give_the_rows_that_they_give_one_by_one(request, tmp_path, seed):
    for one, many in two_sites(request, "sqlite", tmp_path, seed):
        assert compare(one, many, seed) > 10


@pytest.mark.parametrize("seed", range(100, 102))
def test_and_so_they_do_on_postgresql(request, tmp_path, seed):
    for one, many in two_sites(request, "postgresql", tmp_path, seed):
        assert compare(one, many, seed) > 10


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def plain(number: int, study: int | None = None) -> Received:
    """A film of a study of its own, or of one of some."""
    uid = f"1.2.{number if study is None else study}"
    return Received(
        facts=facts_of(uid, f"{uid}.{number}", patient_id=uid),
        sha256=_digest(number),
        store_key=f"{number:032x}",
        quiet_ms=0,
        max_wait_ms=1000,
    )


def statements(site: Site, received: Sequence[Received]) -> list[str]:
    """The statements of one transaction, without those that begin it."""
    seen: list[str] = []

    def note_statement(_connection, _cursor, statement, *_others):
        seen.append(statement)

    event.listen(site.engine, "before_cursor_execute", note_statement)
    try:
        with site.sessions.begin() as session:
            register_all(session, received)
    finally:
        event.remove(site.engine, "before_cursor_execute", note_statement)
    return [statement for statement in seen if not statement.startswith(("BEGIN", "SELECT set_config"))]


def test_many_plain_objects_take_as_many_statements_as_one(site):
    alone = statements(site, [plain(0)])
    assert len(statements(site, [plain(number) for number in range(1, 21)])) == len(alone)
    assert len(alone) <= 20


def test_further_films_of_known_studies_take_two_statements_more(site):
    statements(site, [plain(number) for number in range(5)])
    known = statements(site, [plain(100 + number, number) for number in range(5)])
    # Rows that others may change are found again once they are locked; their conflicts and senders are asked for.
    assert len(known) <= len(statements(site, [plain(9)])) + 3
    assert site.value("SELECT count(*) FROM task") == 11


def _register(url: str, objects: Sequence[Received], start: threading.Barrier) -> int:
    engine = make_engine(url)
    sessions = session_factory(engine)
    start.wait(30)
    new = 0
    for first in range(0, len(objects), 10):
        some = objects[first : first + 10]
        new += sum(entry.is_new_image for entry in in_transaction(sessions, partial(register_all, received=some)))
    engine.dispose()
    return new


def test_registrars_with_the_same_studies_and_objects_at_once_lose_and_double_nothing(site):
    objects = [plain(number, number % 7) for number in range(40)]
    versions = [replace(item, sha256=_digest(item.sha256), store_key=_digest(item.store_key)[:32]) for item in objects]
    orders = [random.Random(seed).sample([*objects, *versions], 80) for seed in range(3)]
    start = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        new = list(pool.map(_register, [site.url] * 3, orders, [start] * 3))
    assert sum(new) == site.value("SELECT count(*) FROM image") == 80
    assert site.value("SELECT count(*) FROM image WHERE is_current") == 40
    assert site.value("SELECT count(*) FROM study") == 7
    assert site.value("SELECT sum(n_images) FROM study") == 40
    assert site.value("SELECT count(*) FROM conflict") == 0


def test_a_merge_that_ended_leaves_the_short_way_open(site):
    site.receive("1.1", "1.1.1", patient_id="ANN")
    with site.sessions.begin() as session:
        merge_patients(session, PatientName("BEN"), PatientName("CAT"), ADA, "one person")
    others = statements(site, [plain(1)])
    assert not any("FROM receipt" in statement for statement in others), "a merge of others does not concern it"
    with site.sessions.begin() as session:
        unmerge_patient(session, PatientName("BEN"), ADA, "two persons")
    site.receive("1.3", "1.3.1", patient_id="BEN")
    assert site.entry("1.3")["patient_id"] == "BEN"
