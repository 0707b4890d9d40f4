"""Settings of the listener, checked once when they are made."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dicom_io.errors import DicomIoError

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
    #: Largest PDU we take, bytes; beyond 64 KiB it buys nothing more, and 0 (unlimited) would be no bound.
    max_pdu: int = 131072
    #: How long a connection may wait before it asks for an association.
    acse_timeout_s: float = 15.0
    #: How long an association may be silent, between objects or inside one.
    network_timeout_s: float = 120.0
    #: How long `Listener.stop` waits for objects on their way.
    stop_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allowed_aets):
            if not is_ae_title(title):
                raise ListenerOptionsInvalid("An AE title has 1 to 16 printable ASCII characters and no backslash.")
        if not 0 <= self.port <= 65535:
            raise ListenerOptionsInvalid("A port is a number from 0 to 65535.")
        if self.max_associations < 1 or self.max_pdu < 4096:
            raise ListenerOptionsInvalid("At least one association and PDUs of 4096 bytes or more are needed.")
        if min(self.acse_timeout_s, self.network_timeout_s, self.stop_timeout_s) <= 0:
            raise ListenerOptionsInvalid("A timeout is more than 0 seconds.")
        if not (is_loopback(self.host) or self.allowed_aets or self.allowed_hosts or self.any_caller):
            raise HostUnguarded

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
