"""Files that are marked as purged are removed, and what was removed is added up."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import SpoolError
from dicom_io.film.store import FilmStore
from dicom_io.inbox.store import StoreAway
from worker.db.retention import files, runs
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import HeldFile
from worker.logs import error_class
from worker.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.db.retention.files import FileToRemove
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Files removed between two transactions.
CHUNK = 100


def free_bytes(folder: Path) -> int:
    """Free space for this user on the disk of a folder, bytes; raises StoreAway where the folder is away."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise StoreAway from error
    return found.f_bavail * found.f_frsize


@dataclass(frozen=True, slots=True)
class _Removed:
    removal: FileToRemove
    size: int
    is_gone: bool


class Remover:
    """Removes the files that are marked as purged, those of a purge that was killed included."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._store = store_of(settings, known=True)
        self._films = FilmStore(settings.films)
        #: Files that could not be removed; the next purge tries again.
        self.failed = 0

    def check(self) -> None:
        """Raise StoreAway unless the store and the films are there as a whole."""
        self._store.check()
        self._films.check()

    def size(self, kind: HeldFile, key: str) -> int:
        """The size of a file in bytes."""
        return self._store.size(key) if kind is HeldFile.ORIGINAL else self._films.size(key)

    def run(self) -> None:
        """Remove every file that is marked; one that cannot be removed stays noted and holds up no other."""
        after = 0
        while True:
            with self._database.reads() as session:
                waiting = files.to_remove(session, after, CHUNK)
            if not waiting:
                return
            after = waiting[-1].removal_id
            self._remove(waiting)

    def _remove(self, waiting: Sequence[FileToRemove]) -> None:
        self.check()
        films = [item.key for item in waiting if item.kind is HeldFile.FILM]
        with self._database.reads() as session:
            named = files.still_named(session, films)
        removed = [done for item in waiting if (done := self._remove_one(item, named))]

        def confirm(session: Session) -> None:
            is_film = [done for done in removed if done.removal.kind is HeldFile.FILM and done.is_gone]
            gone = [done.removal.key for done in is_film if not self._films.exists(done.removal.key)]
            files.confirm(session, [done.removal for done in removed], gone)
            for purge_id, counts in _figures(removed).items():
                runs.add(session, purge_id, **counts)

        in_transaction(self._database.sessions, confirm)

    def _remove_one(self, item: FileToRemove, named: set[str]) -> _Removed | None:
        if item.kind is HeldFile.FILM and item.key in named:
            return _Removed(item, 0, is_gone=False)
        try:
            size = self._store.purge(item.key) if item.kind is HeldFile.ORIGINAL else self._films.purge(item.key)
        except SpoolError as error:
            self.failed += 1
            facts = {"removal": item.removal_id, "cause": error_class(error.__cause__ or error)}
            logger.warning("file not removed, the next purge tries again", extra={"action": "purge_failed", **facts})
            return None
        return _Removed(item, size, is_gone=True)


def _figures(removed: Sequence[_Removed]) -> dict[int, Counter[str]]:
    figures: dict[int, Counter[str]] = {}
    for done in removed:
        if done.is_gone and done.size:
            counts = figures.setdefault(done.removal.purge_id, Counter())
            counts["n_originals" if done.removal.kind is HeldFile.ORIGINAL else "n_films"] += 1
            counts["freed_bytes"] += done.size
    return figures
