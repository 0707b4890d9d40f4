"""``python3 dev.py bench scaling``: films a second from C-STORE to a committed row, by worker processes and associations.

A site for each number of workers runs at the same time, and bursts go to them in turns, in another order each round: the ratios
between them are worth quoting on a busy machine, and CPU time beside them. The first round warms up and is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import ROOT, commit, machine
from benchmarks.peers.films import KINDS, Films
from benchmarks.peers.measure import Burst, Line, measure_burst
from benchmarks.peers.systems import Auscult
from benchmarks.scaling.picture import draw
from benchmarks.scaling.tables import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
QUICK = ROOT / "build" / "bench-scaling"
WORKERS, ASSOCIATIONS = (1, 2, 4), (1, 2, 4, 8)
SENT = {"raw": 16, "j2k": 8, "small": 32}

Key = tuple[str, int, int]


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench scaling", description="Films a second by workers and associations."
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--minutes", type=float, default=5, help="begin no round that would end later (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short round, written to build/bench-scaling")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    out = told.out or (QUICK if told.quick else HERE)
    report = measure(1 if told.quick else told.rounds, told.minutes * 60, quick=told.quick)
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(out / "scaling.png", report)
    sys.stdout.write(tables(report) + "\n")
    return 0


def measure(rounds: int, limit_s: float, *, quick: bool) -> dict[str, Any]:
    """Send bursts to every site, for each kind of film and number of associations; the report."""
    began = time.monotonic()
    kinds = [replace(kind, burst=8 if quick else SENT[kind.key]) for kind in KINDS if kind.key in SENT]
    films = {kind.key: Films(kind, kind.burst) for kind in kinds}
    lines: dict[Key, Line] = {}
    done = 0
    with ExitStack() as stack:
        sites = {workers: Auscult(workers) for workers in WORKERS}
        for site in sites.values():
            site.start()
            stack.callback(site.stop)
        for turn in range(rounds + 1):
            first = time.monotonic()
            for place, kind in enumerate(kinds):
                for associations in ASSOCIATIONS if turn else ASSOCIATIONS[-1:]:
                    burst = Burst(films[kind.key].burst(kind.burst))
                    at = (turn + place) % len(WORKERS)
                    for workers in WORKERS[at:] + WORKERS[:at]:
                        line = Line(str(workers), kind.key, associations, kind.burst)
                        line = lines.setdefault((kind.key, workers, associations), line)
                        measure_burst(sites[workers], burst, line, counts=turn > 0)
            done = turn
            if turn and time.monotonic() - began + (time.monotonic() - first) > limit_s:
                break
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": done,
        "workers": list(WORKERS),
        "associations": list(ASSOCIATIONS),
        "kinds": [{"key": kind.key, "title": kind.title, "films": kind.burst} for kind in kinds],
        "lines": [_figures(key, line) for key, line in lines.items()],
    }


def _figures(key: Key, line: Line) -> dict[str, Any]:
    rates = [line.films / wall for wall in line.wall_s]
    low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else (rates[0], rates[0], rates[0])
    return {
        "kind": key[0],
        "workers": key[1],
        "associations": key[2],
        "films_a_second": round(statistics.median(rates), 2),
        "spread": [round(low, 2), round(high, 2)],
        "cpu_ms_a_film": round(statistics.median(line.cpu_s) / line.films * 1000, 1),
    }
