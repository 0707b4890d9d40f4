"""The figures of the stages as a table in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.peers.films import KINDS
from benchmarks.peers.tables import markdown
from benchmarks.peers.verdict import spread

#: What a system that only receives, decodes and judges would have to do too.
BARE = ("receive", "film", "network")
#: CPU that everything else may take of a study on SQLite, ms.
TARGET_MS = 4.0


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    kinds = [kind for kind in KINDS if kind.key in report["cpu_ms"]]
    stages = list(report["stages"])
    found: dict[str, dict[str, list[float]]] = report["cpu_ms"]
    rows = [
        [f"{stage}: {report['stages'][stage]}", *(spread(found[kind.key][stage]) for kind in kinds)] for stage in stages
    ]
    rest = [sum(statistics.median(found[kind.key][stage]) for stage in stages if stage not in BARE) for kind in kinds]
    rows.append(["**all but " + ", ".join(BARE) + "**", *(f"**{value:.1f}**" for value in rest)])
    verdict = "met" if max(rest) <= TARGET_MS else f"missed: {max(rest):.1f}"
    return (
        f"{report['date']}, commit {report['commit']}, {report['machine']}, load {report['load']:.1f} when it began. CPU ms of a "
        f"study with one film on SQLite, median (least to most) of {report['rounds']} rounds of {report['films']} films, in turns "
        f"by kind. Target for all but {', '.join(BARE)}: at most {TARGET_MS:g} ms: {verdict}.\n\n"
        + markdown(["stage", *(kind.title for kind in kinds)], rows)
    )
