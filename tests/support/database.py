"""Helpers of the database tests: a migrated database with one model, and the steps of the flow in one line each."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import make_url, select, text

from dicom_io.film.film import Film
from dicom_io.header.facts import Facts
from model.labels import Band, Label
from model.serving.classifier import Score
from tests.support.reused import Reused
from worker.db.answers.results import Judgement
from worker.db.filing.bulk import register_all
from worker.db.identity.arrivals import Received
from worker.db.models.bundles import ModelFacts, Order, activate_first, upsert_model
from worker.db.read import queries, worklist
from worker.db.schema.engine import make_engine, session_factory
from worker.db.schema.migrate import migrate
from worker.db.schema.study import Study, Task
from worker.db.tasks import claims, queue
from worker.db.tasks.claims import Claimant
from worker.db.tasks.due import Lane, is_due
from worker.judging.pipeline import score_claims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from dicom_io.reasons import Outcome, Reason
    from tests.support.postgres import ExternalPostgres, PostgresServer
    from worker.db.filing.registry import Registration
    from worker.db.tasks.claims import Claim
    from worker.judging.pipeline import WorkerContext

LEASE_MS = 60_000
#: Columns of the worklist that depend on the moment, or count changes.
MOVING = frozenset(
    {
        "received_at",
        "last_received_at",
        "finished_at",
        "completed_at",
        "first_finished_at",
        "updated_at",
        "turnaround_s",
        "waiting_s",
        "change_id",
        "priority_rank",
    }
)
MAX_ATTEMPTS = 3
CHEST: dict[str, Any] = {
    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
    "transfer_syntax_uid": "1.2.840.10008.1.2.1",
    "modality": "DX",
    "body_part": "CHEST",
    "view_position": "AP",
    "age_months": 36,
    "rows": 1024,
    "columns": 900,
}


def facts_of(study: str = "1.2.3", sop: str = "1.2.3.1", **others: Any) -> Facts:
    """Facts of an invented chest film."""
    return Facts(**{**CHEST, "study_uid": study, "series_uid": f"{study}.9", "sop_uid": sop, **others})


def model_facts(version: str = "1", **others: Any) -> ModelFacts:
    """An invented bundle."""
    digest = hashlib.sha256(version.encode()).hexdigest()
    values = {
        "weights_sha256": digest,
        "litert_sha256": digest,
        "preprocess_version": 1,
        "digest": digest,
        "threshold": 0.5,
    }
    return ModelFacts(name="test", version=version, **{**values, "min_age_years": 1, "max_age_years": 5, **others})


def any_film(version: int = 1, grey: int = 0, decoder: str = "") -> Film:
    """An invented film of one pixel."""
    return Film(np.full((1, 1), grey, np.uint8), version, decoder)


def scored(probability: float, threshold: float = 0.5, band: Band | None = None, **others: Any) -> Judgement:
    """The judgement of a film that was scored."""
    score = Score(probability, probability * 2 - 1, threshold, Label.of(probability, threshold), band)
    return Judgement(score=score, **{"film": any_film(), "engine": "litert", **others})


def refused(reason: Reason) -> Judgement:
    """The judgement of a film that was not scored."""
    return Judgement(reason)


class Site:
    """A migrated database with an active model, and what happens on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.sessions = session_factory(self.engine)
        self._bytes = itertools.count()
        self.model_id = self.add_model()
        with self.sessions.begin() as session:
            activate_first(session, self.model_id, Order("test", "first"))

    def add_model(self, version: str = "1", **others: Any) -> int:
        with self.sessions.begin() as session:
            return upsert_model(session, model_facts(version, **others)).id

    def receive(self, *names: Any, **others: Any) -> Registration:
        """Register one object, as `received` makes it."""
        with self.sessions.begin() as session:
            return register_all(session, [self.received(*names, **others)])[0]

    def received(
        self,
        study: str = "1.2.3",
        sop: str = "1.2.3.1",
        content: str | None = None,
        quiet_ms: int = 0,
        **others: Any,
    ) -> Received:
        """An object; each call is other bytes unless `content` says otherwise, under a key of its own."""
        store_key = others.pop("store_key", uuid.uuid4().hex)
        named = ("source", "received_at", "arrived_ms", "priority", "rejection", "policy")
        sent = {name: others.pop(name) for name in named if name in others}
        pixels = others.pop("pixels", "")
        content = content if content is not None else f"{sop} {next(self._bytes)}"
        return Received(
            facts=facts_of(study, sop, **others),
            sha256=hashlib.sha256(content.encode()).hexdigest(),
            pixel_sha256=hashlib.sha256(pixels.encode()).hexdigest() if pixels else "",
            store_key=store_key,
            quiet_ms=quiet_ms,
            max_wait_ms=900_000,
            **sent,
        )

    def claim(self, task_id: int | None, owner: str = "me", lease_ms: int = LEASE_MS) -> Claim | None:
        assert task_id is not None
        found = claims.claim(self.sessions, [task_id], Claimant(owner, lease_ms, MAX_ATTEMPTS))
        return found[0] if found else None

    def claimed(self, task_id: int | None, owner: str = "me") -> Claim:
        found = self.claim(task_id, owner)
        assert found is not None
        return found

    def finish(self, task_id: int | None, judgement: Judgement) -> None:
        assert self.ended(self.claimed(task_id), judgement)

    def ended(self, claim: Claim, judgement: Judgement) -> bool:
        """Whether a claim could end its task with this judgement."""
        return claims.finish(self.sessions, [(claim, judgement)]) == {claim.task_id}

    def settle(self) -> None:
        with self.sessions.begin() as session:
            queries.settle(session)

    def bury(self) -> int:
        with self.sessions.begin() as session:
            return queue.fail_lost_tasks(session, MAX_ATTEMPTS)

    def due(self, lane: Lane = Lane.LIVE) -> list[int]:
        """The tasks of a lane that may be claimed now."""
        with self.sessions() as session:
            return list(session.scalars(select(Task.id).where(is_due(lane)).order_by(Task.id)))

    def expire(self, task_id: int | None) -> None:
        """Let the lease of a task run out."""
        self.change(f"UPDATE task SET lease_until_ms = 1 WHERE id = {task_id}")

    def change(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def added(self, statement: str) -> Any:
        """What an INSERT returns."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement)).scalar_one()

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(statement)).mappings()]

    def value(self, statement: str) -> Any:
        (row,) = self.rows(statement)
        (value,) = row.values()
        return value

    def study(self, uid: str = "1.2.3", side: int = 0) -> Study:
        with self.sessions() as session:
            return session.execute(select(Study).where(Study.study_uid == uid, Study.side == side)).scalar_one()

    def worklist(self, uids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        with self.sessions() as session:
            return worklist.worklist(session, study_uids=uids)

    def entry(self, uid: str = "1.2.3") -> dict[str, Any]:
        """The study's row in the worklist."""
        (row,) = self.worklist([uid])
        return row

    def current(self, image_id: int) -> list[dict[str, Any]]:
        """The results that count for an image: never more than one."""
        return self.rows(f"SELECT * FROM result WHERE image_id = {image_id} AND is_current")


def attempted(context: WorkerContext, task_id: int) -> Outcome | None:
    """One attempt at a task by itself; None where it was put back."""
    return score_claims(context, claims.claim(context.sessions, [task_id], context.claimant))[task_id]


BOTH = ("sqlite", "postgresql")
_TEMPLATES: dict[str, str] = {}
_REUSED: list[Reused] = []


def fresh_site(request: pytest.FixtureRequest, tmp_path: Path, kind: str | None = None) -> Iterator[Site]:
    """The body of a fixture with the parameters `BOTH`: a migrated database of the test's own, copied from a template."""
    with (
        migrated_copy(request, kind or request.param, tmp_path / "site.db") as url,
        open_site(url) as site,
    ):
        yield site


@contextmanager
def migrated_copy(request: pytest.FixtureRequest, kind: str, path: Path) -> Iterator[str]:
    """A database of the test's own as the migrations leave it; `path` is where it goes on SQLite.

    The migrations run once in a session: SQLite's file is copied, PostgreSQL's databases are emptied and used again.
    """
    if kind == "sqlite":
        shutil.copy(sqlite_template(request), path)
        yield f"sqlite:///{path}"
        return
    databases = _reused(request.getfixturevalue("postgres_server"))
    url = databases.take()
    try:
        yield url
    finally:
        databases.give_back(url)


def _reused(server: PostgresServer | ExternalPostgres) -> Reused:
    if not _REUSED:
        _REUSED.append(Reused(server, _migrated("postgresql", server.create_database())))
    return _REUSED[0]


def sqlite_template(request: pytest.FixtureRequest) -> Path:
    """The file of a migrated SQLite database, to be copied."""
    folder = request.getfixturevalue("tmp_path_factory")
    found = _TEMPLATES.get("sqlite") or _migrated("sqlite", f"sqlite:///{folder.mktemp('template') / 'template.db'}")
    return Path(make_url(found).database or "")


def _migrated(kind: str, url: str) -> str:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    return _TEMPLATES.setdefault(kind, url)


@contextmanager
def open_site(url: str) -> Iterator[Site]:
    """Give the site on a migrated database and close its connections."""
    site = Site(url)
    try:
        yield site
    finally:
        site.engine.dispose()
