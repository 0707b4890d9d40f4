"""``python3 dev.py bench soak [--minutes N] [--studies N] [--out FOLDER]``: a week's load with faults, in about an hour."""

from __future__ import annotations

import argparse
import platform
import random
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from benchmarks.soak import report
from benchmarks.soak.faults import strike
from benchmarks.soak.plan import DAYS, STUDIES_A_DAY, Plan
from benchmarks.soak.sampling import Sampler
from benchmarks.soak.site import new_folder, serving
from benchmarks.soak.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.site import Served

#: Studies are stuck when none has become terminal for so long after everything was sent.
STALL_S = 180.0
SAY_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; exit code 1 where something was lost or a line grows."""
    parser = argparse.ArgumentParser(prog="dev.py bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the week takes (default 60)")
    parser.add_argument("--studies", type=int, default=STUDIES_A_DAY * DAYS, help="default 10500")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder for soak.json and soak.png")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.minutes * 60, chosen.studies, chosen.seed)
    with new_folder() as folder, serving(Path(folder)) as served:
        document = soak(plan, served, chosen.out)
    return 1 if any(document["checked"][name] for name in ("lost", "stuck")) or "GROWS" in document["verdicts"] else 0


def soak(plan: Plan, served: Served, out: Path) -> dict[str, Any]:
    """Run the plan and write what came of it."""
    sampler, traffic = Sampler(served), Traffic(plan, served)
    began, began_at = time.monotonic(), time.time()
    sampler.start(began)
    traffic.start(began)
    struck = _strike_all(plan, served, traffic, began)
    rows = _finished(served, traffic)
    sampler.stop()
    waits = report.latencies(rows, began_at)
    report.keep(out, sampler, waits)
    grown = report.growths(sampler, waits, plan)
    document = _document(plan, traffic, rows, struck, grown)
    report.write(out, document, report.panels(sampler, waits, plan), [at for at, _ in struck], plan)
    _say(document, grown, out)
    return document


def _strike_all(plan: Plan, served: Served, traffic: Traffic, began: float) -> list[tuple[float, str]]:
    """Let the faults happen in this thread: a server that it starts again ends with the thread that started it."""
    rng, struck, said = random.Random(plan.seed), [], began
    due = plan.faults()
    while time.monotonic() - began < plan.seconds or not traffic.is_done:
        now = time.monotonic()
        if due and now - began >= due[0][0]:
            _, kind = due.pop(0)
            struck.append((now - began, kind))
            strike(kind, served, rng)
        if now - said >= SAY_S:
            said = now
            _line(
                f"{(now - began) / plan.day_s:.2f} days, {len(traffic.acknowledged)} studies acknowledged, {traffic.behind_s:.0f} s behind, {len(struck)} faults"
            )
        time.sleep(0.2)
    return struck


def _finished(served: Served, traffic: Traffic) -> dict[str, dict[str, Any]]:
    """The worklist once every acknowledged study is terminal, or when none has become so for a while."""
    least, until = len(traffic.acknowledged) + 1, time.monotonic() + STALL_S
    while True:
        rows = report.rows_of(served)
        left = sum(rows.get(uid, {}).get("status") not in report.TERMINAL for uid in traffic.acknowledged)
        if left < least:
            least, until = left, time.monotonic() + STALL_S
        if not left or time.monotonic() > until:
            return rows
        time.sleep(1.0)


def _document(
    plan: Plan, traffic: Traffic, rows: dict[str, Any], struck: list[tuple[float, str]], grown: list[report.Growth]
) -> dict[str, Any]:
    known = [rows[uid] for uid in traffic.acknowledged if uid in rows]
    with psycopg.connect(report.url_of(traffic.served)) as connection:
        (doubled,) = connection.execute(report.DOUBLED).fetchone() or (0,)
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": f"{psutil.cpu_count()} CPUs, {psutil.virtual_memory().total >> 30} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "plan": {"studies": plan.studies, "minutes": plan.seconds / 60, "days": plan.days, "seed": plan.seed},
        "faults": [{"at_s": round(at, 1), "kind": kind} for at, kind in struck],
        "checked": {
            "acknowledged": len(traffic.acknowledged),
            "sent_again": traffic.retries,
            "lost": len(traffic.acknowledged) - len(known),
            "doubled": doubled,
            "stuck": sum(row["status"] not in report.TERMINAL for row in known),
            "failed": sum(row["status"] == "FAILED" for row in known),
        },
        "growth": [asdict(each) | {"verdict": each.verdict} for each in grown],
        "verdicts": sorted({each.verdict for each in grown}),
    }


def _say(document: dict[str, Any], grown: list[report.Growth], out: Path) -> None:
    sys.stdout.write(f"{'line':44} {'level':>8} {'over the week, 95 %':>28}  verdict\n")
    for each in grown:
        span = f"{each.change:+.2f} ({each.low:+.2f} to {each.high:+.2f})"
        sys.stdout.write(f"{each.name:44} {each.level:8.1f} {span:>28}  {each.verdict}\n")
    counts = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in document["checked"].items())
    sys.stdout.write(
        f"{len(document['faults'])} faults; studies: {counts}\nwritten: {out / 'soak.json'}, {out / 'soak.png'}\n"
    )


def _line(text: str) -> None:
    sys.stderr.write(f"soak: {text}\n")
    sys.stderr.flush()
