"""The faults of a soak. Each returns when the cause is over; what follows is the system's own business."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import redis
from pynetdicom import AE

from benchmarks.soak.traffic import small_film, study_of
from dicom_io.client.send import send
from dicom_io.errors import DicomIoError
from worker.settings import BROKER_SOCKET

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from benchmarks.soak.site import Served

DOWN_S, FROZEN_S, BUSY_S = 3.0, 15.0, 15.0


def strike(kind: str, served: Served, rng: random.Random) -> None:
    """Let a fault of this kind happen."""
    with suppress(psutil.NoSuchProcess):
        KINDS[kind](served, rng)


def _kill(part: str) -> Callable[[Served, random.Random], None]:
    def kill(served: Served, rng: random.Random) -> None:
        victims = served.processes().get(part, [])
        if victims:
            rng.choice(victims).kill()

    return kill


def _freeze(part: str) -> Callable[[Served, random.Random], None]:
    def freeze(served: Served, rng: random.Random) -> None:  # noqa: ARG001 - the form of every fault
        victims = served.processes().get(part, [])
        try:
            for process in victims:
                process.suspend()
            time.sleep(FROZEN_S)
        finally:
            for process in victims:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    return freeze


def _flush(served: Served, rng: random.Random) -> None:  # noqa: ARG001
    client = redis.Redis(unix_socket_path=str(served.home / "run" / BROKER_SOCKET))
    client.flushall()
    client.close()


def _restart_database(served: Served, rng: random.Random) -> None:  # noqa: ARG001
    served.database.stop()
    time.sleep(DOWN_S)
    served.database.start()


def _busy_disk(served: Served, rng: random.Random) -> None:
    path, block = served.home.parent / "busy", rng.randbytes(1 << 20)
    until = time.monotonic() + BUSY_S
    with path.open("wb") as file:
        while time.monotonic() < until:
            file.seek(0)
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
    path.unlink()


def _abort(served: Served, rng: random.Random) -> None:  # noqa: ARG001
    """Associations that end in the middle: an abort, and a connection cut within a PDU."""
    ae = AE()
    ae.add_requested_context("1.2.840.10008.1.1")
    for _ in range(5):
        port = served.port
        if port is None:
            return
        assoc = ae.associate("127.0.0.1", port)
        if assoc.is_established:
            assoc.abort()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as half:
            half.sendall(b"\x01\x00\x00\x00\x00\xcd\x00\x01")
            half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def _again(served: Served, rng: random.Random) -> None:
    """One study sent thirty times."""
    films = study_of(small_film(), 10_000_000 + rng.randrange(1000), 1)
    for _ in range(30):
        with suppress(DicomIoError, OSError, RuntimeError):
            send(films, "127.0.0.1", served.port or 0)


def _noise(served: Served, rng: random.Random) -> None:
    for _ in range(20):
        with suppress(OSError), socket.create_connection(("127.0.0.1", served.port or 0), timeout=5) as connection:
            connection.sendall(rng.randbytes(200))


KINDS: dict[str, Callable[[Served, random.Random], None]] = {
    "worker killed": _kill("worker"),
    "film's process killed": _kill("film's process"),
    "listener killed": _kill("listener"),
    "broker killed": _kill("broker"),
    "worker frozen": _freeze("worker"),
    "database frozen": _freeze("database"),
    "queue flushed": _flush,
    "database restarted": _restart_database,
    "disk busy": _busy_disk,
    "sender aborts": _abort,
    "studies sent again": _again,
    "noise on the port": _noise,
}
