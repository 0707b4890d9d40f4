"""``python3 dev.py bench soak [--minutes N] [--load SHARE]``: load with faults, and whether any line grows.

First so many films are sent at once as show how many a second this machine judges; the soak then sends a share of that.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.machine import commit, machine
from benchmarks.soak import report
from benchmarks.soak.faults import strike
from benchmarks.soak.plan import FAULTS_A_DAY, STUDIES_A_DAY, Plan
from benchmarks.soak.sampling import Sampler
from benchmarks.soak.site import new_folder, serving
from benchmarks.soak.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.flatness import Growth
    from benchmarks.soak.site import Served

#: Studies are stuck when none has become terminal for so long after everything was sent.
STALL_S = 180.0
SAY_S = 60.0
#: Films that are sent at once to see how many a second are judged; the first of them find a cold worker and do not count.
BURST, COLD = 200, 50
CAPACITY = """
SELECT count(*) / NULLIF(EXTRACT(EPOCH FROM max(created_at) - min(created_at)), 0)
FROM (SELECT created_at FROM result ORDER BY id OFFSET %s) AS warm
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; exit code 1 where something was lost or a line grows."""
    parser = argparse.ArgumentParser(prog="dev.py bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long it lasts (default 60)")
    parser.add_argument("--load", type=float, default=0.6, help="share of what this machine judges (default 0.6)")
    parser.add_argument("--studies", type=int, help="so many, whatever the machine judges")
    parser.add_argument("--faults", type=int, default=FAULTS_A_DAY, help="on each of three days (default 4)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder for soak.json and soak.png")
    chosen = parser.parse_args(arguments)
    seconds, rest = chosen.minutes * 60, {"seed": chosen.seed, "faults_a_day": chosen.faults}
    with new_folder() as folder, serving(Path(folder)) as served:
        capacity = measure_capacity(served)
        plan = Plan.at(chosen.load * capacity, seconds, **rest)
        if chosen.studies:
            plan = Plan(seconds, chosen.studies, **rest)
        _line(f"{capacity:.2f} films/s are judged at most; {plan.studies} studies in {chosen.minutes:g} minutes")
        document = soak(plan, served, chosen.out, capacity)
    return 1 if any(document["checked"][name] for name in ("lost", "stuck")) or "GROWS" in document["verdicts"] else 0


def measure_capacity(served: Served) -> float:
    """Films a second that are judged while more of them wait than can be judged."""
    plan = Plan(1.0, BURST, seed=0)
    burst, films = Traffic(plan, served), sum(map(plan.films, range(BURST)))
    burst.start(time.monotonic())
    with psycopg.connect(report.url_of(served), autocommit=True) as connection:

        def left() -> tuple[int, int]:
            (judged,) = connection.execute("SELECT count(*) FROM result").fetchone() or (0,)
            (unfinished,) = connection.execute("SELECT open_studies FROM queue_health").fetchone() or (0,)
            return films - judged, unfinished

        before, until = left(), time.monotonic() + STALL_S
        while before != (0, 0):
            time.sleep(1.0)
            now = left()
            if now != before:
                before, until = now, time.monotonic() + STALL_S
            if time.monotonic() > until:
                raise RuntimeError(f"films are not judged: {served.log.read_text(errors='replace')[-2000:]}")
        (rate,) = connection.execute(CAPACITY, (COLD,)).fetchone() or (0,)
    return float(rate)


def soak(plan: Plan, served: Served, out: Path, capacity: float) -> dict[str, Any]:
    """Run the plan and write what came of it."""
    sampler, traffic = Sampler(served), Traffic(plan, served)
    began, began_at = time.monotonic(), time.time()
    sampler.start(began)
    traffic.start(began)
    struck = _strike_all(plan, served, traffic, began)
    rows = {uid: row for uid, row in _finished(served, traffic).items() if uid in traffic.acknowledged}
    sampler.stop()
    waits = report.latencies(rows, began_at)
    report.keep(out, sampler, waits)
    grown = report.growths(sampler, waits, plan)
    document = _document(plan, traffic, rows, struck, grown) | {"films_a_s_at_most": round(capacity, 2)}
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
    """The worklist once every study is sent and terminal, or when none has become so for a while."""
    while not traffic.is_done:
        time.sleep(0.2)
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
    plan: Plan, traffic: Traffic, rows: dict[str, Any], struck: list[tuple[float, str]], grown: list[Growth]
) -> dict[str, Any]:
    known = [rows[uid] for uid in traffic.acknowledged if uid in rows]
    with psycopg.connect(report.url_of(traffic.served)) as connection:
        (doubled,) = connection.execute(report.DOUBLED).fetchone() or (0,)
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "machine": machine(),
        "plan": {
            "studies": plan.studies,
            "minutes": plan.seconds / 60,
            "seed": plan.seed,
            "days_of_a_hospital": round(plan.studies / STUDIES_A_DAY, 1),
        },
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


def _say(document: dict[str, Any], grown: list[Growth], out: Path) -> None:
    sys.stdout.write(f"{'line':44} {'level':>8} {'growth, 95 %':>28}  verdict\n")
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
