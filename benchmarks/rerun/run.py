"""``python3 dev.py bench rerun``: a re-run of stored films beside the first pass of the same films, by kind of film.

A site (`auscult up --processes 2`) is sent bursts of one kind by four senders, which is the first pass; then `auscult rerun --all`
scores its films again. Each kind has a site of its own in each round, so the two are measured one after the other on the same
films. The CPU of the re-run is that of the site and of the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.film import draw
from benchmarks.machine import ROOT, commit, machine
from benchmarks.peers.films import KINDS, Films
from benchmarks.peers.measure import Burst, Line, measure_burst, wait_for
from benchmarks.peers.systems import Auscult, cpu_s
from benchmarks.rerun.tables import TARGETS, ratio, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.films import Kind

HERE, QUICK = Path(__file__).resolve().parent, ROOT / "build" / "bench-rerun"
SENDERS, PROCESSES = 4, 2
#: Bursts of the first pass: so many films that the start of the command, a second, is a small part of the re-run.
BURSTS = {"raw": 4, "j2k": 4, "jll": 6, "small": 8}
TITLE = "CPU of the first pass / CPU of the re-run (mark: at least)"


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench rerun", description="Re-runs beside the first pass.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default 7)")
    parser.add_argument("--quick", action="store_true", help="one round of 4 films, written to build/bench-rerun")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    rounds, out = 1 if told.quick else told.rounds, told.out or (QUICK if told.quick else HERE)
    kinds = [replace(kind, burst=4) if told.quick else kind for kind in KINDS]
    films = {kind.key: Films(kind, kind.burst) for kind in kinds}
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for kind in kinds:
            figures = _round(films[kind.key], kind, 1 if told.quick else BURSTS[kind.key])
            for name, value in figures.items():
                found.setdefault(kind.key, {}).setdefault(name, []).append(round(value, 2))
        sys.stdout.write(f"round {number + 1} of {rounds}\n")
        sys.stdout.flush()
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "processes": PROCESSES,
        "films": {kind.key: kind.burst * (1 if told.quick else BURSTS[kind.key]) for kind in kinds},
        "found": found,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "rerun.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    rows = [
        {"case": kind.title, "ratio": round(ratio(report, kind.key), 1), "target": TARGETS.get(kind.key)}
        for kind in kinds
    ]
    draw(out / "rerun.png", {"rows": rows}, TITLE)
    sys.stdout.write(tables(report) + "\n")
    return 0


def _round(films: Films, kind: Kind, bursts: int) -> dict[str, float]:
    """CPU ms a film and films a second of both passes."""
    site = Auscult(PROCESSES)
    site.start()
    try:
        # The first film opens the model.
        measure_burst(site, Burst(films.burst(PROCESSES)), Line(site.key, kind.key, 1, PROCESSES), counts=False)
        first = Line(site.key, kind.key, SENDERS, kind.burst)
        for _ in range(bursts):
            measure_burst(site, Burst(films.burst(kind.burst)), first, counts=True)
        wall_s, used_s, count = _rerun(site)
    finally:
        site.stop()
    sent = kind.burst * bursts
    return {
        "first_cpu_ms": sum(first.cpu_s) * 1000 / sent,
        "rerun_cpu_ms": used_s * 1000 / count,
        "first_films_per_s": sent / sum(first.wall_s),
        "rerun_films_per_s": count / wall_s,
    }


def _rerun(site: Auscult) -> tuple[float, float, int]:
    """Seconds from the start of the command to the last committed row, CPU seconds until all is done, and films."""
    auscult = str(Path(sys.executable).with_name("auscult"))
    command = [auscult, "rerun", "--all", "--yes", "--why", "bench"]
    nothing, count = subprocess.DEVNULL, site.rows()
    used, began = cpu_s(site), time.monotonic()
    with subprocess.Popen(command, env=site.environment, stdin=nothing, stdout=nothing) as process:
        ended = wait_for(site, lambda: site.rows() >= 2 * count, "the rows of the re-run")
        _, status, own = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    wait_for(site, site.is_settled, "every study to be final")
    return ended - began, cpu_s(site) - used + own.ru_utime + own.ru_stime, count
