"""The figures of scaling as tables in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.tables import markdown


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    found = {(line["kind"], line["workers"], line["associations"]): line for line in report["lines"]}
    said = f"{report['date']}, commit {report['commit']}, {report['machine']}"
    parts = [f"{said}; medians of {report['rounds']} rounds: films a second (CPU ms a film)"]
    for kind in report["kinds"]:
        head = [kind["title"], *(f"{number} association{'s'[: number > 1]}" for number in report["associations"])]
        rows = []
        for workers in report["workers"]:
            lines = [found[kind["key"], workers, number] for number in report["associations"]]
            cells = (f"{line['films_a_second']:.1f} ({line['cpu_ms_a_film']:.0f})" for line in lines)
            rows.append([f"{workers} worker{'s'[: workers > 1]}", *cells])
        parts.append(markdown(head, rows))
    return "\n\n".join(parts)
