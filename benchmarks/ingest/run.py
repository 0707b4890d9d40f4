"""Durable receive of objects: Auscult's listener against dcmtk's storescp.

``python3 dev.py bench ingest [--rounds N]`` sends objects of three sizes over one association and over eight at once, to
each receiver in turns, and prints objects a second and CPU milliseconds an object, medians, and the ratios. It writes
``benchmarks/ingest/ingest.json`` and ``ingest.png``.

storescp is run as a careful user would: bit preserving, PDUs of 128 KiB, no delays of TCP, a process for each association,
and each file synced before it is closed (`durable.c`). It does less than Auscult, which also hashes each object, checks its
header, and syncs its name. "pynetdicom's path" is Auscult's listener as it was before objects were streamed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.film import FAINT, INK, OURS, processor
from benchmarks.ingest.receivers import receivers
from benchmarks.ingest.senders import Template, push, templates
from dicom_io.header.digests import RunningDigests
from tests.support.peers import provided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.ingest.receivers import Receiver

ROUNDS = 7
#: Objects a round, so that a round takes about a second.
COUNTS = {"10 MB": 24, "3.6 MB": 40, ".26 MB": 240}
ASSOCIATIONS = (1, 8)
#: Objects a second of storescp, and its CPU for what it does too.
TARGET_RATE, TARGET_CPU = 1.0, 1.2
FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Measure, print the table, write it as JSON and as a picture."""
    parser = argparse.ArgumentParser(prog="dev.py bench ingest", description="Durable receive against storescp.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds in turns, {ROUNDS} by default")
    rounds = parser.parse_args(arguments).rounds
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="auscult-ingest-") as folder:
        made = templates(Path(folder))
        numbers = count()
        with receivers(Path(folder)) as running:
            rows = [_row(one, associations, running, rounds, numbers) for one in made for associations in ASSOCIATIONS]
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": rounds,
        "load_before": round(load, 1),
        "machine": f"{os.cpu_count()} CPUs, {processor()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {"dcmtk": _dcmtk(), **{name: version(name) for name in ("pynetdicom", "pydicom")}},
        "rows": rows,
    }
    _print(report)
    (FOLDER / "ingest.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(FOLDER / "ingest.png", report)
    return 0


def _row(
    template: Template, associations: int, running: list[Receiver], rounds: int, numbers: Iterator[int]
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {receiver.name: [] for receiver in running}
    cpu_ms: dict[str, list[float]] = {receiver.name: [] for receiver in running}
    for turn in range(rounds + 1):
        for receiver in running:
            objects = template.copies([next(numbers) for _ in range(COUNTS[template.name])])
            before, began = receiver.cpu_s(), time.perf_counter()
            push(receiver.port, template, objects, associations)
            wall_s = time.perf_counter() - began
            # storescp's child of an association may end a moment after it.
            used_s = receiver.cpu_s() - before
            if len(receiver.objects()) != len(objects):
                raise RuntimeError(f"{receiver.name} did not store all objects")
            receiver.clear()
            if turn:
                rates[receiver.name].append(len(objects) / wall_s)
                cpu_ms[receiver.name].append(used_s / len(objects) * 1000)
    hash_ms = _hash_ms(template)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    cpu = {name: statistics.median(values) for name, values in cpu_ms.items()}
    return {
        "object": template.name,
        "associations": associations,
        "objects_per_s": {name: round(value, 1) for name, value in rate.items()},
        "spread": {name: [round(min(values), 1), round(max(values), 1)] for name, values in rates.items()},
        "cpu_ms": {name: round(value, 2) for name, value in cpu.items()},
        "hash_ms": round(hash_ms, 2),
        "rate_ratio": round(rate["auscult"] / rate["storescp"], 2),
        "cpu_ratio_without_hash": round((cpu["auscult"] - hash_ms) / cpu["storescp"], 2),
    }


def _hash_ms(template: Template) -> float:
    """CPU of the two digests that Auscult computes of an object: the whole, and its pixels."""
    times = []
    for _ in range(9):
        began = time.process_time()
        running = RunningDigests(4096, sys.maxsize)
        for start in range(0, len(template.data), 1 << 17):
            running.update(memoryview(template.data)[start : start + (1 << 17)])
        times.append((time.process_time() - began) * 1000)
    return statistics.median(times)


def _dcmtk() -> str:
    peers = provided(("storescp",), ("dcmtk",))
    told = subprocess.run(
        [peers.programs["storescp"], "--version"], capture_output=True, text=True, check=False, env=peers.environment
    )
    return told.stdout.split()[2].removeprefix("v") if told.stdout else ""


def _print(report: dict[str, Any]) -> None:
    write = sys.stdout.write
    write(f"{report['machine']}; {', '.join(f'{name} {number}' for name, number in report['versions'].items())}\n")
    write(f"objects a second (CPU ms an object), medians of {report['rounds']} rounds in turns; ")
    write(f"load before: {report['load_before']}\n\n")
    write(f"{'object':8} {'assoc.':>6} {'storescp':>16} {'Auscult':>16} {'pynetdicom path':>16} {'hash':>6} ")
    write(f"{'rate':>6} {'CPU without hash':>17}\n")
    for row in report["rows"]:
        shown = [
            f"{row['objects_per_s'][name]:.0f} ({row['cpu_ms'][name]:.2f})"
            for name in ("storescp", "auscult", "pynetdicom")
        ]
        write(f"{row['object']:8} {row['associations']:6} {shown[0]:>16} {shown[1]:>16} {shown[2]:>16} ")
        write(f"{row['hash_ms']:6.2f} {row['rate_ratio']:5.2f}x {row['cpu_ratio_without_hash']:16.2f}x\n")
    write(f"\ntargets: at least {TARGET_RATE:.1f}x the objects a second, at most {TARGET_CPU:.1f}x the CPU\n")


def draw(path: Path, report: dict[str, Any]) -> None:
    """Draw the objects a second of both paths against storescp's, with a mark at storescp."""
    rows, left, width, line = report["rows"], 200, 520, 44
    sheet = Image.new("RGB", (left + width + 90, 60 + line * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    pen.text(
        (16, 14), "Durable receive: objects a second / storescp's (mark: storescp)", INK, ImageFont.load_default(18)
    )
    bars = [
        [row["objects_per_s"][name] / row["objects_per_s"]["storescp"] for name in ("auscult", "pynetdicom")]
        for row in rows
    ]
    most = max(1.2, *(value for both in bars for value in both))
    for number, (row, both) in enumerate(zip(rows, bars, strict=True)):
        top = 50 + line * number
        pen.text((16, top + 6), f"{row['object']}, {row['associations']} assoc.", INK, font)
        for below, value, colour in ((0, both[0], OURS), (18, both[1], FAINT)):
            pen.rectangle((left, top + below, left + width * value / most, top + below + 14), colour)
            pen.text((left + width * value / most + 6, top + below), f"{value:.2f}", INK, font)
        mark = left + width / most
        pen.line((mark, top - 3, mark, top + 36), INK, 2)
    sheet.quantize(32).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
