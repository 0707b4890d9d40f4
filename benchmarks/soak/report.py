"""From samples to figures: the table of growth, the counts of the checker, the JSON file and the picture."""

from __future__ import annotations

import gzip
import json
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from benchmarks.soak.flatness import WARM_S, Growth, growth
from benchmarks.soak.picture import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.soak.plan import Plan
    from benchmarks.soak.sampling import Sampler
    from benchmarks.soak.site import Served

PARTS = ("listener", "worker", "film's process", "broker", "fork server", "supervisor")
MEASURES = {
    "rss": "resident memory, MB",
    "own": "own memory, MB",
    "fds": "file descriptors",
    "threads": "threads",
}
#: Largest growth over the soak that counts as flat, as a share of the level.
TOLERANCE = {"rss": 0.10, "own": 0.10, "fds": 0.10, "threads": 0.10, "latency": 0.25, "pending": 0.25}
#: What is read of the queue, by its name.
QUEUES = {
    "queue, tasks that wait": "pending",
    "inbox, objects that wait": "spool",
    "broker: messages": "hints",
    "broker: memory in use, MB": "broker_used",
}
BIN_S = 30.0
_ROWS = """
SELECT study_uid, ai_status, EXTRACT(EPOCH FROM received_at), EXTRACT(EPOCH FROM finished_at), n_images, label
FROM worklist
"""
#: Images with more than one current result of the active model.
DOUBLED = "SELECT count(*) FROM (SELECT sop_uid FROM result_history WHERE is_current GROUP BY sop_uid HAVING count(*) > 1) AS d"
TERMINAL = ("FINAL", "NOT_APPLICABLE", "FAILED", "WITHHELD")


def url_of(served: Served) -> str:
    """The site's database as libpq wants it."""
    return sa.make_url(served.url).set(drivername="postgresql").render_as_string(hide_password=False)


def rows_of(served: Served) -> dict[str, dict[str, Any]]:
    """The worklist by study."""
    with psycopg.connect(url_of(served)) as connection:
        found = connection.execute(_ROWS).fetchall()
    names = ("status", "received", "finished", "films", "label")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in found}


def latencies(rows: Mapping[str, Mapping[str, Any]], began: float) -> list[tuple[float, float]]:
    """Seconds from the start and seconds from arrival to the answer, of each study that has one."""
    done = [row for row in rows.values() if row["finished"] is not None]
    return sorted((float(row["received"]) - began, float(row["finished"] - row["received"])) for row in done)


def growths(sampler: Sampler, waits: Sequence[tuple[float, float]], plan: Plan) -> list[Growth]:
    """How much each line grew."""
    found = []
    for part in PARTS:
        for measure, name in MEASURES.items():
            rows = [
                (str(row["pid"]), row["at"], row[measure])
                for row in sampler.processes
                if row["part"] == part
                and row["age"] > WARM_S
                and row[measure] is not None
                and row["at"] <= plan.seconds
            ]
            found.append(growth(f"{part}: {name}", rows, plan.seconds, TOLERANCE[measure]))
    medians = [("all", at, value) for at, value, _ in binned(waits) if at <= plan.seconds]
    found.append(growth("latency, s (median)", medians, plan.seconds, TOLERANCE["latency"]))
    for name, measure in QUEUES.items():
        moments = [row for row in sampler.queue if measure in row and row["at"] <= plan.seconds]
        values = [("all", row["at"], float(row[measure])) for row in moments]
        found.append(growth(name, values, plan.seconds, TOLERANCE["pending"]))
    return found


def binned(waits: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, float]]:
    """Moment, median and 95th percentile of the latency in each step of time."""
    cells: dict[int, list[float]] = defaultdict(list)
    for at, wait in waits:
        cells[int(at // BIN_S)].append(wait)
    for step, values in sorted(cells.items()):
        ordered = sorted(values)
        yield (step + 0.5) * BIN_S, statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]


def panels(sampler: Sampler, waits: Sequence[tuple[float, float]], plan: Plan) -> dict[str, dict[str, list[Any]]]:
    """The lines of the picture, moments in days."""
    found: dict[str, dict[str, list[Any]]] = {}
    for measure, name in MEASURES.items():
        lines: dict[str, list[Any]] = {part: [] for part in PARTS}
        for row in sampler.processes:
            if row["part"] in lines and row[measure] is not None:
                lines[row["part"]].append((row["at"] / plan.day_s, row[measure]))
        found[name] = lines
    found["queue"] = {
        "tasks that wait": [(row["at"] / plan.day_s, row["pending"]) for row in sampler.queue if "pending" in row],
        "objects in the inbox": [(row["at"] / plan.day_s, row["spool"]) for row in sampler.queue],
        "messages in the broker": [(row["at"] / plan.day_s, row["hints"]) for row in sampler.queue if "hints" in row],
    }
    steps = list(binned(waits))
    found["arrival to answer, s"] = {
        "median": [(at / plan.day_s, median) for at, median, _ in steps],
        "95th percentile": [(at / plan.day_s, high) for at, _, high in steps],
    }
    return found


def keep(folder: Path, sampler: Sampler, waits: Sequence[tuple[float, float]]) -> None:
    """Write every sample to samples.json.gz, from which other questions can be answered later."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = {"processes": sampler.processes, "queue": sampler.queue, "waits": waits}
    with gzip.open(folder / "samples.json.gz", "wt", encoding="utf-8") as file:
        json.dump(samples, file)


def write(
    folder: Path, document: dict[str, Any], lines: Mapping[str, Any], faults: Sequence[float], plan: Plan
) -> None:
    """Write soak.json and soak.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    title = f"Soak: {plan.studies} studies in {plan.seconds / 60:.0f} minutes, {plan.days} days of {plan.day_s:.0f} s; x: day, red: a fault"
    draw(folder / "soak.png", title, lines, [at / plan.day_s for at in faults], plan.days)
