"""C-ECHO by fixed bytes: the same answer as by pynetdicom, from our listener, from dcmtk's and from whatever else listens."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from dicom_io.client.verify import verifies
from tests.support.listening import LOCAL, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


def asked(port: int, called: str = "AUSCULT", timeout_s: float = 60) -> bool:
    with socket.create_connection((LOCAL, port), timeout_s) as link:
        return verifies(link, called, "TESTSCU")


@contextmanager
def saying(*answers: bytes) -> Iterator[int]:
    """A port that answers each part that it hears with the next of these, and then closes the connection."""
    with socket.create_server((LOCAL, 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            # The caller may hang up first.
            with link, suppress(OSError):
                for answer in answers:
                    link.recv(65_536)
                    link.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(60)


@contextmanager
def peer(taken: str, status: int = 0) -> Iterator[int]:
    """The port of pynetdicom's own acceptor, which takes one class and answers C-ECHO with a status."""
    ae = AE("PEER")
    ae.add_supported_context(taken)
    server = ae.start_server((LOCAL, 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _: status)])
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def test_our_listener_answers(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        assert asked(served.port)


@pytest.mark.parametrize(("status", "is_answered"), [(0x0000, True), (0x0122, False)])
def test_the_status_of_another_implementation_counts(status: int, is_answered: bool) -> None:
    with peer(Verification, status) as port:
        assert asked(port, "PEER") is is_answered


def test_a_peer_that_does_not_take_verification_does_not_answer() -> None:
    with peer(CTImageStorage) as port:
        assert not asked(port, "PEER")


def test_a_peer_that_rejects_the_title_does_not_answer(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", check_called_aet=True) as served:
        assert asked(served.port)
        assert not asked(served.port, "ANOTHER")


def test_a_silent_peer_does_not_answer() -> None:
    with socket.create_server((LOCAL, 0)) as server:
        assert not asked(server.getsockname()[1], timeout_s=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300) | st.binary(max_size=300).map(lambda body: b"\2\0\0\0\1\0" + body), max_size=3))
def test_whatever_a_port_says_it_is_not_an_answer(answers: list[bytes]) -> None:
    with saying(*answers) as port:
        assert not asked(port, timeout_s=0.1)


def test_an_announced_length_is_not_waited_for() -> None:
    with saying(b"\2\0\xff\xff\xff\xff") as port:
        assert not asked(port)
