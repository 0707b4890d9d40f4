"""Samples of every process and of the queue, taken every few seconds by a thread of the soak."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import redis
import sqlalchemy as sa

from worker.queue.message import QUEUE
from worker.settings import BROKER_SOCKET

if TYPE_CHECKING:
    from benchmarks.soak.site import Served

EVERY_S = 5.0
_QUEUE = "SELECT live_pending, claimed, open_studies FROM queue_health"


class Sampler:
    """Collects rows: `processes` (seconds, part, pid, age, MB, descriptors, threads) and `queue` (database, inbox, broker)."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = 0.0
        self.processes: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []

    def start(self, began: float) -> None:
        """Begin to sample."""
        self._began = began
        self._thread.start()

    def stop(self) -> None:
        """Take no further samples."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._sample()

    def _sample(self) -> None:
        at = round(time.monotonic() - self._began, 1)
        for part, processes in self._served.processes().items():
            for process in processes:
                with suppress(psutil.Error, OSError):
                    self.processes.append({"at": at, "part": part, **_measured(process)})
        row: dict[str, Any] = {"at": at, "spool": len(list((self._served.home / "spool" / "new").iterdir()))}
        with suppress(psycopg.Error):
            row |= self._asked()
        with suppress(redis.RedisError, OSError):
            row |= self._held()
        self.queue.append(row)

    def _asked(self) -> dict[str, int]:
        url = sa.make_url(self._served.url).set(drivername="postgresql").render_as_string(hide_password=False)
        # A statement that waits for a frozen server must not stop the samples of the other processes.
        with psycopg.connect(url, connect_timeout=2, options="-c statement_timeout=2000") as connection:
            pending, claimed, open_studies = connection.execute(_QUEUE).fetchone() or (0, 0, 0)
        return {"pending": pending, "claimed": claimed, "open": open_studies}

    def _held(self) -> dict[str, float]:
        """What the broker holds: messages that wait or are taken, and the memory that it says it uses."""
        path = str(self._served.home / "run" / BROKER_SOCKET)
        with redis.Redis(unix_socket_path=path, socket_timeout=2) as client:
            waiting = client.llen(QUEUE)
            return {
                "hints": waiting + client.hlen("unacked"),
                "broker_used": client.info("memory")["used_memory"] / 1e6,
            }


def _measured(process: psutil.Process) -> dict[str, Any]:
    with process.oneshot():
        return {
            "pid": process.pid,
            "age": round(time.time() - process.create_time(), 1),
            "rss": process.memory_info().rss / 1e6,
            "own": own_mb(process.pid),
            "fds": process.num_fds(),
            "threads": process.num_threads(),
        }


def own_mb(pid: int) -> float | None:
    """Memory that is backed by no file, MB; None where the kernel does not tell.

    Resident memory counts files that others read as well; proportional memory changes when another process ends.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) / 1e3
    return None
