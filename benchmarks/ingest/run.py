"""``python3 dev.py bench ingest``: durable receive of objects, Auscult's listener against dcmtk's storescp.

Objects of three sizes go over 1, 2, 4, 8 and 16 associations at once to each receiver, in turns. It prints objects a
second and CPU milliseconds an object, and writes ``benchmarks/ingest/ingest.json`` and ``ingest.png``.

storescp is run as a careful user would: bit preserving, PDUs of 128 KiB, no delays of TCP, a process for each association,
and each file synced before it is closed (`durable.c`). It does less than Auscult, which also checks each header, computes
two hashes, and syncs the name. Auscult runs a second time without the hashes, and a third time on pynetdicom's path, which
collects each object in memory.
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
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ingest.picture import draw
from benchmarks.ingest.receivers import receivers
from benchmarks.ingest.senders import push, templates
from benchmarks.ingest.tables import COLLECTING, tables
from benchmarks.machine import ROOT, commit, machine, versions
from tests.support.peers import provided

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.ingest.receivers import Receiver
    from benchmarks.ingest.senders import Template

HERE, QUICK = Path(__file__).resolve().parent, ROOT / "build" / "bench-ingest"
#: Objects of a turn, so that one takes about half a second; at least two for each association.
OBJECTS = {"10 MB": 32, "3.6 MB": 48, ".26 MB": 320}
ASSOCIATIONS = (1, 2, 4, 8, 16)
#: pynetdicom's path is the slowest, so it is measured with these numbers only.
COLLECTING_ASSOCIATIONS = (1, 8)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench ingest", description="Durable receive against storescp.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default 7)")
    parser.add_argument("--minutes", type=float, default=10, help="begin no round that would end later (default 10)")
    parser.add_argument("--quick", action="store_true", help="one round of few objects, written to build/bench-ingest")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    out: Path = told.out or (QUICK if told.quick else HERE)
    objects = dict.fromkeys(OBJECTS, 4) if told.quick else OBJECTS
    associations = (1, 4) if told.quick else ASSOCIATIONS
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="auscult-ingest-") as folder:
        made = templates(Path(folder))
        with receivers(Path(folder)) as running:
            run = Run(made, running, objects, associations)
            rounds = run.rounds(1 if told.quick else told.rounds, told.minutes * 60)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "load": round(load, 1),
        "rounds": rounds,
        "versions": {"dcmtk": _dcmtk(), **versions("pynetdicom", "pydicom")},
        "objects": [{"name": one.name, "bytes": len(one.data), "a_turn": objects[one.name]} for one in made],
        "lines": run.lines,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "ingest.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(out / "ingest.png", report)
    sys.stdout.write(tables(report) + "\n")
    return 0


class Run:
    """One run: what is sent to whom, and what was measured so far.

    `lines` hold objects a second and CPU ms an object of each round, by receiver, object and number of associations.
    """

    def __init__(
        self,
        made: Sequence[Template],
        running: Sequence[Receiver],
        objects: dict[str, int],
        associations: Sequence[int],
    ) -> None:
        self._made = made
        self._objects = objects
        self._numbers = count()
        self._turns = [
            (receiver, template, many)
            for template in made
            for many in associations
            for receiver in running
            if receiver.name != COLLECTING or many in COLLECTING_ASSOCIATIONS
        ]
        self.lines: list[dict[str, Any]] = [
            {
                "receiver": receiver.name,
                "object": template.name,
                "associations": many,
                "objects_per_s": [],
                "cpu_ms": [],
            }
            for receiver, template, many in self._turns
        ]

    def rounds(self, most: int, limit_s: float) -> int:
        """Measure so many rounds, fewer if that would take too long; return how many."""
        began = time.monotonic()
        for _ in self._measured(first_only=True):
            # Caches, threads and pages are there after the first objects.
            pass
        for number in range(most):
            one_began = time.monotonic()
            for line, rate, cpu_ms in self._measured(first_only=False):
                line["objects_per_s"].append(round(rate, 2))
                line["cpu_ms"].append(round(cpu_ms, 3))
            took_s = time.monotonic() - one_began
            spent_s = time.monotonic() - began
            sys.stderr.write(f"round {number + 1} of {most}, {spent_s:.0f} s\n")
            if number + 1 < most and spent_s + took_s > limit_s:
                sys.stderr.write(f"another round would take longer than {limit_s / 60:g} minutes in all\n")
                return number + 1
        return most

    def _measured(self, *, first_only: bool) -> Iterator[tuple[dict[str, Any], float, float]]:
        """Each line with objects a second and CPU ms an object; `first_only`: each receiver and object once."""
        seen = set()
        for line, (receiver, template, many) in zip(self.lines, self._turns, strict=True):
            if first_only and (receiver.name, template.name) in seen:
                continue
            seen.add((receiver.name, template.name))
            yield line, *self._turn(receiver, template, many)

    def _turn(self, receiver: Receiver, template: Template, associations: int) -> tuple[float, float]:
        objects = template.copies([next(self._numbers) for _ in range(self._objects[template.name])])
        before, began = receiver.cpu_s(), time.perf_counter()
        push(receiver.port, template, objects, associations)
        wall_s = time.perf_counter() - began
        used_s = receiver.cpu_s() - before
        if len(receiver.objects()) != len(objects):
            raise RuntimeError(f"{receiver.name} did not store all objects")
        receiver.clear()
        return len(objects) / wall_s, used_s / len(objects) * 1000


def _dcmtk() -> str:
    peers = provided(("storescp",), ("dcmtk",))
    told = subprocess.run(
        [peers.programs["storescp"], "--version"], capture_output=True, text=True, check=False, env=peers.environment
    )
    return told.stdout.split()[2].removeprefix("v") if told.stdout else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
