"""TLS for associations: our certificate, the authorities we trust, and the profile.

The profile is PS3.15 B.12, "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile", with certificates on both
sides. Where RFC 9325 leaves a choice, the strict one is made: TLS 1.3 or 1.2, no renegotiation, no compression, and in
TLS 1.2 the four suites of its section 4.2, all with ephemeral keys and authenticated encryption.
"""

from __future__ import annotations

import logging
import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError
from dicom_io.network.connection import TlsConnection

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: The suites for TLS 1.2, by OpenSSL's names; for TLS 1.3 all are allowed.
TLS_1_2_SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)


class TlsInvalid(DicomIoError):
    """A file of the TLS settings is missing, unreadable or does not fit the others."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files that listener and client need."""

    #: Our own certificate, followed by intermediate certificates, if there are any.
    certificate: Path
    #: The private key of our certificate, without a passphrase.
    key: Path
    #: The certificates of the authorities whose peers are trusted. Every certificate they signed is accepted, so name
    #: the site's own authorities here, or self-signed certificates of peers; never public authorities.
    authorities: Path


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context for accepting associations: the peer must show a certificate of one of the authorities.

    Parameters
    ----------
    files : TlsFiles
        Our certificate and key, and the authorities we trust.

    Returns
    -------
    ssl.SSLContext
        Its sockets are `TlsConnection`.

    Raises
    ------
    TlsInvalid
        If a file is missing, unreadable, of the wrong kind, or the key does not belong to the certificate.
    """
    return _context(ssl.PROTOCOL_TLS_SERVER, files)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context for requesting associations: the peer's certificate is verified, and ours is shown.

    The peer's host name is not compared with its certificate: a PACS is configured by its address, its certificate
    has a name of the vendor's choice, and neither dcmtk nor Orthanc compares them. Every peer with a certificate of
    the authorities is trusted, so `TlsFiles.authorities` must not name a public one.

    Parameters
    ----------
    files : TlsFiles
        Our certificate and key, and the authorities we trust.

    Returns
    -------
    ssl.SSLContext
        For pynetdicom's ``tls_args=(context, None)``; its sockets are `TlsConnection`.

    Raises
    ------
    TlsInvalid
        As `server_context`.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, files)


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.sslsocket_class = TlsConnection
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(TLS_1_2_SUITES))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _trust(context, files.authorities)
    _identify(context, files)
    return context


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    text = _pem(authorities, "tls_ca", "CERTIFICATE-----")
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as exc:
        raise TlsInvalid(f"tls_ca: {authorities} holds no certificate that can be read.") from exc


def _identify(context: ssl.SSLContext, files: TlsFiles) -> None:
    _pem(files.certificate, "tls_cert", "CERTIFICATE-----")
    _pem(files.key, "tls_key", "PRIVATE KEY-----")
    try:
        # The empty passphrase: without one OpenSSL would ask at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise TlsInvalid(f"tls_key: {files.key} is not the key of the certificate {files.certificate}.") from exc
        raise TlsInvalid(
            f"tls_cert, tls_key: {files.certificate} or {files.key} is damaged, or the key has a passphrase."
        ) from exc
    # Only a warning: Docker and Kubernetes mount secrets readable by every user of the container.
    if files.key.stat().st_mode & stat.S_IROTH:
        logger.warning("The private key of TLS is readable by every user", extra={"action": "tls_key_readable"})


def _pem(path: Path, setting: str, marker: str) -> str:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as exc:
        raise TlsInvalid(f"{setting}: {path} is missing or cannot be read.") from exc
    if marker not in text:
        raise TlsInvalid(f"{setting}: {path} is not a PEM file of the required kind.")
    return text
