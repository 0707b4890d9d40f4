"""The figures of starting as a table in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.peers.tables import markdown
from benchmarks.peers.verdict import spread

NOTHING = "python -c pass"
#: How many times the CPU of an interpreter that does nothing each command may take.
TARGETS = {"auscult --help": 25, "auscult worklist": 45, "auscult status": 45}


def ratio(report: dict[str, Any], command: str) -> float:
    """The ratio of the medians of CPU time."""
    taken: dict[str, list[float]] = report["cpu_ms"]
    return statistics.median(taken[command]) / statistics.median(taken[NOTHING])


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    rows = [[f"`{NOTHING}`", spread(report["cpu_ms"][NOTHING]), spread(report["wall_ms"][NOTHING]), "1", "-"]]
    for command, most in TARGETS.items():
        found = ratio(report, command)
        verdict = "met" if found <= most else "missed"
        cells = [spread(report[name][command]) for name in ("cpu_ms", "wall_ms")]
        rows.append([f"`{command}`", *cells, f"{found:.0f}", f"at most {most}: {verdict}"])
    return (
        f"{report['date']}, commit {report['commit']}, {report['machine']}; {report['rounds']} rounds in turns, medians (least "
        "to most).\n\n" + markdown(["command", "CPU ms", "wall ms", "ratio of CPU", "target"], rows)
    )
