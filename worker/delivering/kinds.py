"""Which class sends to destinations of which kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.schema.states import DestinationKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.database import Database
    from worker.delivering.sender import Sender
    from worker.settings import Settings


def _c_store(settings: Settings, database: Database) -> Sender:
    from worker.delivering.c_store import CStoreSender  # loads pynetdicom, which the other kinds do not need

    return CStoreSender(settings, database)


def _webhook(settings: Settings, database: Database) -> Sender:
    from worker.delivering.webhook import WebhookSender  # loads an HTTP client

    return WebhookSender(settings, database)


#: What makes the sender of each kind.
SENDERS: dict[DestinationKind, Callable[[Settings, Database], Sender]] = {
    DestinationKind.C_STORE: _c_store,
    DestinationKind.WEBHOOK: _webhook,
}
