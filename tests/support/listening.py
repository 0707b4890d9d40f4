"""Listeners for tests, in this process and in one of their own, and a peer that does what no decent peer does."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pynetdicom import AE, _config, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from dicom_io.client.association import Caller
from dicom_io.client.echo import echo
from dicom_io.client.peer import Peer
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import Listener
from dicom_io.listener.options import ListenerOptions
from dicom_io.network.connection import Connection
from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from tests.support.documents import ROOT
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pynetdicom.association import Association

    from dicom_io.reasons import Reason
    from dicom_io.upper_layer.bounds import AssociationState
    from dicom_io.upper_layer.budget import Budget
    from dicom_io.upper_layer.store_request import StoreRequest
    from tests.support.objects import Made

LOCAL = "127.0.0.1"


@dataclass
class Recorder:
    """Remembers what the listener told."""

    instances: list[tuple[str, str, int]] = field(default_factory=list)
    closed: list[tuple[int, bool]] = field(default_factory=list)

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        self.instances.append((key, study_uid, association))

    def on_association_closed(self, association: int, clean: bool) -> None:
        self.closed.append((association, clean))


@dataclass
class Served:
    """A running listener and what belongs to it."""

    listener: Listener
    spool: Spool
    journal: Journal
    told: Recorder

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def root(self) -> Path:
        return self.spool.root

    @property
    def budget(self) -> Budget:
        """The memory of objects on their way."""
        assert self.listener._server is not None
        return self.listener._server.bounds.budget

    def connections(self) -> list[object]:
        """The open connections, associated or not."""
        assert self.listener._server is not None
        return list(self.listener._server.active_associations)

    def refusals(self) -> list[tuple[Reason, str, str, int]]:
        """What the journal says: reason, calling AE title, address and count of each record."""
        return [
            (record.reason, record.calling_aet, record.peer, record.count) for record in self.journal.drain().records
        ]

    def noted(self) -> list[tuple[Reason, str, str, int]]:
        """The refusals, as soon as there is one: it may be noted a moment after the peer has its answer."""
        wait_until((self.root / "journal.jsonl").exists, what="a refusal to be noted")
        return self.refusals()

    def reasons(self) -> list[Reason]:
        """The reasons in the journal."""
        return [record.reason for record in self.journal.drain().records]

    def leftovers(self) -> list[Path]:
        """Every file in the spool's tmp/ and new/."""
        return [path for name in ("tmp", "new") for path in (self.spool.root / name).iterdir()]


class CollectingListener(Listener):
    """A listener that collects objects in memory by pynetdicom's path: the reference for objects that are streamed."""

    def on_object(self, association: AssociationState, request: StoreRequest) -> None:  # noqa: ARG002
        return None


@contextmanager
def listening(
    root: Path,
    *,
    spool: Spool | None = None,
    told: Any = None,
    commitments: Any = None,
    reports: Any = None,
    kind: type[Listener] = Listener,
    **options: Any,
) -> Iterator[Served]:
    """A listener in this process, on a port of the system's choice."""
    spool, journal, told = spool or Spool(root), Journal(root), told or Recorder()
    made = ListenerOptions(**{"port": 0, "network_timeout_s": 20.0, **options})
    listener = kind(made, spool, journal, told, commitments, reports)
    listener.start()
    try:
        yield Served(listener, spool, journal, told)
    finally:
        listener.stop()


