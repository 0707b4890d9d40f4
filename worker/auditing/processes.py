"""Start, stop and changed settings of a process as audit events."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from worker.addresses import broker_place, describe
from worker.auditing.secrets import KEY_NAME, PREFIX, secret_digests
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.audit.settings import last_settings
from worker.db.schema.engine import in_transaction
from worker.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: A value with more characters is told by its digest.
LONGEST_VALUE = 80


class ProcessTrail:
    """Records that a process runs, as soon as the database answers, and that it ends.

    ``pid``: of the process, where another one records for it; ``is_noted``: whether its start is recorded already.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: sessionmaker[Session],
        name: str,
        pid: int | None = None,
        *,
        is_noted: bool = False,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._actor = Actor.process(name)
        self._pid = pid or os.getpid()
        self.is_noted, self._is_over = is_noted, False

    def note_start(self) -> None:
        """Record the start and what changed in the settings, once; raises the database's errors until that worked."""
        if self.is_noted or self._is_over:
            return
        shown = shown_settings(self._settings) | secret_digests(self._settings)

        def write(session: Session) -> None:
            record(session, Act.PROCESS_STARTED, self._actor, detail={"pid": self._pid})
            before = last_settings(session, self._actor, str(self._settings.home))
            changed = changes(before, shown)
            if before is None or changed:
                told = {"home": str(self._settings.home), "changed": changed if before is not None else {}}
                record(session, Act.SETTINGS_CHANGED, self._actor, detail=told | {"settings": shown})

        in_transaction(self._sessions, write)
        self.is_noted = True

    def note_stop(self) -> None:
        """Record the end of a process whose start was recorded; where the database is away a log line must do."""
        if not self.is_noted or self._is_over:
            return
        self._is_over = True
        try:
            with self._sessions.begin() as session:
                record(session, Act.PROCESS_STOPPED, self._actor, detail={"pid": self._pid})
        except (DatabaseUnavailable, SQLAlchemyError):
            logger.warning("the end of this process could not be audited", extra={"action": "away"})

    def try_start(self) -> None:
        """Record the start if the database answers now; a caller that has no second chance."""
        with suppress(DatabaseUnavailable, SQLAlchemyError):
            self.note_start()


def shown_settings(settings: Settings) -> dict[str, Any]:
    """The settings that differ from their defaults, without secrets: of a URL what `describe` says."""
    shown = {name: _shown(value) for name, value in settings.model_dump(exclude_defaults=True).items()}
    shown.pop("owner_database_url", None)
    if settings.database_url:
        shown["database_url"] = describe(make_url(settings.database_url))
    if settings.broker_url:
        shown["broker_url"] = broker_place(settings.broker_url)
    return shown


def changes(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, list[Any]]:
    """Old and new value of each setting that changed; None stands for the default. Of a secret: its digests."""
    known = before or {}
    names = known.keys() | now.keys()
    if known.get(KEY_NAME) != now.get(KEY_NAME):
        # Digests by two keys, or by none as in a release before, cannot be compared.
        names = {name for name in names if name == KEY_NAME or not name.startswith(PREFIX)}
    return {name: [known.get(name), now.get(name)] for name in sorted(names) if known.get(name) != now.get(name)}


def _shown(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
