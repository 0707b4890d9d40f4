"""The address of another application entity: its title, host and port, and whether it speaks TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicom_io.errors import DicomIoError
from dicom_io.network.addresses import is_ae_title

_TLS, _PLAIN = "dicom-tls", "dicom"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]+)?)\]")


class PeerInvalid(DicomIoError):
    """A peer is AET@HOST:PORT, or with TLS dicom-tls://AET@HOST:PORT."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where an application entity listens.

    Raises
    ------
    PeerInvalid
        If the AE title, the host or the port (1 to 65535) is invalid.
    """

    aet: str
    #: A name, an IPv4 address, or an IPv6 address without brackets.
    host: str
    port: int
    is_tls: bool = False

    def __post_init__(self) -> None:
        if not is_ae_title(self.aet):
            raise PeerInvalid("An AE title has 1 to 16 printable ASCII characters and no backslash.")
        if not (_HOST.fullmatch(self.host) or _IPV6.fullmatch(f"[{self.host}]")):
            raise PeerInvalid("A host is a name, an IPv4 address, or an IPv6 address in brackets.")
        if not 1 <= self.port <= 65535:
            raise PeerInvalid("A peer's port is a number from 1 to 65535.")

    def __str__(self) -> str:
        """Return the address in the form that `parse_peer` reads."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{_TLS + '://' if self.is_tls else ''}{self.aet}@{host}:{self.port}"


def parse_peer(text: str) -> Peer:
    """Read ``AET@HOST:PORT``, optionally after ``dicom://`` or ``dicom-tls://``.

    Parameters
    ----------
    text : str
        Such as ``ORTHANC@10.0.0.5:4242`` or ``dicom-tls://ARCHIVE@[2001:db8::7]:2762``.

    Returns
    -------
    Peer
        The address.

    Raises
    ------
    PeerInvalid
        If it is invalid; the message says what is wrong.
    """
    scheme, separator, rest = text.strip().rpartition("://")
    if separator and scheme.lower() not in (_TLS, _PLAIN):
        raise PeerInvalid("A peer's address begins with dicom-tls:// or dicom://, or with its AE title.")
    # A host has no @, an AE title may.
    aet, at, place = rest.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not (at and colon and port.isascii() and port.isdigit()):
        raise PeerInvalid
    bracketed = _IPV6.fullmatch(host)
    if ":" in host and not bracketed:
        raise PeerInvalid("An IPv6 address is written in brackets: AET@[2001:db8::7]:104.")
    return Peer(aet.strip(), bracketed.group(1) if bracketed else host, int(port), scheme.lower() == _TLS)
