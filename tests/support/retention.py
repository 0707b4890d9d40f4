"""A site with a store and films, for the tests of retention: a film is received, judged and aged in one line."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from dicom_io.film.store import FilmStore
from dicom_io.inbox.store import Store, prepare_root
from tests.support.database import any_film, scored
from worker.database import Database, connect
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.claims import claim, record_objects
from worker.db.delivery.destinations import NewDestination
from worker.db.delivery.ends import Pauses, finish
from worker.db.delivery.outcome import Ended, ObjectKind, Outcome, SentObject
from worker.db.filing import disputes
from worker.db.schema.states import DestinationKind
from worker.db.schema.study import Conflict
from worker.delivering.planner import plan
from worker.retention.policy import FilePolicy
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.database import Site
    from worker.db.answers.results import Judgement
    from worker.db.delivery.outcome import ClaimedDelivery
    from worker.db.filing.registry import Registration
    from worker.db.schema.states import ConflictEnd
    from worker.settings import Settings

ORIGINAL_BYTES = 1000
DAY_MS = 86_400_000
REPORT = SentObject(ObjectKind.REPORT, "1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2")


@dataclass
class Holding:
    """A database with the files that its rows name."""

    site: Site
    settings: Settings
    database: Database
    store: Store
    films: FilmStore

    @classmethod
    def of(cls, site: Site, home: Path, **settings: Any) -> Holding:
        made = load_settings(home=home, database_url=site.url, **settings)
        database = connect(made)
        store = Store(made.store)
        prepare_root(made.films, known=False)
        return cls(site, made, database, store, FilmStore(made.films))

    def receive(self, study: str = "1.2.3", sop: str = "1.2.3.1", *, days: int = 0, **others: Any) -> Registration:
        """Register an object with an original on disk; its study is so many days old."""
        key = others.pop("store_key", uuid.uuid4().hex)
        self.put(key)
        entry = self.site.receive(study, sop, store_key=key, **others)
        if days:
            self.age(study, days)
        return entry

    def put(self, key: str) -> None:
        path = self.store.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(ORIGINAL_BYTES))

    def judged(
        self, study: str = "1.2.3", sop: str = "1.2.3.1", *, days: int = 0, grey: int = 0, **others: Any
    ) -> Registration:
        """The same, judged: its film is on disk too, and its study is finished."""
        entry = self.receive(study, sop, **others)
        self.judge(entry.task_id, scored(0.1, film=any_film(grey=grey)))
        self.site.settle()
        if days:
            self.age(study, days)
        return entry

    def judge(self, task_id: int | None, judgement: Judgement) -> None:
        if judgement.film:
            self.films.save(judgement.film)
        self.site.finish(task_id, judgement)

    def tell(self) -> int:
        """A destination that is to be told every answer on record; each is a row by then."""
        new = NewDestination("PACS", DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104")
        with self.site.sessions.begin() as session:
            destination_id = destinations.add(session, new, Actor("ada"), "a test", from_start=True)
        plan(self.site.sessions, destination_id, DAY_MS)
        return destination_id

    def sending(self, destination_id: int) -> ClaimedDelivery:
        """The next delivery, in the hands of a sender that has begun to send."""
        found = claim(self.site.sessions, destination_id, "me", DAY_MS)
        assert found is not None
        record_objects(self.site.sessions, found, (REPORT,))
        return found

    def sent(self, claimed: ClaimedDelivery, how: Ended = Ended.DELIVERED) -> bool:
        """Whether a sender could write down how it ended."""
        return finish(self.site.sessions, claimed, Outcome(how), Pauses(DAY_MS, DAY_MS))

    def age(self, study: str, days: int) -> None:
        with self.site.engine.begin() as connection:
            moment = datetime.now(UTC) - timedelta(days=days, minutes=1)
            stored = moment.replace(tzinfo=None) if self.site.engine.dialect.name == "sqlite" else moment
            connection.execute(
                text("UPDATE study SET last_rx_at = :at, first_rx_at = :at WHERE study_uid = :uid"),
                {"at": stored.isoformat(sep=" "), "uid": study},
            )

    def policy(self, **changes: Any) -> FilePolicy:
        return FilePolicy.of(self.settings, **changes)

    def decide(self, end: ConflictEnd) -> None:
        """Decide the one conflict on record."""
        with self.site.sessions.begin() as session:
            number = session.execute(select(Conflict.id)).scalar_one()
            disputes.resolve(session, number, end, who="ada", why="asked the ward")
        self.site.settle()

    @property
    def originals(self) -> int:
        return len(list(self.settings.store.rglob("*.dcm")))

    @property
    def film_files(self) -> int:
        return len(list(self.settings.films.rglob("*.png")))

    def marks(self, sop: str = "1.2.3.1") -> tuple[bool, bool]:
        """Whether original and film of an object are marked as purged."""
        (row,) = self.site.rows(f"SELECT original_purged_at, film_purged_at FROM image WHERE sop_uid = '{sop}'")
        return row["original_purged_at"] is not None, row["film_purged_at"] is not None

    def every_row_tells_the_truth(self) -> None:
        """No row claims a file that is gone, and no file is on disk that no row claims or is to remove."""
        rows = self.site.rows("SELECT store_key, film_key, original_purged_at, film_purged_at FROM image")
        waiting = {row["key"] for row in self.site.rows("SELECT key FROM removal")}
        originals = {row["store_key"] for row in rows if row["original_purged_at"] is None}
        films = {row["film_key"] for row in rows if row["film_key"] and row["film_purged_at"] is None}
        assert originals <= {path.stem for path in self.settings.store.rglob("*.dcm")} <= originals | waiting
        assert films <= {path.stem for path in self.settings.films.rglob("*.png")} <= films | waiting

    def close(self) -> None:
        self.database.dispose()
