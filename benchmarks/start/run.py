"""``python3 dev.py bench start``: CPU to run ``auscult --help``, ``worklist`` and ``status``, and nothing, in turns.

The commands run on a site that works: ``auscult up`` with a few studies.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.film import draw
from benchmarks.machine import ROOT, commit, machine
from benchmarks.peers.films import KINDS, Films
from benchmarks.peers.measure import Burst, Line, measure_burst
from benchmarks.peers.systems import Auscult
from benchmarks.start.tables import NOTHING, TARGETS, ratio, tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE, QUICK = Path(__file__).resolve().parent, ROOT / "build" / "bench-start"
FILMS = 5
#: `auscult status` ends with 1 where something deserves a look.
GOOD = (0, 1)
READY_S = 60.0
AUSCULT = str(Path(sys.executable).with_name("auscult"))
TITLE = "CPU of a command / CPU of `python -c pass` (mark: at most)"


class CommandFailed(RuntimeError):
    """A command ended with an exit code that says that something is wrong; the message has what it printed."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench start", description="CPU to start a command.")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that count (default 15)")
    parser.add_argument("--quick", action="store_true", help="two rounds, written to build/bench-start")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    rounds, out = 2 if told.quick else told.rounds, told.out or (QUICK if told.quick else HERE)
    films = Films(next(kind for kind in KINDS if kind.key == "small"), FILMS)
    system = Auscult(1)
    system.start()
    try:
        measure_burst(system, Burst(films.burst(FILMS)), Line(system.key, "small", 1, FILMS), counts=False)
        _wait_until_well(system.environment)
        cpu_ms, wall_ms = _measured(rounds, system.environment)
    finally:
        system.stop()
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "start.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    rows = [{"case": name, "ratio": round(ratio(report, name), 1), "target": most} for name, most in TARGETS.items()]
    draw(out / "start.png", {"rows": rows}, TITLE)
    sys.stdout.write(tables(report) + "\n")
    return 0


def _wait_until_well(environment: Mapping[str, str]) -> None:
    """Wait until ``auscult status`` finds nothing that fails: a machine may still be busy with the films."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            _cost_ms([AUSCULT, "status"], environment)
        except CommandFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _measured(rounds: int, environment: Mapping[str, str]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """CPU and wall milliseconds of each command, by round; the first round fills the caches and is not counted."""
    commands = {NOTHING: [sys.executable, "-c", "pass"]}
    commands |= {name: [AUSCULT, *name.split()[1:]] for name in TARGETS}
    cpu_ms: dict[str, list[float]] = {name: [] for name in commands}
    wall_ms: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            cpu, wall = _cost_ms(command, environment)
            if turn:
                cpu_ms[name].append(round(cpu, 2))
                wall_ms[name].append(round(wall, 2))
    return cpu_ms, wall_ms


def _cost_ms(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """CPU and wall milliseconds of a command and whatever it starts; raises CommandFailed with what it said."""
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        ) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        wall_ms = (time.monotonic() - began) * 1000
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in GOOD:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise CommandFailed(f"{' '.join(command)} ended with {process.returncode}:\n{text[-4000:]}")
    return (used.ru_utime + used.ru_stime) * 1000, wall_ms
