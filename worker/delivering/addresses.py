"""The address of a destination: which kind it is of, and whether it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.schema.states import DestinationKind
from worker.delivering.kinds import SENDERS
from worker.errors import UsageError
from worker.peers import find_peer

if TYPE_CHECKING:
    from worker.settings import Settings


def kind_of(settings: Settings, address: str) -> DestinationKind:
    """The kind of destination at an address; raises UsageError where it can be none."""
    if address.lower().startswith(("http://", "https://")):
        kind = DestinationKind.WEBHOOK
    else:
        find_peer(settings, address)
        kind = DestinationKind.C_STORE
    if kind not in SENDERS:
        msg = f"{address}: this release sends to {', '.join(SENDERS)} alone; give a peer of AUSCULT_PEERS or AET@HOST:PORT"
        raise UsageError(msg)
    return kind
