"""The file meta information Auscult writes before a received data set (PS3.10 section 7.1).

It is encoded here and not by pydicom: it is a dozen elements of fixed form, and pydicom would check the values of the
sender, warn about them and quote them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from importlib.metadata import version

#: The UID of this implementation (from a random UUID, PS3.5 annex B.2), sent in negotiation and written into every
#: file.
IMPLEMENTATION_CLASS_UID = "2.25.177255063818739903943164657702020597454"
#: At most 16 characters (SH).
IMPLEMENTATION_VERSION_NAME = f"AUSCULT_{version('auscult')}"[:16]

_PREFIX = bytes(128) + b"DICM"
# Private Information Creator UID and Private Information (PS3.10 Table 7.1-1)
PRIVATE_CREATOR, PRIVATE_INFORMATION = 0x00020100, 0x00020102
_CERTIFICATE = re.compile(r"tls-sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Sender:
    """The calling and the called AE title of an association, and the address of the caller."""

    calling_aet: str
    called_aet: str
    #: The sender's address without the port, because the port of a client has no meaning.
    host: str
    #: SHA-256 of the certificate that it showed in TLS (DER), 64 hexadecimal digits; "" without TLS.
    certificate: str = ""

    @property
    def presentation_address(self) -> str:
        """The sender's address in the form of PS3.10 section 7.1.1.1: scheme "dicom", also for TLS."""
        return f"dicom://[{self.host}]" if ":" in self.host else f"dicom://{self.host}"


@dataclass(frozen=True, slots=True)
class ObjectUids:
    """The UIDs of an object by the request and the presentation context."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str


def encode_file_meta(uids: ObjectUids, sender: Sender, ae_title: str) -> bytes:
    """Encode preamble, prefix and file meta information for a data set received over the network.

    Parameters
    ----------
    uids : ObjectUids
        For (0002,0002), (0002,0003) and (0002,0010).
    sender : Sender
        Sending AE Title (0002,0017) and Presentation Address (0002,0027). The sender is also named as the source,
        (0002,0016) and (0002,0026), because the content is as the sender encoded it. Its certificate is our Private
        Information, (0002,0100) and (0002,0102): the standard has no element for it.
    ae_title : str
        Of the listener: Receiving AE Title (0002,0018).

    Returns
    -------
    bytes
        Explicit VR Little Endian, ready to be followed by the data set as received (PS3.10 Table 7.1-1).
    """
    group = b"".join(
        (
            _long_element(0x0001, b"OB", b"\x00\x01"),
            _uid(0x0002, uids.sop_class_uid),
            _uid(0x0003, uids.sop_uid),
            _uid(0x0010, uids.transfer_syntax_uid),
            _uid(0x0012, IMPLEMENTATION_CLASS_UID),
            _text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _text(0x0016, b"AE", sender.calling_aet),
            _text(0x0017, b"AE", sender.calling_aet),
            _text(0x0018, b"AE", ae_title),
            _long_element(0x0026, b"UR", _padded(sender.presentation_address, b" ")),
            _long_element(0x0027, b"UR", _padded(sender.presentation_address, b" ")),
            _certificate(sender.certificate),
        )
    )
    return _PREFIX + _element(0x0000, b"UL", struct.pack("<L", len(group))) + group


def certificate_in(meta: dict[int, bytes]) -> str:
    """The certificate of the sender in file meta information that Auscult wrote; "" where there is none.

    Parameters
    ----------
    meta : dict of int to bytes
        The elements of group 0002 by tag.
    """
    if meta.get(PRIVATE_CREATOR, b"").strip(b"\0 ") != IMPLEMENTATION_CLASS_UID.encode("ascii"):
        return ""
    found = _CERTIFICATE.fullmatch(meta.get(PRIVATE_INFORMATION, b"").rstrip(b"\0").decode("latin-1"))
    return found[1] if found else ""


def _certificate(digest: str) -> bytes:
    if not digest:
        return b""
    creator = _uid(PRIVATE_CREATOR & 0xFFFF, IMPLEMENTATION_CLASS_UID)
    return creator + _long_element(PRIVATE_INFORMATION & 0xFFFF, b"OB", _padded(f"tls-sha256:{digest}", b"\0"))


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", errors="replace")
    return value + pad if len(value) % 2 else value


def _uid(number: int, uid: str) -> bytes:
    return _element(number, b"UI", _padded(uid, b"\0"))


def _text(number: int, vr: bytes, text: str) -> bytes:
    return _element(number, vr, _padded(text[:16], b" "))


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _long_element(number: int, vr: bytes, value: bytes) -> bytes:
    # OB and UR have two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
    return struct.pack("<HH2sHL", 0x0002, number, vr, 0, len(value)) + value
