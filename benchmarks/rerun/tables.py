"""The figures of re-runs as a table in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.peers.films import KINDS
from benchmarks.peers.tables import markdown
from benchmarks.peers.verdict import spread

#: How many times less CPU than the first pass a re-run may take, by kind of film.
TARGETS = {"j2k": 5.0, "jll": 6.0}
#: Films a second that a re-run is to reach, on two cores.
LEAST_RATE = 100.0


def ratio(report: dict[str, Any], kind: str) -> float:
    """CPU of the first pass over that of the re-run: the median of the rounds' ratios."""
    found: dict[str, list[float]] = report["found"][kind]
    pairs = zip(found["first_cpu_ms"], found["rerun_cpu_ms"], strict=True)
    return statistics.median(first / again for first, again in pairs)


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    rows = []
    for kind in KINDS:
        found = report["found"][kind.key]
        times, least = ratio(report, kind.key), TARGETS.get(kind.key)
        rate = statistics.median(found["rerun_films_per_s"])
        targets = [f"{least:g}x: {'met' if times >= least else 'missed'}"] if least else []
        targets.append(f"{LEAST_RATE:g} a second: {'met' if rate >= LEAST_RATE else 'missed'}")
        rows.append(
            [
                kind.title,
                str(report["films"][kind.key]),
                *(spread(found[name]) for name in ("first_cpu_ms", "rerun_cpu_ms")),
                f"{times:.1f}",
                *(spread(found[name]) for name in ("first_films_per_s", "rerun_films_per_s")),
                ", ".join(targets),
            ]
        )
    head = [
        "film",
        "films",
        "first pass, CPU ms",
        "re-run, CPU ms",
        "ratio",
        "first pass, films a second",
        "re-run",
        "targets",
    ]
    return (
        f"{report['date']}, commit {report['commit']}, {report['machine']}; {report['processes']} worker processes, "
        f"{report['rounds']} round{'s'[: report['rounds'] > 1]}, medians (least to most) of one film; the first pass begins with the "
        "C-STORE by four senders.\n\n" + markdown(head, rows)
    )