class ListenerProcess:
    """A listener in a process of its own."""

    def __init__(self, root: Path, *arguments: str, before: tuple[str, ...] = ()) -> None:
        self.spool = Spool(root)
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.support.listen_process", str(root), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=ROOT,
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_log)]
        for reader in self._readers:
            reader.start()
        listening = self.wait_for("listening")
        self.port = int(listening["port"])
        #: Of the listener itself, where `before` has put another program in front of it.
        self.pid = int(listening["pid"])

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def wait_for(self, event: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The next event of a kind; others before it are dropped."""
        while True:
            try:
                told = self.events.get(timeout=timeout_s)
            except queue.Empty:
                raise AssertionError(f"the listener did not say {event}; its log: {''.join(self.log[-20:])}") from None
            if told["event"] == event:
                return told

    def stop(self) -> dict[str, Any]:
        """End it as a service manager does and return its last word."""
        self.signal(signal.SIGTERM)
        last = self.wait_for("stopped")
        assert self.process.wait(timeout=30) == 0
        return last

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the listener, unless it has ended."""
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        for reader in self._readers:
            reader.join(timeout=30)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


@contextmanager
def listener_process(root: Path, *arguments: str, before: tuple[str, ...] = ()) -> Iterator[ListenerProcess]:
    """A listener in a process of its own, killed at the end if the test has not stopped it."""
    process = ListenerProcess(root, *arguments, before=before)
    try:
        yield process
    finally:
        process.close()


def take_over(event: Any) -> None:
    """Put a `Connection` in the place of the socket of an association that pynetdicom requests."""
    transport = event.assoc.dul.socket
    if not isinstance(transport.socket, ssl.SSLSocket):
        transport.socket = Connection(transport.socket)


@contextmanager
def association_to(port: int, *contexts: tuple[str, list[str]], **more: Any) -> Iterator[Association]:
    """An association by pynetdicom; the test asks whether it is established."""
    quiet_network_libraries()
    ae = AE("TESTSCU")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 20
    built = [build_context(sop_class, syntaxes) for sop_class, syntaxes in contexts]
    handlers = [(evt.EVT_CONN_OPEN, take_over)]
    association = ae.associate(LOCAL, port, contexts=built, evt_handlers=handlers, **more)  # type: ignore[arg-type]
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def answers(port: int, calling_aet: str = "TESTSCU") -> bool:
    """Whether a listener answers C-ECHO with success."""
    return answers_at("AUSCULT", port, calling_aet)


def answers_at(aet: str, port: int, calling_aet: str = "TESTSCU") -> bool:
    """Whether an application entity of this machine answers C-ECHO with success."""
    return echo(Peer(aet, LOCAL, port), Caller(calling_aet)).is_answered


def store(association: Association, path: Path) -> tuple[int, str]:
    """Send a file as it is, its command as its meta information says; status and error comment of the answer."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    answer = association.send_c_store(path)
    return int(answer.Status), str(answer.get("ErrorComment", ""))


def store_made(port: int, path: Path, made: Made) -> tuple[int, str]:
    """Send one object over an association of its own."""
    with association_to(port, (made.sop_class_uid, [made.transfer_syntax_uid])) as association:
        return store(association, made.write(path / "object.dcm"))


class SlowPeer:
    """Sends one object PDU by PDU, when the test says so."""

    def __init__(self, association: Association, made: Made, pdu_bytes: int = 16384) -> None:
        self._association = association
        context = association.accepted_contexts[0]
        request = C_STORE()
        request.MessageID = 1
        request.Priority = 2
        request.AffectedSOPClassUID = made.sop_class_uid
        request.AffectedSOPInstanceUID = made.sop_uid
        request.DataSet = BytesIO(made.dataset())
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        assert context.context_id is not None
        # Else pynetdicom's own thread may take the answer off the queue before the test does.
        association._reactor_checkpoint.clear()
        wait_until(lambda: association._is_paused, what="the association's thread to pause")
        self._pdus = [P_DATA_TF(pdata).encode() for pdata in message.encode_msg(context.context_id, pdu_bytes)]

    @property
    def left(self) -> int:
        return len(self._pdus)

    @property
    def socket(self) -> socket.socket:
        transport = self._association.dul.socket
        assert transport is not None
        assert transport.socket is not None
        return transport.socket

    def send(self, count: int) -> None:
        """Send the next PDUs."""
        for _ in range(count):
            self.socket.sendall(self._pdus.pop(0))

    def send_part_of_a_pdu(self) -> None:
        self.socket.sendall(self._pdus[0][:100])

    def answer(self, timeout_s: float = 30.0) -> int:
        """The status the listener answers."""
        _, response = self._association.dimse.msg_queue.get(timeout=timeout_s)
        self._association._reactor_checkpoint.set()
        assert isinstance(response, C_STORE)
        assert response.Status is not None
        return response.Status


class Tap:
    """A relay in front of a listener that keeps what the peer sends."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server((LOCAL, 0))
        self.port = int(self._server.getsockname()[1])
        self.sent = bytearray()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            peer, _ = self._server.accept()
            with peer, socket.create_connection((LOCAL, self._target)) as listener:
                answers = threading.Thread(target=self._relay, args=(listener, peer, None), daemon=True)
                answers.start()
                self._relay(peer, listener, self.sent)
                answers.join(timeout=30)

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if kept is not None:
                    kept += data
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._server.close()
        self._thread.join(timeout=40)

    def dataset(self) -> bytes:
        """The data set fragments of the P-DATA the peer sent (PS3.8 annex E)."""
        found, offset = bytearray(), 0
        while offset < len(self.sent):
            kind, length = struct.unpack_from(">BxL", self.sent, offset)
            end = offset + 6 + length
            offset += 6
            while kind == 4 and offset < end:
                size, control = struct.unpack_from(">LxB", self.sent, offset)
                if not control & 1:
                    found += self.sent[offset + 6 : offset + 4 + size]
                offset += 4 + size
            offset = end
        return bytes(found)
