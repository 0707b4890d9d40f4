"""The TLS contexts without a network: the profile, and what is said of files that do not do."""

from __future__ import annotations

import logging
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from dicom_io.network.tls import TLS_1_2_SUITES, TlsFiles, TlsInvalid, client_context, server_context
from tests.support.certificates import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTEXTS = pytest.mark.parametrize("context_of", [server_context, client_context])


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return Site(tmp_path).files("listener")


@CONTEXTS
def test_the_profile_is_bcp_195(context_of: Callable[[TlsFiles], ssl.SSLContext], files: TlsFiles) -> None:
    context = context_of(files)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert {cipher["name"] for cipher in context.get_ciphers()} == {
        *TLS_1_2_SUITES,
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    }


@pytest.mark.parametrize(
    ("field", "setting"), [("certificate", "tls_cert"), ("key", "tls_key"), ("authorities", "tls_ca")]
)
def test_a_missing_or_wrong_file_is_named(field: str, setting: str, files: TlsFiles, tmp_path: Path) -> None:
    nothing, text = tmp_path / "nothing.pem", tmp_path / "text.pem"
    text.write_text("no certificate", encoding="ascii")
    for path in (nothing, text, tmp_path):
        with pytest.raises(TlsInvalid, match=f"^{setting}: {path} "):
            server_context(replace(files, **{field: path}))


@pytest.mark.parametrize("field", ["certificate", "key", "authorities"])
def test_a_damaged_file_is_an_error(field: str, files: TlsFiles, tmp_path: Path) -> None:
    good = getattr(files, field).read_text(encoding="ascii").splitlines(keepends=True)
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("".join([good[0], "!!!!\n", good[-1]]), encoding="ascii")
    with pytest.raises(TlsInvalid, match=str(damaged)):
        server_context(replace(files, **{field: damaged}))


def test_a_key_of_another_certificate_is_an_error(files: TlsFiles, tmp_path: Path) -> None:
    other = Site(tmp_path / "other").files("other")
    with pytest.raises(TlsInvalid, match=r"^tls_key: .* is not the key of the certificate"):
        server_context(replace(files, key=other.key))


def test_a_key_with_a_passphrase_is_an_error_and_no_question(files: TlsFiles, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsInvalid, match="passphrase"):
        server_context(replace(files, key=locked))


def test_a_key_for_every_reader_is_warned_of(files: TlsFiles, caplog: pytest.LogCaptureFixture) -> None:
    files.key.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        server_context(files)
        assert [record.__dict__["action"] for record in caplog.records] == []
        files.key.chmod(0o644)
        server_context(files)
    assert [record.__dict__["action"] for record in caplog.records] == ["tls_key_readable"]


def test_several_authorities_are_trusted_from_one_file(files: TlsFiles, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files.authorities.read_bytes() + trustme.CA().cert_pem.bytes())
    assert len(server_context(replace(files, authorities=both)).get_ca_certs()) == 2
