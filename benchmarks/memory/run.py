"""``python3 dev.py bench memory``: PSS of each process with 1, 2 and 4 workers, and of a listener with films on their way.

Each is weighed right after its films, and once more at rest: workers give the buffers of films back after two heartbeats.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import ROOT, commit, machine
from benchmarks.memory.picture import draw
from benchmarks.memory.tables import tables
from benchmarks.peers.films import KINDS, Films
from benchmarks.peers.measure import Burst, Line, idle, measure_burst
from benchmarks.peers.sender import begin, framed, negotiated_pdu
from benchmarks.peers.systems import Auscult
from tests.support.running import role

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

#: MB of each process, by its role.
Weights = dict[str, list[float]]

HERE, QUICK = Path(__file__).resolve().parent, ROOT / "build" / "bench-memory"
#: Workers are compared after so many films of each kind for each of them.
FILMS, QUICK_FILMS, ASSOCIATIONS = 4, 1, 8
#: More than two heartbeats of a worker (`AUSCULT_HEARTBEAT_S`).
HEARTBEAT_S, QUICK_HEARTBEAT_S, REST = 5.0, 0.5, 2.6


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench memory", description="PSS of Auscult's processes.")
    parser.add_argument(
        "--rounds", type=int, default=2, help="times that each number of workers is started (default 2)"
    )
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers (default 1,2,4)")
    parser.add_argument(
        "--quick", action="store_true", help="one round with 2 workers and few films, written to build/bench-memory"
    )
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    rounds = 1 if told.quick else told.rounds
    numbers = [2] if told.quick else [int(number) for number in told.workers.split(",")]
    out = told.out or (QUICK if told.quick else HERE)
    count, heartbeat_s = (QUICK_FILMS, QUICK_HEARTBEAT_S) if told.quick else (FILMS, HEARTBEAT_S)
    films = [Films(replace(kind, burst=count), count) for kind in KINDS]
    workers: dict[str, list[Weights]] = {str(number): [] for number in numbers}
    after_films: dict[str, list[Weights]] = {str(number): [] for number in numbers}
    listener: dict[str, Any] = {
        "associations": ASSOCIATIONS,
        "megabytes": films[0].megabytes,
        "idle_mb": [],
        "busy_mb": [],
    }
    for turn in range(rounds):
        for number in numbers:
            busy, found, held = _measured(number, films, heartbeat_s)
            after_films[str(number)].append(busy)
            workers[str(number)].append(found)
            listener["idle_mb"].append(held[0])
            listener["busy_mb"].append(held[1])
            total = sum(sum(values) for values in found.values())
            sys.stdout.write(f"round {turn + 1}, {number} workers: {total:.0f} MB, listener with films {held[1]:.0f}\n")
            sys.stdout.flush()
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "films": count,
        "workers": workers,
        "after_films": after_films,
        "listener": listener,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "memory.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(out / "memory.png", report)
    sys.stdout.write(tables(report) + "\n")
    return 0


def _measured(workers: int, films: Sequence[Films], heartbeat_s: float) -> tuple[Weights, Weights, tuple[float, float]]:
    """What the processes weigh after films and at rest; then MB of the listener, before and with films on their way."""
    system = Auscult(workers, AUSCULT_HEARTBEAT_S=str(heartbeat_s))
    system.start()
    try:
        for each in films:
            count = each.kind.burst * workers
            line = Line(system.key, each.kind.key, senders=2, films=count)
            measure_burst(system, Burst(each.burst(count)), line, counts=False)
        idle(system)
        after_films = _weights(system)
        time.sleep(REST * heartbeat_s)
        return after_films, _weights(system), _with_films_on_their_way(system, films[0])
    finally:
        system.stop()


def _weights(system: Auscult) -> Weights:
    found: Weights = {}
    processes = system.processes()
    for process in processes:
        name = "supervisor" if process.pid == processes[0].pid else role(process)
        found.setdefault(name, []).append(round(_pss_mb(process), 1))
    return found


def _with_films_on_their_way(system: Auscult, films: Films) -> tuple[float, float]:
    """MB of the listener when each association has sent all of a film but its end, after one before that ended."""
    listener = next(process for process in system.processes() if role(process) == "listen")
    before = _pss_mb(listener)
    burst = films.burst(ASSOCIATIONS)
    expected = system.rows() + ASSOCIATIONS
    max_pdu = negotiated_pdu(system.port, system.aet, burst[0])
    with ExitStack() as stack:
        for film in burst:
            stack.callback(begin(system.port, system.aet, film, framed(film, max_pdu)))
        busy = _pss_mb(listener)
    idle(system, expected)
    return round(before, 1), round(busy, 1)


def _pss_mb(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 1e6
