"""An acknowledged object is never lost, and one that is not acknowledged leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from dicom_io.header.reader import read_facts
from dicom_io.inbox.spool import Spool
from dicom_io.listener.options import ListenerOptions
from tests.support.listening import (
    LOCAL,
    SlowPeer,
    answers,
    association_to,
    listener_process,
    listening,
    store,
    store_made,
)
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.tracing import whole_calls
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration

CONTEXT = (CR, [EXPLICIT_LE])
BIG = 1 << 20


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOCAL, port)) != 0


def test_the_answer_comes_after_fsync_rename_and_fsync_of_the_folder(tmp_path: Path, dcmtk: Peers) -> None:
    trace = tmp_path / "trace"
    calls = "trace=openat,write,writev,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg"
    strace = (dcmtk.programs["strace"], "-f", "-y", "-qq", "-s", "16", "-e", calls, "-o", str(trace))
    with listener_process(tmp_path / "spool", before=strace) as listener:
        path = Made(pixel_bytes=BIG).write(tmp_path / "object.dcm")
        done = dcmtk.run("storescu", LOCAL, listener.port, path)
        assert done.returncode == 0, done.stderr
        (key,) = listener.spool.keys()
        listener.stop()
    spool = re.escape(str(tmp_path / "spool"))
    steps = {
        "write": rf"writev?\(\d+<{spool}/tmp/{key}>",
        "fsync of the file": rf"fsync\(\d+<{spool}/tmp/{key}>\) = 0",
        "rename": rf'rename\w*\(.*"{spool}/tmp/{key}", .*"{spool}/new/{key}".*\) = 0',
        "fsync of the folder": rf"fsync\(\d+<{spool}/new>\) = 0",
        # A P-DATA-TF PDU (type 04) of ours: the C-STORE response, the only one in this association.
        "answer": r'send\w+\(\d+<(?:TCP|socket).*"\\4\\0',
    }
    lines = whole_calls(trace.read_text(errors="replace"))
    where = {
        step: [number for number, line in enumerate(lines) if re.search(regex, line)] for step, regex in steps.items()
    }
    assert all(where.values()), (where, lines[-60:])
    assert len(where["answer"]) == 1
    assert max(where["write"]) < where["fsync of the file"][0] < where["rename"][0]
    assert where["rename"][0] < where["fsync of the folder"][-1] < where["answer"][0]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def push(port: int) -> None:
        with association_to(port, CONTEXT) as association:
            while association.is_established:
                made = Made(pixel_bytes=200_000)
                try:
                    status, _ = store(association, made.write(tmp_path / f"{threading.get_ident()}.dcm"))
                except (AttributeError, RuntimeError):
                    # No answer: the listener is dead.
                    return
                assert status == 0
                acknowledged.append(made.sop_uid)
                if len(acknowledged) >= 20:
                    enough.set()

    with listener_process(tmp_path / "spool") as listener:
        senders = [threading.Thread(target=push, args=(listener.port,)) for _ in range(2)]
        for sender in senders:
            sender.start()
        assert enough.wait(timeout=60)
        listener.signal(signal.SIGKILL)
        for sender in senders:
            sender.join(timeout=60)
    kept = Spool(tmp_path / "spool")
    keys = kept.keys()
    assert set(acknowledged) <= {read_facts(kept.path(key)).sop_uid for key in keys}
    with listening(tmp_path / "spool") as served:
        assert served.spool.keys() == keys
        assert list((served.spool.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("how", ["abort", "close", "release"])
def test_a_peer_that_leaves_in_the_middle_of_an_object_leaves_nothing(how: str, tmp_path: Path) -> None:
    with listening(tmp_path) as served:
        with association_to(served.port, CONTEXT) as association:
            peer = SlowPeer(association, Made(pixel_bytes=BIG))
            peer.send(peer.left // 2)
            if how == "abort":
                association.abort()
            elif how == "close":
                peer.send_part_of_a_pdu()
                peer.socket.shutdown(socket.SHUT_RDWR)
            else:
                association.release()
        wait_until(lambda: served.told.closed, what="the association to close")
        assert served.told.closed == [(1, how == "release")]
        assert served.leftovers() == []
        assert served.listener.open_studies() == frozenset()
        assert answers(served.port)


def test_sigterm_lets_an_object_on_its_way_be_stored_and_answered(tmp_path: Path) -> None:
    made = Made(pixel_bytes=BIG)
    with (
        listener_process(tmp_path / "spool") as listener,
        association_to(listener.port, CONTEXT) as association,
        association_to(listener.port, CONTEXT) as idle,
    ):
        peer = SlowPeer(association, made)
        peer.send(peer.left // 2)
        listener.signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(listener.port), what="the port to be closed")
        wait_until(lambda: idle.is_aborted, what="the idle association to be aborted")
        assert listener.process.poll() is None
        peer.send(peer.left)
        assert peer.answer() == 0
        wait_until(lambda: association.is_aborted, what="the association to be aborted after its object")
        listener.wait_for("stopped")
        assert listener.process.wait(timeout=30) == 0
        (key,) = listener.spool.keys()
        assert read_facts(listener.spool.path(key)).sop_uid == made.sop_uid


def test_sigterm_ends_a_busy_sender_behind_an_answer(tmp_path: Path, dcmtk: Peers) -> None:
    path = Made(pixel_bytes=BIG).write(tmp_path / "object.dcm")
    with listener_process(tmp_path / "spool") as listener:
        sender = dcmtk.start("storescu", "-v", "--repeat", 100_000, LOCAL, listener.port, path)
        wait_until(lambda: len(listener.spool.keys()) >= 3, what="three objects")
        begun = time.monotonic()
        listener.stop()
        # Long before the deadline at which a listener cuts its peers off.
        assert time.monotonic() - begun < ListenerOptions().stop_timeout_s
        said, _ = sender.communicate(timeout=30)
        # All that was answered is there, and nothing was stored without an answer that reached the sender.
        assert len(listener.spool.keys()) == said.count("Received Store Response (Success)") >= 3
        assert said.count("Received Store Response") == said.count("Response (Success)")


def test_stop_does_not_wait_for_a_stalled_peer_for_ever(tmp_path: Path) -> None:
    with listening(tmp_path, stop_timeout_s=0.5) as served, association_to(served.port, CONTEXT) as association:
        peer = SlowPeer(association, Made(pixel_bytes=BIG))
        peer.send(peer.left // 2)
        peer.send_part_of_a_pdu()
        stopper = threading.Thread(target=served.listener.stop)
        stopper.start()
        stopper.join(timeout=30)
        assert not stopper.is_alive()
        assert served.leftovers() == []
        assert served.told.closed == [(1, False)]


def test_a_peer_that_falls_silent_inside_a_pdu_is_dropped(tmp_path: Path) -> None:
    with (
        listening(tmp_path, network_timeout_s=1.0) as served,
        association_to(served.port, CONTEXT) as association,
    ):
        peer = SlowPeer(association, Made(pixel_bytes=BIG))
        peer.send(2)
        peer.send_part_of_a_pdu()
        wait_until(lambda: served.told.closed == [(1, False)], what="the silent peer to be dropped")
        assert served.leftovers() == []


def test_silent_connections_do_not_keep_an_echo_waiting(tmp_path: Path, dcmtk: Peers) -> None:
    with listening(tmp_path, max_associations=20) as served:
        silent = [socket.create_connection((LOCAL, served.port), timeout=30) for _ in range(50)]
        try:
            done = dcmtk.run("echoscu", LOCAL, served.port, timeout_s=15)
            assert done.returncode == 0, done.stderr
        finally:
            for connection in silent:
                connection.close()


def test_connections_beyond_the_limit_are_closed_and_the_listener_goes_on(tmp_path: Path) -> None:
    with listening(tmp_path, max_associations=1, request_timeout_s=1.0) as served:
        silent = [socket.create_connection((LOCAL, served.port), timeout=30) for _ in range(40)]
        try:
            for connection in silent:
                # Closed at once, or when its time to ask for an association is over.
                assert connection.recv(1) == b""
        finally:
            for connection in silent:
                connection.close()
        assert wait_until(lambda: answers(served.port), what="an answer to C-ECHO")


def test_noise_on_the_port_is_survived(tmp_path: Path) -> None:
    noises = [b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\x00\x00\x00\x04abcd", b"\x04\x00\x00\x00\x00\x00", b"\x01\x00", b""]
    with listening(tmp_path / "spool") as served:
        for noise in noises:
            with socket.create_connection((LOCAL, served.port), timeout=30) as connection:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1000)[:1] in (b"", b"\x07")
        assert store_made(served.port, tmp_path, Made())[0] == 0
