"""The address of a destination: which kind it is of, and whether it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.schema.states import DestinationKind
from worker.delivering.signed_post import endpoint
from worker.delivering.webhook import webhook_secrets
from worker.errors import UsageError
from worker.peers import find_peer

if TYPE_CHECKING:
    from worker.settings import Settings


def kind_of(settings: Settings, name: str, address: str) -> DestinationKind:
    """The kind of destination at an address; raises UsageError or SettingsError where it can be none.

    A webhook must have a secret under its name, so that no message waits for one.
    """
    if "://" in address and not address.lower().startswith("dicom-tls://"):
        kind = DestinationKind.WEBHOOK
        try:
            endpoint(address)
            webhook_secrets(settings, name)
        except ValueError as error:
            raise UsageError(str(error)) from error
    else:
        find_peer(settings, address)
        kind = DestinationKind.C_STORE
    return kind
