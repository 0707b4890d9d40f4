"""What is measured of one system: a burst of films, one film on an idle machine, its memory."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.films import shares
from benchmarks.peers.sender import framed, negotiated_pdu, send
from benchmarks.peers.systems import cpu_s, pss_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.films import Film, Films
    from benchmarks.peers.systems import System
    from model.serving.engine import Engine

DONE_S, IDLE_S = 300.0, 1.0
#: How often the table of results is looked at.
POLL_S, FINE_POLL_S, SETTLED_POLL_S = 0.004, 0.001, 0.05
INFERENCES = 40


@dataclass
class Line:
    """The bursts of one kind that a system was sent by so many senders: one value a round."""

    system: str
    kind: str
    senders: int
    films: int
    #: From the first byte to the last committed row.
    wall_s: list[float] = field(default_factory=list)
    #: From the first byte to the last answer.
    answered_s: list[float] = field(default_factory=list)
    #: Of all processes of the system, until nothing was left to do.
    cpu_s: list[float] = field(default_factory=list)


class Burst:
    """Films in their PDUs, for every length of PDU that a system asks for."""

    def __init__(self, films: Sequence[Film]) -> None:
        self.films = films
        self._framed: dict[int, list[Any]] = {}

    def of(self, max_pdu: int, count: int) -> list[Any]:
        """The first so many, in PDUs of this length."""
        made = self._framed.setdefault(max_pdu, [])
        made += [framed(film, max_pdu) for film in self.films[len(made) : count]]
        return made[:count]


def measure_burst(system: System, burst: Burst, line: Line, *, counts: bool) -> None:
    """Send a burst, wait for its rows, then until nothing is left to do."""
    like = burst.films[0]
    max_pdu = negotiated_pdu(system.port, system.aet, like)
    parts = shares(burst.of(max_pdu, line.films), line.senders)
    # What systems that do not sync have left to write must not meet the next one's.
    os.sync()
    expected, used = system.rows() + line.films, cpu_s(system)
    began, sent = send(system.port, system.aet, like, parts)
    ended = _wait(system, lambda: system.rows() >= expected, POLL_S, "its rows")
    _wait(system, system.is_settled, SETTLED_POLL_S, "what it has to do")
    if counts:
        line.wall_s.append(round(ended - began, 4))
        line.answered_s.append(round(max(one.answered for one in sent) - began, 4))
        line.cpu_s.append(round(cpu_s(system) - used, 4))


def latencies_ms(system: System, films: Films, count: int) -> dict[str, list[float]]:
    """One film after the other on an idle machine: from its first and from its last byte to its row, ms."""
    found: dict[str, list[float]] = {"first": [], "last": []}
    for _ in range(count):
        burst = Burst(films.burst(1))
        like = burst.films[0]
        parts = [burst.of(negotiated_pdu(system.port, system.aet, like), 1)]
        _wait(system, system.is_settled, SETTLED_POLL_S, "what it has to do")
        expected = system.rows() + 1
        _, (sent,) = send(system.port, system.aet, like, parts)
        ended = _wait(system, lambda: system.rows() >= expected, FINE_POLL_S, "its row")  # noqa: B023
        found["first"].append(round((ended - sent.first) * 1000, 2))
        found["last"].append(round((ended - sent.last) * 1000, 2))
    return found


def idle(system: System, rows: int = 0) -> None:
    """Wait until a system has at least so many rows and nothing left to do, and a moment longer."""
    _wait(system, lambda: system.rows() >= rows, SETTLED_POLL_S, "its rows")
    _wait(system, system.is_settled, SETTLED_POLL_S, "what it has to do")
    time.sleep(IDLE_S)


def idle_memory(system: System) -> dict[str, float]:
    """PSS of the whole system, MB, when it has done everything, and how many processes it has."""
    idle(system)
    return {"pss_mb": round(pss_mb(system), 1), "processes": len(system.processes())}


def network_ms(engine: Engine, size: int) -> float:
    """CPU of one inference, one thread: the median of some."""
    batch = np.random.default_rng(1).random((1, size, size, 1), dtype=np.float32)
    times = []
    for _ in range(INFERENCES):
        began = time.process_time()
        engine.logits(batch)
        times.append((time.process_time() - began) * 1000)
    return statistics.median(times)


def wait_for(system: System, done: Callable[[], bool], what: str) -> float:
    """Wait until a system has done something; the moment on the monotonic clock."""
    return _wait(system, done, SETTLED_POLL_S / 5, what)


def _wait(system: System, done: Callable[[], bool], pause_s: float, what: str) -> float:
    """Wait until a system has done something; the moment on the monotonic clock."""
    deadline = time.monotonic() + DONE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {DONE_S:g} s in vain for {system.title} and {what}; it said:\n{system.said()}")
        time.sleep(pause_s)
    return time.monotonic()
