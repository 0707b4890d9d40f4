"""Settings of the listener, checked once when they are made."""

from __future__ import annotations

import ipaddress
import operator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dicom_io.errors import DicomIoError
from dicom_io.network.addresses import (
    encodings_of_ae_title,
    is_ae_title,
    is_foreign_ae_title,
    is_loopback,
    plain_address,
)
from dicom_io.upper_layer.association_limits import AssociationLimits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dicom_io.network.tls import TlsFiles

#: What a field's metadata may say of its value.
_RANGES = {"gt": (operator.gt, "more than"), "ge": (operator.ge, "at least"), "le": (operator.le, "at most")}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenerOptionsInvalid(DicomIoError):
    """The listener's settings contradict themselves or the standard."""


class HostUnguarded(ListenerOptionsInvalid):
    """Listening on another address than loopback needs a list of allowed AE titles or addresses, or any_caller."""


@dataclass(frozen=True, slots=True)
class ListenerOptions(AssociationLimits):
    """How the listener presents itself, whom it admits, and its limits.

    This is the one definition of the listener's settings. The metadata of a field are its range (`gt`, `ge`, `le`) and,
    where a site may set it, its `description`. Settings and documentation are derived from them.

    Raises
    ------
    HostUnguarded
        If the host is not loopback and nothing says who may call.
    ListenerOptionsInvalid
        If an AE title is impossible, or a number is out of its range.
    """

    ae_title: str = field(
        default="AUSCULT",
        metadata={"description": "own AE title", "min_length": 1, "max_length": 16},
    )
    host: str = field(default="127.0.0.1", metadata={"description": "address to listen on"})
    #: `Listener.port` returns the port that the system chose.
    port: int = field(
        default=11112, metadata={"description": "port to listen on; 0 takes a free one", "ge": 0, "le": 65535}
    )
    allowed_aets: Collection[str] = field(
        default=(), metadata={"description": "calling AE titles that may send, comma separated; empty: any"}
    )
    allowed_hosts: tuple[Network, ...] = field(
        default=(), metadata={"description": "addresses or networks that may send; empty: any"}
    )
    any_caller: bool = field(default=False, metadata={"description": "listen beyond loopback without an allow-list"})
    check_called_aet: bool = field(
        default=False, metadata={"description": "refuse associations addressed to another AE title"}
    )
    accept_user_identity: bool = field(
        default=False,
        metadata={"description": "accept associations that negotiate a user identity, which is not checked"},
    )
    max_associations: int = field(
        default=64, metadata={"description": "associations open at once", "ge": 1, "le": 1000}
    )
    max_per_peer: int = field(
        default=32, metadata={"description": "associations open at once from one address", "ge": 1, "le": 1000}
    )
    #: Above it every sender waits but the one that began first.
    max_memory_mb: int = field(
        default=1024,
        metadata={"description": "all objects that are being received, together, MiB; above it senders wait", "ge": 1},
    )
    min_free_mb: int = field(
        default=256,
        metadata={
            "description": "free space of the spool's disk below which objects are answered 0xA700, MiB",
            "ge": 0,
        },
    )
    min_free_inodes: int = field(
        default=1000,
        metadata={"description": "free inodes of the spool's disk below which objects are answered 0xA700", "ge": 0},
    )
    max_waiting_objects: int = field(
        default=100_000,
        metadata={
            "description": "objects in the inbox that are not registered yet; above it objects are answered 0xA700",
            "ge": 1,
        },
    )
    #: How long `Listener.stop` waits for objects that are being received.
    stop_timeout_s: float = field(default=20.0, metadata={"gt": 0})
    #: Certificates for TLS; with them the port accepts only TLS.
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        if not is_ae_title(self.ae_title):
            raise ListenerOptionsInvalid("An AE title has 1 to 16 printable ASCII characters and no backslash.")
        if not all(map(is_foreign_ae_title, self.allowed_aets)):
            raise ListenerOptionsInvalid("An allowed AE title has 1 to 16 printable characters and no backslash.")
        for option in fields(self):
            _check_range(option.name, getattr(self, option.name), option.metadata)
        if not (is_loopback(self.host) or self.allowed_aets or self.allowed_hosts or self.any_caller):
            raise HostUnguarded

    @property
    def max_memory_bytes(self) -> int:
        """Memory of all objects that are being received, bytes."""
        return self.max_memory_mb << 20

    @property
    def min_free_bytes(self) -> int:
        """Free space below which nothing is accepted, bytes."""
        return self.min_free_mb << 20

    def allows(self, calling: bytes) -> bool:
        """Whether a calling AE title may associate.

        Parameters
        ----------
        calling : bytes
            The title as it was received, without its padding. It is compared byte by byte with the entries of the list,
            see `encodings_of_ae_title`.
        """
        return not self.allowed_aets or any(calling in encodings_of_ae_title(title) for title in self.allowed_aets)

    def calls_us(self, called: bytes) -> bool:
        """Whether a called AE title, without its padding, is accepted as ours."""
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


def _check_range(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    for key, (holds, words) in _RANGES.items():
        if key in metadata and not holds(value, metadata[key]):
            msg = f"{name} must be {words} {metadata[key]}."
            raise ListenerOptionsInvalid(msg)
