"""What is timed: statements of people, of the pipeline and of monitoring, by the code that a site runs."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from tests.support.database import MAX_ATTEMPTS, facts_of, scored
from worker.db.audit.read import Wanted, events
from worker.db.batches import opening, reruns
from worker.db.batches.selection import Selector
from worker.db.filing.bulk import register_all
from worker.db.identity.arrivals import Received
from worker.db.read import figures, probes, queries, worklist
from worker.db.read.reading_order import Place
from worker.db.schema.engine import read_session_factory, session_factory
from worker.db.schema.study import Model
from worker.db.schema.types import now_ms, now_utc
from worker.db.schema.views import WORKLIST
from worker.db.tasks import claims, queue
from worker.db.tasks.claims import Claimant
from worker.db.tasks.due import Lane, count_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

WORKER = Claimant("bench", 60_000, MAX_ATTEMPTS)
PAGE = 50
SETTLED = 50


@dataclass(frozen=True, slots=True)
class Question:
    """A line of the table; `ask` is timed and leaves the database as it was, or adds a row or two."""

    name: str
    ask: Callable[[], object]


def questions(engine: Engine, studies: int) -> list[Question]:
    """The questions to one site of so many studies."""
    readers, writers = read_session_factory(engine), session_factory(engine)
    return [*_of_people(readers, studies // 2), *_of_the_pipeline(writers)]


def _of_people(readers: sessionmaker[Session], middle: int) -> list[Question]:
    """What people and monitors ask; `middle`: number of the study that they look at."""
    named = f"1.2.826.0.1.3680043.8.498.1010101010.{middle}"

    def read(name: str, work: Callable[[Session], object]) -> Question:
        def ask() -> object:
            with readers() as session:
                return work(session)

        return Question(name, ask)

    def next_page(session: Session) -> object:
        # Studies come until now and are due within two days: an hour ago there are some of each kind.
        hour_ago_ms = session.execute(select(now_ms())).scalar_one() - 3_600_000
        return worklist.worklist(session, limit=PAGE, after=Place(hour_ago_ms, "", 0))

    def received_today(session: Session) -> object:
        day_ago = session.execute(select(now_utc())).scalar_one() - timedelta(days=1)
        return session.scalar(select(func.count()).select_from(WORKLIST).where(WORKLIST.c.received_at > day_ago))

    def by_accession(session: Session) -> object:
        return session.execute(select(WORKLIST).where(WORKLIST.c.accession_number == f"A{middle}")).all()

    return [
        read("worklist, first page", lambda session: worklist.worklist(session, limit=PAGE)),
        read("worklist, a later page", next_page),
        read("worklist, FAILED", lambda session: worklist.worklist(session, limit=PAGE, states=["FAILED"])),
        read("worklist, NORMAL", lambda session: worklist.worklist(session, limit=PAGE, labels=["NORMAL"])),
        read("worklist, one study", lambda session: worklist.worklist(session, study_uids=[named])),
        read("worklist, one accession number", by_accession),
        read("worklist, received today", received_today),
        read("one study in full (show)", lambda session: queries.study_detail(session, named)),
        read("queue_health", probes.queue_health),
        read("figures of status", lambda session: figures.work(session, 60_000)),
        read("refused, newest 50", lambda session: queries.refused(session, limit=PAGE)),
        read("audit, newest 50", lambda session: events(session, Wanted(PAGE))),
        read("batches, newest 20", lambda session: queries.batches(session, 20)),
    ]


def _of_the_pipeline(writers: sessionmaker[Session]) -> list[Question]:
    """What the registrar, the dispatcher and workers do."""
    held: list[claims.Claim] = []

    def undone(work: Callable[[Session], object]) -> Callable[[], object]:
        def ask() -> None:
            with writers() as session:
                work(session)
                session.rollback()

        return ask

    def file() -> None:
        uid = f"1.2.3.{uuid.uuid4().int}"
        facts = facts_of(uid, f"{uid}.1"[:64], patient_id=uid[-8:], accession_number=uid[-9:])
        sha256, key = hashlib.sha256(uid.encode()).hexdigest(), uuid.uuid4().hex
        # Its quiet time is long, so that it is not settled.
        film = Received(facts, sha256, key, source="PACS", quiet_ms=900_000, max_wait_ms=900_000)
        with writers.begin() as session:
            register_all(session, [film])

    def claim() -> None:
        held.extend(claims.claim_due(writers, Lane.LIVE, WORKER, urgent=1, oldest=0))
        assert held

    def finish() -> None:
        assert claims.finish(writers, [(held.pop(), scored(0.2))])

    due = undone(lambda session: count_due(session, 64))
    settle = undone(lambda session: queue.settle_studies(session, SETTLED))
    order = undone(_order_everything)
    return [
        Question("registrar: insert", file),
        Question("dispatcher: due tasks", due),
        Question("worker: claim", claim),
        Question("worker: finish", finish),
        Question(f"dispatcher: settle {SETTLED}", settle),
        Question(f"re-run of everything: first {opening.STEP:,} studies", order),
    ]


def _order_everything(session: Session) -> object:
    model_id = session.execute(select(func.min(Model.id))).scalar_one()
    everything = Selector(all=True)
    return reruns.open_batch(session, selector=everything, model_id=model_id, who="bench", why="", keep_current=True)
