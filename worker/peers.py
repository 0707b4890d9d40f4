"""The peers of the settings by name: whom `echo` and `fetch` call, and whom storage commitment reports to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dicom_io.peer import Peer, PeerInvalid, parse_peer
from worker.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_io.association import Caller
    from worker.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def named_peers(entries: Sequence[str]) -> dict[str, Peer]:
    """Read ``NAME=ADDRESS`` entries; raises ValueError that names the bad one."""
    peers: dict[str, Peer] = {}
    for entry in entries:
        name, separator, address = (part.strip() for part in entry.partition("="))
        if not separator or not _NAME.fullmatch(name):
            msg = f"'{entry}' is not NAME=AET@HOST:PORT; a name has letters, digits, '-', '_' and '.'"
            raise ValueError(msg)
        if name in peers:
            msg = f"two peers are named {name}"
            raise ValueError(msg)
        try:
            peers[name] = parse_peer(address)
        except PeerInvalid as error:
            msg = f"peer {name}: {error}"
            raise ValueError(msg) from error
    return peers


def find_peer(settings: Settings, text: str) -> Peer:
    """The peer of that name, or the address itself; raises UsageError."""
    peers = named_peers(settings.peers)
    if text in peers:
        return peers[text]
    try:
        return parse_peer(text)
    except PeerInvalid as error:
        msg = f"no peer {text}: {error} AUSCULT_PEERS names {', '.join(sorted(peers)) or 'none'}."
        raise UsageError(msg) from error


def peer_with_title(settings: Settings, aet: str) -> Peer | None:
    """The first peer of the settings with an AE title."""
    return next((peer for peer in named_peers(settings.peers).values() if peer.aet == aet), None)


def caller_of(settings: Settings, *, aet: str | None = None) -> Caller:
    """How we call peers: under our own AE title, and with our certificate; raises SettingsError for a bad one."""
    # Here, as settings are read by every command, and most of them need no network library.
    from dicom_io.association import Caller
    from dicom_io.tls import TlsInvalid, client_context

    try:
        tls = client_context(settings.tls) if settings.tls else None
    except TlsInvalid as error:
        raise SettingsError(str(error)) from error
    return Caller(aet or settings.ae_title, tls)
