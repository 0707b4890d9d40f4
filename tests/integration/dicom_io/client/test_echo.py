"""C-ECHO to peers: each step that can fail is told apart, in a sentence."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from dicom_io.client.association import Caller, _Linked
from dicom_io.client.connect import ConnectionStage, LinkProblem
from dicom_io.client.echo import Echo, echo
from dicom_io.client.peer import Peer
from dicom_io.network.tls import TlsFiles, client_context, server_context
from tests.support.listening import LOCAL, listening
from tests.support.sites import new_site
from tests.support.waiting import wait_until
from tests.support.wire import (
    APPLICATION,
    ASSOCIATE_AC,
    CLASS_UID,
    COMMAND,
    IMPLICIT_LE,
    LAST,
    MAX_LENGTH,
    P_DATA,
    RELEASE_RP,
    VERIFICATION,
    element,
    item,
    pdu,
    sub_item,
    uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from ssl import SSLContext

pytestmark = pytest.mark.integration

CALLER = Caller("TESTSCU", timeout_s=5, answer_s=5)
#: For peers that do answer, on a busy machine too.
PATIENT = Caller("TESTSCU", timeout_s=60, answer_s=60)


def stages(answer: Echo) -> list[ConnectionStage]:
    return [step.stage for step in answer.steps]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server((LOCAL, 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.create_server((LOCAL, 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def rude_port(*answers: bytes) -> Iterator[int]:
    """A port that answers the first bytes with others, the next with the next, and closes."""

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            for answer in answers:
                connection.recv(4096)
                connection.sendall(answer)

    with socket.create_server((LOCAL, 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=30)


def files_of(authority: trustme.CA, folder: Path, trusted: trustme.CA | None = None) -> TlsFiles:
    """A certificate of an authority, and whom its owner trusts."""
    folder.mkdir()
    issued = authority.issue_cert("localhost", LOCAL)
    paths = TlsFiles(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(paths.certificate)
    issued.private_key_pem.write_to_path(paths.key)
    (trusted or authority).cert_pem.write_to_path(paths.authorities)
    return paths


@contextmanager
def tls_peer(context: SSLContext) -> Iterator[Peer]:
    """An application entity that speaks TLS."""
    ae = AE("SECURE")
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server((LOCAL, 0), block=False, ssl_context=context)
    assert server is not None
    try:
        yield Peer("SECURE", LOCAL, server.server_address[1], is_tls=True)
    finally:
        server.shutdown()


def test_a_listener_answers_with_every_step_told(tmp_path: Path) -> None:
    with listening(tmp_path) as served:
        answer = echo(Peer("AUSCULT", "localhost", served.port), PATIENT)
    assert answer.is_answered
    assert stages(answer) == [
        ConnectionStage.RESOLVED,
        ConnectionStage.CONNECTED,
        ConnectionStage.ASSOCIATED,
        ConnectionStage.ANSWERED,
    ]
    assert answer.steps[2].detail.startswith("AUSCULT")
    assert all(0 <= step.milliseconds < 5000 for step in answer.steps)


def test_a_closed_port_is_told_from_an_unknown_host() -> None:
    closed = echo(Peer("ANY", LOCAL, closed_port()), CALLER)
    assert (closed.problem, stages(closed)) == (LinkProblem.PORT_CLOSED.value, [ConnectionStage.RESOLVED])
    unknown = echo(Peer("ANY", "host.invalid", 104), CALLER)
    assert (unknown.problem, stages(unknown)) == (LinkProblem.HOST_UNKNOWN.value, [])


def test_a_peer_that_never_answers_runs_into_the_time_limit() -> None:
    with silent_port() as port:
        answer = echo(Peer("ANY", LOCAL, port), Caller("TESTSCU", timeout_s=0.3))
    assert answer.problem == LinkProblem.TIMED_OUT.value
    assert stages(answer) == [ConnectionStage.RESOLVED, ConnectionStage.CONNECTED]


def test_what_speaks_no_dicom_is_said_to() -> None:
    with rude_port(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        answer = echo(Peer("ANY", LOCAL, port), CALLER)
    assert answer.problem == LinkProblem.CLOSED.value


@pytest.mark.parametrize(
    ("options", "called", "words"),
    [
        ({"allowed_aets": frozenset({"PACS"})}, "AUSCULT", "calling AE title not recognised"),
        ({"check_called_aet": True}, "OTHER", "called AE title not recognised"),
    ],
)
def test_a_rejection_is_given_in_the_words_of_the_standard(
    options: dict[str, Any], called: str, words: str, tmp_path: Path
) -> None:
    with listening(tmp_path, **options) as served:
        answer = echo(Peer(called, LOCAL, served.port), PATIENT)
    assert words in answer.problem
    assert "for good" in answer.problem


def test_a_rejection_that_comes_before_anyone_waits_for_it_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(threading.Event):
        """Lets pynetdicom go on only when the rejection was read and the connection closed."""

        def __init__(self, linked: _Linked) -> None:
            super().__init__()
            self.linked = linked

        def wait(self, timeout: float | None = None) -> bool:
            is_set = super().wait(timeout)
            wait_until(lambda: self.linked.socket is None, 30, "the rejection")
            return is_set

    made = _Linked.__init__

    def late(linked: _Linked, *arguments: Any) -> None:
        made(linked, *arguments)
        linked._ready = Late(linked)

    monkeypatch.setattr(_Linked, "__init__", late)
    with listening(tmp_path, allowed_aets=("OTHER",)) as served:
        answer = echo(Peer("AUSCULT", LOCAL, served.port), PATIENT)
    assert "calling AE title not recognised" in answer.problem


@pytest.mark.parametrize(
    "user",
    [
        pytest.param(MAX_LENGTH + CLASS_UID + sub_item(0x5A, b"new"), id="an unknown sub-item"),
        pytest.param(MAX_LENGTH + CLASS_UID + sub_item(0x55, b"A\xff" * 10), id="a long version name of any bytes"),
        pytest.param(sub_item(0x52, b"1." * 40) + sub_item(0x54, b"\0\xff1"), id="no maximum length, broken items"),
        pytest.param(b"", id="no user information"),
    ],
)
def test_an_acceptance_may_say_more_or_less_than_the_standard_asks_for(user: bytes) -> None:
    context = sub_item(0x21, b"\1\0\0\0" + sub_item(0x77, b"?") + sub_item(0x40, IMPLICIT_LE.encode() + b"\0"))
    items = APPLICATION + sub_item(0x66, b"new") + context + (sub_item(0x50, user) if user else b"") + b"\0\0"
    echoed = (
        element(0x0002, uid(VERIFICATION))
        + element(0x0100, b"\x30\x80")
        + element(0x0120, b"\1\0")
        + element(0x0800, b"\x01\x01")
        + element(0x0900, b"\0\0")
    )
    answers = (
        pdu(ASSOCIATE_AC, b"\xff\xff\0\0" + b"\xff" * 64 + items),
        pdu(P_DATA, item(1, COMMAND | LAST, echoed)),
        pdu(RELEASE_RP),
    )
    with rude_port(*answers) as port:
        answer = echo(Peer("ANY", LOCAL, port), CALLER)
    assert (answer.problem, answer.steps[-1].stage) == ("", ConnectionStage.ANSWERED)


def test_a_peer_without_verification_is_named_as_such() -> None:
    ae = AE("MUTE")
    ae.add_supported_context(CTImageStorage)
    server = ae.start_server((LOCAL, 0), block=False)
    assert server is not None
    answer = echo(Peer("MUTE", LOCAL, server.server_address[1]), CALLER)
    server.shutdown()
    assert "not Verification" in answer.problem


def test_tls_is_agreed_where_both_trust_one_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    with tls_peer(server_context(files_of(authority, tmp_path / "peer"))) as peer:
        answer = echo(peer, Caller("TESTSCU", client_context(files_of(authority, tmp_path / "us"))))
    assert not answer.problem
    assert ConnectionStage.TLS in stages(answer)
    assert "TLSv1.3" in answer.steps[2].detail


def test_a_certificate_of_a_strange_authority_is_not_trusted(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    with tls_peer(server_context(files_of(theirs, tmp_path / "peer"))) as peer:
        answer = echo(peer, Caller("TESTSCU", client_context(files_of(ours, tmp_path / "us"))))
    assert answer.problem == LinkProblem.TLS_UNTRUSTED.value


def test_a_peer_that_does_not_trust_our_certificate_closes_after_the_handshake(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    with tls_peer(server_context(files_of(theirs, tmp_path / "peer"))) as peer:
        context = client_context(files_of(ours, tmp_path / "us", trusted=theirs))
        answer = echo(peer, Caller("TESTSCU", context, timeout_s=60))
    assert answer.problem == LinkProblem.TLS_CLOSED.value


def test_tls_to_a_port_without_it_fails_in_the_handshake(tmp_path: Path) -> None:
    context = client_context(files_of(trustme.CA(), tmp_path / "us"))
    with listening(tmp_path / "spool") as served:
        answer = echo(Peer("AUSCULT", LOCAL, served.port, is_tls=True), Caller("TESTSCU", context, timeout_s=60))
    assert answer.problem == LinkProblem.TLS_NOT_SPOKEN.value
    assert stages(answer) == [ConnectionStage.RESOLVED, ConnectionStage.CONNECTED]


def test_tls_without_certificates_of_ours_names_the_settings() -> None:
    assert "AUSCULT_TLS_CERT" in echo(Peer("ANY", LOCAL, 104, is_tls=True), CALLER).problem


@pytest.mark.acceptance
def test_the_verb_tells_each_step_and_ends_with_0_or_1(tmp_path: Path) -> None:
    with listening(tmp_path) as served, new_site(peers=f"SELF=AUSCULT@{LOCAL}:{served.port}") as site:
        document = site.json("echo", "SELF")
        assert document["answered"] is True
        assert [step["step"] for step in document["steps"]] == [
            "name resolved",
            "connected",
            "association accepted",
            "answered",
        ]
        assert "answers" in site.run("echo", "SELF").stderr
    with new_site() as site:
        failed = site.run("echo", f"ANY@{LOCAL}:{closed_port()}", "--json", check=1)
        assert json.loads(failed.stdout)["problem"] == LinkProblem.PORT_CLOSED.value
        assert failed.stderr == ""
        assert "no peer PACS" in site.run("echo", "PACS", check=2).stderr


@pytest.mark.acceptance
def test_two_of_us_speak_tls_with_the_certificates_of_the_settings(tmp_path: Path) -> None:
    files = files_of(trustme.CA(), tmp_path / "tls")
    tls = {"tls_cert": str(files.certificate), "tls_key": str(files.key), "tls_ca": str(files.authorities)}
    with new_site(**tls) as site, site.running("listen") as running:
        document = site.json("echo", f"dicom-tls://AUSCULT@{LOCAL}:{running.port}")
        assert "TLS agreed" in [step["step"] for step in document["steps"]]
        plain = site.run("echo", f"AUSCULT@{LOCAL}:{running.port}", check=1)
        assert "whether it requires TLS" in plain.stderr
