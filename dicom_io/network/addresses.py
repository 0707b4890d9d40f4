"""AE titles and network addresses: which are valid, how they are compared and how they are shown."""

from __future__ import annotations

import ipaddress
import string
from functools import lru_cache

#: Of the characters an AE title may have (PS3.5 section 6.2) those that do not structure names, markup or paths.
_SHOWN_CHARACTERS = frozenset(string.ascii_letters + string.digits + " _-.@#+:")


def is_ae_title(text: str) -> bool:
    """Whether `text` is an AE title (PS3.5 section 6.2, VR AE) without padding."""
    return 1 <= len(text) <= 16 and text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()


def is_foreign_ae_title(text: str) -> bool:
    """Whether `text` can be the AE title of a peer.

    Some peers have letters beyond ASCII in their title, which the standard does not allow.
    """
    if not text.isprintable() or "\\" in text or text != text.strip():
        return False
    return any(1 <= len(encoded) <= 16 for encoded in encodings_of_ae_title(text))


def encodings_of_ae_title(text: str) -> set[bytes]:
    """Return the bytes on the wire that a configured AE title stands for.

    Parameters
    ----------
    text : str
        A title without padding.

    Returns
    -------
    set of bytes
        The title in UTF-8 and, where possible, in ISO 8859-1. For ASCII both are the same; a title beyond ASCII
        declares no character set.
    """
    in_latin_1 = {text.encode("latin-1")} if all(char <= "\xff" for char in text) else set()
    return {text.encode("utf-8"), *in_latin_1}


def shown_ae_title(title: bytes) -> str:
    """Return an AE title from the wire in a form that is safe for logs and rows.

    A title can be any 16 bytes: control characters that forge lines of a log, or a patient's name.

    Parameters
    ----------
    title : bytes
        The title as the peer sent it.

    Returns
    -------
    str
        At most 16 characters; every byte that does not belong in a title is replaced by "?".
    """
    return "".join(char if char in _SHOWN_CHARACTERS else "?" for char in title[:16].decode("latin-1"))


@lru_cache(1024)
def plain_address(host: str) -> str:
    """Return a numerical address without its zone; an IPv4 address mapped into IPv6 is returned as IPv4."""
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
