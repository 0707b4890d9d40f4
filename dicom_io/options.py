"""Settings of the listener, checked once when they are made."""

from __future__ import annotations

import ipaddress
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError

if TYPE_CHECKING:
    from dicom_io.tls import TlsFiles

#: Of the characters an AE title may have (PS3.5 section 6.2) those that do not structure names, markup or paths.
_AE_CHARACTERS = frozenset(string.ascii_letters + string.digits + " _-.@#+:")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenerOptionsInvalid(DicomIoError):
    """The listener's settings contradict themselves or the standard."""


class HostUnguarded(ListenerOptionsInvalid):
    """Listening on another address than loopback needs a list of allowed AE titles or addresses, or any_caller."""


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """How the listener presents itself and whom it lets in.

    Raises
    ------
    HostUnguarded
        If the host is not loopback and nothing says who may call.
    ListenerOptionsInvalid
        If an AE title, the port or a number is impossible.
    """

    ae_title: str = "AUSCULT"
    host: str = "127.0.0.1"
    #: 0 lets the system choose; `Listener.port` tells.
    port: int = 11112
    #: Calling AE titles that may associate; empty: any.
    allowed_aets: frozenset[str] = frozenset()
    #: Networks that may connect; empty: any.
    allowed_hosts: tuple[Network, ...] = ()
    #: Allows a host other than loopback without either list.
    any_caller: bool = False
    #: Refuse a peer that calls another AE title than ours.
    check_called_aet: bool = False
    #: Let an association in that asks for user identity negotiation; the identity is not checked against anything.
    accept_user_identity: bool = False
    max_associations: int = 64
    #: Of them, from one address.
    max_per_peer: int = 32
    #: Largest PDU we take, bytes; beyond 64 KiB it buys nothing more, and 0 (unlimited) would be no bound.
    max_pdu: int = 131072
    #: Largest data set we take, bytes.
    max_object_bytes: int = 512 << 20
    #: What objects on their way may hold together, bytes; above it their senders wait, but for one.
    max_memory_bytes: int = 1 << 30
    #: How long a connection may wait before it asks for an association, and how long a TLS handshake may take.
    acse_timeout_s: float = 15.0
    #: Within which a PDU must be whole, from its first byte on; and follow the last one, where others wait for memory.
    pdu_timeout_s: float = 60.0
    #: How long an association may last, busy or not.
    association_timeout_s: float = 86400.0
    #: How long an association may be silent, between objects or inside one.
    network_timeout_s: float = 120.0
    #: How long `Listener.stop` waits for objects on their way.
    stop_timeout_s: float = 20.0
    #: Speak TLS, and only that, with these certificates.
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        if not is_ae_title(self.ae_title):
            raise ListenerOptionsInvalid("An AE title has 1 to 16 printable ASCII characters and no backslash.")
        if not all(map(_is_foreign_title, self.allowed_aets)):
            raise ListenerOptionsInvalid("An allowed AE title has 1 to 16 printable characters and no backslash.")
        if not 0 <= self.port <= 65535:
            raise ListenerOptionsInvalid("A port is a number from 0 to 65535.")
        if min(self.max_associations, self.max_per_peer) < 1 or self.max_pdu < 4096:
            raise ListenerOptionsInvalid("At least one association and PDUs of 4096 bytes or more are needed.")
        if min(self.max_object_bytes, self.max_memory_bytes) < self.max_pdu:
            raise ListenerOptionsInvalid("The limits of objects and memory are at least one PDU.")
        if min(self._timeouts()) <= 0:
            raise ListenerOptionsInvalid("A timeout is more than 0 seconds.")
        if not (is_loopback(self.host) or self.allowed_aets or self.allowed_hosts or self.any_caller):
            raise HostUnguarded

    def _timeouts(self) -> tuple[float, ...]:
        waiting = (self.acse_timeout_s, self.network_timeout_s, self.stop_timeout_s)
        return (*waiting, self.pdu_timeout_s, self.association_timeout_s)

    def allows(self, calling: bytes) -> bool:
        """Whether a calling AE title may associate.

        Parameters
        ----------
        calling : bytes
            The title as it came, without its padding. It is compared byte by byte with the entries of the list in
            UTF-8 and in ISO 8859-1, which for ASCII are the same: titles beyond ASCII declare no character set.
        """
        return not self.allowed_aets or any(calling in _encodings(title) for title in self.allowed_aets)

    def calls_us(self, called: bytes) -> bool:
        """Whether a called AE title, without its padding, will do."""
        return not self.check_called_aet or called == self.ae_title.encode("ascii")

    def admits(self, host: str) -> bool:
        """Whether an address may connect.

        Parameters
        ----------
        host : str
            A numerical address.
        """
        if not self.allowed_hosts:
            return True
        address = ipaddress.ip_address(plain_address(host))
        return any(address in network for network in self.allowed_hosts)


def is_ae_title(text: str) -> bool:
    """Whether `text` is an AE title (PS3.5 section 6.2, VR AE) without padding."""
    return 1 <= len(text) <= 16 and text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()


def shown_ae_title(title: bytes) -> str:
    """Return an AE title as a peer sent it, made fit for logs and rows: each byte that no decent title holds becomes "?".

    A title may be anything of 16 bytes on the wire: control characters that forge lines of a log, or a name.
    """
    return "".join(char if char in _AE_CHARACTERS else "?" for char in title[:16].decode("latin-1"))


def _is_foreign_title(text: str) -> bool:
    """Whether `text` may be the title of a peer: some have letters beyond ASCII, which the standard does not allow."""
    if not text.isprintable() or "\\" in text or text != text.strip():
        return False
    return any(1 <= len(encoded) <= 16 for encoded in _encodings(text))


def _encodings(title: str) -> set[bytes]:
    """The bytes on the wire that a title of the settings stands for."""
    in_latin_1 = {title.encode("latin-1")} if all(char <= "\xff" for char in title) else set()
    return {title.encode("utf-8"), *in_latin_1}


def plain_address(host: str) -> str:
    """Return a numerical address without its zone; one mapped from IPv4 into IPv6 as the IPv4 address it is."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
