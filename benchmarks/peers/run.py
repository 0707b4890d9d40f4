"""``python3 dev.py bench peers``: how long from C-STORE to a committed row, what it costs, and what others take.

Each system is first looked at alone: how long one film takes on an idle machine, and what all its processes weigh. Then all
run at once and bursts go to them in turns, in another order each round; the first round warms up and is not counted.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.durable import durable_library
from benchmarks.machine import ROOT, commit, cores, machine, versions
from benchmarks.peers import readme
from benchmarks.peers.films import KINDS, Films
from benchmarks.peers.measure import (
    Burst,
    Line,
    idle_memory,
    latencies_ms,
    measure_burst,
    network_ms,
)
from benchmarks.peers.orthanc import DURABLE, OBVIOUS, REDUCED, TUNED, OrthancSystem, fitting_plugin
from benchmarks.peers.picture import draw
from benchmarks.peers.systems import MODEL, Auscult, Receiver
from benchmarks.peers.tables import compared, tables
from model.serving.bundle import builtin_folder, find_bundle
from model.serving.engine import open_engine
from model.statistics.sigmoid import sigmoid
from tests.support.debian import programs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peers.films import Kind
    from benchmarks.peers.systems import System
    from tests.support.debian import Peers

HERE = Path(__file__).resolve().parent
QUICK = ROOT / "build" / "bench-peers"
SENDERS, QUICK_SENDERS = (1, 4), (2,)
PROGRAMS, PACKAGES = ("Orthanc", "storescp"), ("orthanc", "dcmtk")


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    told = _told(arguments)
    if told.readme:
        readme.write()
        return 0
    out = told.out or (QUICK if told.quick else HERE)
    before = _read(HERE / "peers.json")
    programs = programs_of(PROGRAMS, PACKAGES)
    if programs is None:
        say(f"{', '.join(PROGRAMS)}: neither on the PATH nor to be had from Debian's {', '.join(PACKAGES)}")
        return 2
    kinds = [replace(kind, burst=2, obvious_burst=1) if told.quick else kind for kind in KINDS]
    with tempfile.TemporaryDirectory(prefix="auscult-bench-") as scratch, ExitStack() as running:
        run = Run(programs, kinds, Path(scratch), running, is_quick=told.quick)
        run.alone(1 if told.quick else told.films_alone)
        done = 0
        try:
            for report in run.rounds(1 if told.quick else told.rounds, told.minutes * 60):
                out.mkdir(parents=True, exist_ok=True)
                (out / "peers.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
                done = report["rounds"]
        except RuntimeError as error:
            # A peer that refuses a film ends its round, which does not count; those before it do.
            if not done:
                raise
            say(f"ended in round {done + 1}: {error}")
    report = json.loads((out / "peers.json").read_text(encoding="utf-8"))
    draw(out / "peers.png", report)
    say(tables(report))
    say(compared(report, before) if before else "no result was committed before")
    return 0


def _told(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py bench peers", description="Auscult beside Orthanc with a plug-in, from C-STORE to a committed row."
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default 7)")
    parser.add_argument("--films-alone", type=int, default=7, help="films of each kind on an idle machine (default 7)")
    parser.add_argument("--minutes", type=float, default=14, help="begin no round that would end later (default 14)")
    parser.add_argument("--quick", action="store_true", help="one short round of 2 films, written to build/bench-peers")
    parser.add_argument("--readme", action="store_true", help="only write README.md's table from the committed result")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    return parser.parse_args(arguments)


class Run:
    """One run: the systems, the films, and what was measured so far. `running` ends the systems that are started.

    A quick one shows that everything works: no system is started twice, so that none is alone, and nothing warms up.
    """

    def __init__(
        self, programs: Peers, kinds: Sequence[Kind], scratch: Path, running: ExitStack, *, is_quick: bool
    ) -> None:
        # Before the first file is written, which is in the working tree.
        self._commit = commit()
        self._began = time.monotonic()
        self._kinds, self._running, self._is_quick = kinds, running, is_quick
        plugin = fitting_plugin()
        orthancs = [OrthancSystem(variant, programs, plugin) for variant in (OBVIOUS, *TUNED, DURABLE, REDUCED)]
        self._systems: list[System] = [Auscult(), *orthancs]
        library = durable_library(scratch)
        if library:
            self._systems.append(Receiver(programs, library))
        else:
            say("no C compiler: storescp cannot be made durable, so the ceiling of receiving is left out")
        self._bundle = find_bundle(MODEL, [builtin_folder()])
        self._films = {kind.key: Films(kind, kind.burst) for kind in kinds}
        self._kind_of: dict[str, str] = {}
        self._network_ms: list[float] = []
        self._alone: dict[str, dict[str, Any]] = {}
        self._lines: dict[tuple[str, str, int], Line] = {}
        self._versions: dict[str, str] = {}
        self._scores: dict[str, dict[str, float]] = {}
        self._done = 0
        say(f"{len(self._systems)} systems, films ready after {time.monotonic() - self._began:.0f} s")

    def alone(self, count: int) -> None:
        """Latency and memory of each system, while no other runs."""
        for system in self._systems:
            if system.key in (DURABLE.key, REDUCED.key) or isinstance(system, Receiver):
                continue
            with ExitStack() as alone:
                system.start()
                alone.callback(system.stop)
                for films in () if self._is_quick else self._films.values():
                    like = Line(system.key, films.kind.key, 2, 2)
                    measure_burst(system, Burst(films.burst(2)), like, counts=False)
                found = {films.kind.key: latencies_ms(system, films, count) for films in self._films.values()}
                self._alone[system.key] = {"latency_ms": found, **idle_memory(system)}
                if self._is_quick:
                    self._running.push(alone.pop_all())
            say(f"{system.title}: alone, {self._alone[system.key]['pss_mb']:.0f} MB")

    def rounds(self, most: int, limit_s: float) -> Iterator[dict[str, Any]]:
        """Send bursts in turns; the report after each round that counts."""
        for system in self._systems:
            if not system.processes():
                system.start()
                self._running.callback(system.stop)
        self._versions = self._asked_versions()
        engine = open_engine(self._bundle, "litert")
        if not self._is_quick:
            self._round(0, counts=False)
        took, began = 0.0, time.monotonic()
        for number in range(most):
            if number and time.monotonic() - self._began + took > limit_s:
                say(f"{number} rounds: another would take longer than {limit_s / 60:.0f} minutes in all")
                break
            self._network_ms.append(round(network_ms(engine, self._bundle.input_size), 3))
            self._round(number, counts=True)
            self._done, took = number + 1, (time.monotonic() - began) / (number + 1)
            self._scores = self._differences()
            say(f"round {self._done} of {most}, {time.monotonic() - self._began:.0f} s")
            yield self.report()

    def _round(self, number: int, *, counts: bool) -> None:
        for place, kind in enumerate(self._kinds):
            for senders in QUICK_SENDERS if self._is_quick else SENDERS:
                burst = Burst(self._films[kind.key].burst(kind.burst if counts else senders * 2))
                self._kind_of |= {film.sop_uid: kind.key for film in burst.films}
                turn = (number + place) % len(self._systems)
                for system in self._systems[turn:] + self._systems[:turn]:
                    if not _is_sent(system, kind):
                        continue
                    count = kind.obvious_burst if system.key == OBVIOUS.key else kind.burst
                    line = Line(system.key, kind.key, senders, min(count, len(burst.films)))
                    line = self._lines.setdefault((system.key, kind.key, senders), line) if counts else line
                    measure_burst(system, burst, line, counts=counts)

    def _differences(self) -> dict[str, dict[str, float]]:
        """How far the probabilities of each system are from Auscult's, by kind: the same work, or not."""
        found: dict[str, dict[str, float]] = {}
        ours = self._systems[0].logits()
        if missing := self._kind_of.keys() - ours.keys():
            raise RuntimeError(f"Auscult judged {len(ours)} films, {len(missing)} not: the comparison would be unfair")
        for system in self._systems[1:]:
            for uid, logit in system.logits().items():
                kind = self._kind_of.get(uid)
                if kind:
                    gap = float(np.abs(np.diff(sigmoid(np.array([logit, ours[uid]]))))[0])
                    most = found.setdefault(system.key, {})
                    most[kind] = max(most.get(kind, 0.0), round(gap, 4))
        return found

    def _asked_versions(self) -> dict[str, str]:
        orthanc = next(system for system in self._systems if isinstance(system, OrthancSystem))
        receiver = next((system for system in self._systems if isinstance(system, Receiver)), None)
        return {
            **orthanc.versions(),
            **({"dcmtk": receiver.version()} if receiver else {}),
            "SQLite": sqlite3.sqlite_version,
            **versions("ai-edge-litert", "keras", "pydicom", "imagecodecs", "numpy"),
        }

    def report(self) -> dict[str, Any]:
        """Everything so far."""
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": self._commit,
            "machine": machine(),
            "cores": cores(),
            "versions": self._versions,
            "model": self._bundle.label,
            "rounds": self._done,
            "network_ms": self._network_ms,
            "kinds": [
                {
                    "key": kind.key,
                    "title": kind.title,
                    "megabytes": round(self._films[kind.key].megabytes, 2),
                    "burst": kind.burst,
                    "obvious_burst": kind.obvious_burst,
                }
                for kind in self._kinds
            ],
            "systems": [
                {"key": system.key, "title": system.title, "guarantees": system.guarantees} for system in self._systems
            ],
            "alone": self._alone,
            "score_differences": self._scores,
            "lines": [asdict(line) for line in self._lines.values()],
        }


def _is_sent(system: System, kind: Kind) -> bool:
    """Variants are sent the films for which they differ."""
    if system.key == REDUCED.key:
        return kind.key == "j2k"
    return system.key != DURABLE.key or kind.key != "j2k"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
