"""TLS on the listener's port: both sides show a certificate, and one that hangs keeps no one waiting."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.client.association import Caller
from dicom_io.client.send import send
from dicom_io.network.tls import TlsFiles, TlsInvalid, client_context
from dicom_io.reasons import Reason
from tests.support.certificates import Site
from tests.support.listening import LOCAL, Served, association_to, listening, store
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.waiting import wait_until
from tests.support.wire import ABORT, Wire, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@contextmanager
def secured(tmp_path: Path, site: Site, **options: Any) -> Iterator[Served]:
    """A listener that speaks TLS."""
    with listening(tmp_path / "spool", tls=site.files("listener"), **options) as served:
        yield served


def with_tls(files: TlsFiles) -> list[str]:
    """dcmtk's options for a certificate of ours and for whom to trust."""
    return ["+tls", str(files.key), str(files.certificate), "+cf", str(files.authorities)]


def answers(port: int, context: ssl.SSLContext) -> bool:
    with association_to(port, (Verification, ["1.2.840.10008.1.2"]), tls_args=(context, None)) as association:
        return association.is_established and association.send_c_echo().Status == 0


@contextmanager
def connected(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((LOCAL, port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="listener.site.example") as connection,
    ):
        yield connection


def test_dcmtk_echoes_and_stores_over_tls(tmp_path: Path, site: Site, dcmtk: Peers) -> None:
    made = Made(pixel_bytes=1 << 20)
    files = with_tls(site.files("modality"))
    with secured(tmp_path, site) as served:
        for program, *more in (["echoscu"], ["storescu", made.write(tmp_path / "object.dcm")]):
            done = dcmtk.run(str(program), *files, LOCAL, served.port, *more)
            assert done.returncode == 0, done.stderr
        (key,) = served.spool.keys()
        assert served.spool.path(key).read_bytes().endswith(made.dataset())
        assert served.reasons() == []


def test_our_own_sender_shows_its_certificate(tmp_path: Path, site: Site) -> None:
    caller = Caller(tls=client_context(site.files("demo")))
    with secured(tmp_path, site) as served:
        (result,) = send([Made().write(tmp_path / "object.dcm")], LOCAL, served.port, caller=caller)
    assert (result.status, result.problem) == (0, None)


def test_pynetdicom_stores_several_objects_over_tls(tmp_path: Path, site: Site) -> None:
    objects = [Made(pixel_bytes=size) for size in (10, 300_000, 5_000_000)]
    context = client_context(site.files("pacs"))
    with (
        secured(tmp_path, site) as served,
        association_to(served.port, (CR, [EXPLICIT_LE]), tls_args=(context, None)) as association,
    ):
        assert [store(association, made.write(tmp_path / "object.dcm"))[0] for made in objects] == [0, 0, 0]
        keys = served.spool.keys()
        assert any(served.spool.path(key).read_bytes().endswith(objects[2].dataset()) for key in keys)


def no_certificate(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(site.files("client").authorities))
    context.check_hostname = False
    return context


def of_another_authority(site: Site) -> ssl.SSLContext:
    context = no_certificate(site)
    stranger = Site(site.root / "elsewhere").files("stranger")
    context.load_cert_chain(stranger.certificate, stranger.key)
    return context


def expired(site: Site) -> ssl.SSLContext:
    return client_context(site.files("old", not_after=datetime.now(UTC) - timedelta(days=1)))


def tls_1_1(site: Site) -> ssl.SSLContext:
    context = client_context(site.files("legacy"))
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def without_forward_secrecy(site: Site) -> ssl.SSLContext:
    context = client_context(site.files("legacy"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384:ECDHE-RSA-AES256-SHA:ECDHE-ECDSA-AES256-SHA")
    return context


@pytest.mark.parametrize("client", [no_certificate, of_another_authority, expired, tls_1_1, without_forward_secrecy])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_client_that_does_not_fit_is_refused_and_noted(client: object, tmp_path: Path, site: Site) -> None:
    with secured(tmp_path, site) as served:
        with pytest.raises(OSError), connected(served.port, client(site)) as connection:  # type: ignore[operator]  # noqa: PT011, PT012
            # In TLS 1.3 a client learns of its refusal when it reads.
            connection.sendall(request())
            if not connection.recv(1):
                raise ConnectionResetError
        assert served.noted() == [(Reason.TLS_FAILED, "", LOCAL, 1)]
        assert answers(served.port, client_context(site.files("pacs")))


def test_a_plain_client_is_refused_and_noted(tmp_path: Path, site: Site, dcmtk: Peers) -> None:
    with secured(tmp_path, site) as served:
        assert dcmtk.run("echoscu", LOCAL, served.port).returncode != 0
        assert [one[0] for one in served.noted()] == [Reason.TLS_FAILED]


def test_a_tls_client_on_a_plain_port_is_refused_and_noted(tmp_path: Path, site: Site, dcmtk: Peers) -> None:
    with listening(tmp_path / "spool") as served:
        assert dcmtk.run("echoscu", *with_tls(site.files("modality")), LOCAL, served.port).returncode != 0
        assert [one[0] for one in served.noted()] == [Reason.PROTOCOL_ERROR]


def test_a_client_that_trusts_another_authority_hangs_up(tmp_path: Path, site: Site, dcmtk: Peers) -> None:
    elsewhere = Site(tmp_path / "elsewhere").files("modality")
    with secured(tmp_path, site) as served:
        done = dcmtk.run("echoscu", *with_tls(elsewhere), LOCAL, served.port)
        assert done.returncode != 0
        assert [one[0] for one in served.noted()] == [Reason.TLS_FAILED]


def test_a_silent_client_does_not_block_the_others(tmp_path: Path, site: Site, dcmtk: Peers) -> None:
    with secured(tmp_path, site) as served:
        silent = [socket.create_connection((LOCAL, served.port), timeout=30) for _ in range(30)]
        try:
            done = dcmtk.run("echoscu", *with_tls(site.files("modality")), LOCAL, served.port, timeout_s=60)
            assert done.returncode == 0, done.stderr
        finally:
            for connection in silent:
                connection.close()


def test_a_connection_that_is_opened_and_closed_is_no_refusal(tmp_path: Path, site: Site) -> None:
    with secured(tmp_path, site) as served:
        with Wire(served.port):
            pass
        wait_until(lambda: not served.connections(), what="the connection to end")
        assert served.reasons() == []


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a hello"])
def test_a_handshake_has_a_deadline(first: bytes, tmp_path: Path, site: Site) -> None:
    with secured(tmp_path, site, request_timeout_s=0.5) as served:
        with Wire(served.port) as wire:
            wire.send(first)
            assert wire.receive()[0] == 0
        assert served.noted() == [(Reason.TLS_FAILED, "", LOCAL, 1)]


def test_a_secured_client_that_is_silent_afterwards_has_a_deadline(tmp_path: Path, site: Site) -> None:
    with secured(tmp_path, site, request_timeout_s=0.5) as served:
        with connected(served.port, client_context(site.files("pacs"))) as connection:
            assert connection.recv(1) in (b"", bytes([ABORT]))
        assert served.noted() == [(Reason.ASSOCIATION_TIMED_OUT, "", LOCAL, 1)]


def test_a_listener_without_its_files_does_not_start(tmp_path: Path, site: Site) -> None:
    files = site.files("listener")
    files.key.unlink()
    with pytest.raises(TlsInvalid, match="tls_key"), listening(tmp_path / "spool", tls=files):
        pass
