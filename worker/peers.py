"""The peers of the settings: the systems that `echo` and `fetch` call and storage commitment reports to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.client.association import Caller
from dicom_io.client.peer import Peer, PeerInvalid, parse_peer
from dicom_io.network.tls import TlsInvalid, client_context
from worker.addresses import named_peers
from worker.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from worker.settings import Settings


def find_peer(settings: Settings, text: str) -> Peer:
    """The peer of that name in the settings, or else the one at that address; raises UsageError."""
    peers = named_peers(settings.peers)
    if text in peers:
        return peers[text]
    try:
        return parse_peer(text)
    except PeerInvalid as error:
        msg = f"no peer {text}: {error} AUSCULT_PEERS names {', '.join(sorted(peers)) or 'none'}."
        raise UsageError(msg) from error


def peer_with_title(settings: Settings, aet: str) -> Peer | None:
    """The first peer of the settings with that AE title."""
    return next((peer for peer in named_peers(settings.peers).values() if peer.aet == aet), None)


def caller_of(settings: Settings, *, aet: str | None = None) -> Caller:
    """The caller for associations to peers: own AE title and, where the settings name one, own certificate.

    Raises SettingsError for a certificate that cannot be used.
    """
    try:
        tls = client_context(settings.tls) if settings.tls else None
    except TlsInvalid as error:
        raise SettingsError(str(error)) from error
    return Caller(aet or settings.ae_title, tls)
