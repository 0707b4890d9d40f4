"""Repair what `look` found, where that loses nothing: an object that was not processed is never removed."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError

from dicom_io.errors import DicomIoError, FilmError
from dicom_io.film.film import film_of_dicom
from worker.db.fsck import answers, files, work
from worker.db.schema.engine import in_transaction
from worker.errors import NoActiveModel
from worker.fsck.findings import FindingKind
from worker.fsck.waiting import book_refusals, register_waiting
from worker.intake.filing import Filing, StudyClock, rejection_policy
from worker.judging.memory import within_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from dicom_io.film.film import Film
    from worker.fsck.findings import Finding
    from worker.fsck.look import Data

logger = logging.getLogger(__name__)


class Repairs:
    """Repairs findings one by one."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._sessions = data.database.sessions
        self._how: dict[FindingKind, Callable[[Finding], bool]] = {
            FindingKind.ORIGINAL_UNRECORDED: self._register,
            FindingKind.FILM_MISSING: self._make_film,
            FindingKind.FILM_DAMAGED: self._make_film,
            FindingKind.FILM_UNRECORDED: self._remove_film,
            FindingKind.PART_LEFT: self._remove_part,
            FindingKind.NO_TASK: self._give_task,
            FindingKind.ANSWER_STALE: self._decide,
            FindingKind.TASK_WORKED: self._end_task,
            FindingKind.BATCH_FORGOTTEN: self._close_batch,
            FindingKind.SPOOL_WAITS: self._register_waiting,
            FindingKind.JOURNAL_WAITS: self._book_refusals,
        }

    def repair(self, finding: Finding) -> bool:
        """Repair a finding; False where that cannot be done without a person, or needs none any more."""
        how = self._how.get(finding.kind)
        try:
            return how is not None and how(finding)
        except (DicomIoError, NoActiveModel, OSError, DataError, IntegrityError) as error:
            facts = {"action": "not_repaired", "finding": finding.kind, "cause": type(error).__name__}
            logger.warning("a finding cannot be repaired", extra=facts)
            return False

    def _register(self, finding: Finding) -> bool:
        """Register an object of the store: where its bytes are on record, the second copy goes or replaces a lost one."""
        store = self._data.store
        settings = self._data.settings
        filing = Filing(self._sessions, store, StudyClock.of(settings), policy=rejection_policy(settings))
        filing.file(store.path(finding.what), finding.what)
        return True

    def _make_film(self, finding: Finding) -> bool:
        """Make a film again; an image whose original gives none any more forgets it, so that nobody looks for it."""
        recorded = self._recorded(finding)
        if recorded is None or not recorded.film_key:
            return False
        if finding.kind is FindingKind.FILM_DAMAGED:
            self._data.films.purge(recorded.film_key)
        film = self._film_of(recorded.store_key)
        made = (self._data.films.save(film), film.version) if film else None

        def note(session: Session) -> bool:
            return files.note_film(session, recorded.image_id, recorded.film_key, made)

        return in_transaction(self._sessions, note)

    def _film_of(self, store_key: str) -> Film | None:
        if not store_key or not self._data.store.exists(store_key):
            return None
        path, limit = self._data.store.path(store_key), self._data.settings.film_memory_mb
        with suppress(FilmError, MemoryError):
            return within_memory(limit, lambda: film_of_dicom(path))
        return None

    def _remove_film(self, finding: Finding) -> bool:
        """Remove a film that no image names; one that is named meanwhile is made again by whoever needs it."""
        with self._data.database.reads() as session:
            if files.films_on_record(session, [finding.what]):
                return False
        self._data.films.purge(finding.what)
        return True

    @staticmethod
    def _remove_part(finding: Finding) -> bool:
        Path(finding.what).unlink(missing_ok=True)
        return True

    def _give_task(self, finding: Finding) -> bool:
        image_id = finding.image_id
        return image_id is not None and in_transaction(
            self._sessions, lambda session: answers.give_task(session, image_id)
        )

    def _decide(self, finding: Finding) -> bool:
        study_id = finding.study_id
        if study_id is None:
            return False
        in_transaction(self._sessions, lambda session: answers.refresh(session, study_id))
        return True

    def _end_task(self, finding: Finding) -> bool:
        image_id, task_id = finding.image_id, finding.number
        if image_id is None or task_id is None:
            return False
        return in_transaction(self._sessions, lambda session: work.end_task(session, task_id, image_id))

    def _close_batch(self, finding: Finding) -> bool:
        number = finding.number
        return number is not None and in_transaction(self._sessions, lambda session: work.close_batch(session, number))

    def _register_waiting(self, finding: Finding) -> bool:
        return register_waiting(self._data.settings, self._sessions, self._data.store, finding)

    def _book_refusals(self, finding: Finding) -> bool:
        # The refusals of every file are written at once.
        return not Path(finding.what).exists() or book_refusals(self._data.settings, self._sessions)

    def _recorded(self, finding: Finding) -> files.RecordedFiles | None:
        with self._data.database.reads() as session:
            return files.recorded_again(session, finding.image_id or 0)
