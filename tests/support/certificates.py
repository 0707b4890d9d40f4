"""Certificates for tests: a site's own authority, and what it issues."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

import trustme

from dicom_io.network.tls import TlsFiles

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


def fingerprint(files: TlsFiles) -> str:
    """The SHA-256 of a certificate as OpenSSL prints it, with colons."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(files.certificate.read_text())).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, 64, 2))


class Site:
    """A hospital with an authority of its own; every file lies in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()

    def files(self, name: str, *hosts: str, not_after: datetime | None = None) -> TlsFiles:
        """Certificate and key for `name`, or for these hosts, and the authority's certificate."""
        issued = self._authority.issue_cert(*(hosts or (f"{name}.site.example",)), not_after=not_after)
        files = TlsFiles(*(self.root / f"{name}.{kind}.pem" for kind in ("cert", "key", "ca")))
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        files.key.touch(mode=0o600)
        files.key.write_bytes(issued.private_key_pem.bytes())
        files.authorities.write_bytes(self._authority.cert_pem.bytes())
        return files
