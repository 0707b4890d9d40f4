"""The figures of memory as tables in Markdown."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.peers.tables import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

#: MB: the whole system with 2 workers, the process of a worker that judges films, a listener with films on their way.
WHOLE_MB, WHOLE_WORKERS, CHILD_MB, LISTENER_MB = 350, 2, 90, 150
#: What the roles of processes are called, in the order of the tables.
PARTS = {
    "supervisor": "supervisor",
    "fork server": "fork server",
    "listen": "listener",
    "work": "parent of the workers",
    "child": "workers, judging",
    "broker": "broker",
}


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    counts = list(report["workers"])
    head = ["PSS, MB", *(f"{count} worker{'s' if count != '1' else ''}" for count in counts)]
    rows = [
        [
            PARTS.get(part, part),
            *(spread([sum(one.get(part, [])) for one in report["workers"][count]]) for count in counts),
        ]
        for part in parts_of(report)
    ]
    rows.append(["**all processes**", *(spread(totals(report, count)) for count in counts)])
    rows.append(
        ["all processes, right after films", *(spread(_sums(report["after_films"][count])) for count in counts)]
    )
    held = report["listener"]
    targets = [
        ["all processes, 2 workers", spread(totals(report, str(WHOLE_WORKERS))), f"{WHOLE_MB}"],
        ["a worker's judging process", spread(_children(report["workers"][str(WHOLE_WORKERS)])), f"{CHILD_MB}"],
        ["the same, right after films", spread(_children(report["after_films"][str(WHOLE_WORKERS)])), "-"],
        [
            f"listener, {held['associations']} films of {held['megabytes']:.0f} MB on their way",
            spread(held["busy_mb"]),
            f"{LISTENER_MB}",
        ],
        ["listener before, after as many films", spread(held["idle_mb"]), "-"],
    ]
    return (
        f"{report['date']}, commit {report['commit']}, {report['machine']}; {report['rounds']} rounds, medians (least to "
        f"most). At rest, after {report['films']} films for each worker, of each kind.\n\n"
        + markdown(head, rows)
        + "\n"
        + _apart(report)
        + markdown(["PSS, MB", "measured", "at most"], targets)
    )


def _apart(report: dict[str, Any]) -> str:
    """Each process with `WHOLE_WORKERS` workers, and what would be free without it; an older report does not say it."""
    if "own" not in report:
        return ""
    workers = str(WHOLE_WORKERS)
    rows = [
        [
            PARTS.get(part, part),
            *(
                spread([value for one in report[kind][workers] for value in one.get(part, [])])
                for kind in ("workers", "own")
            ),
        ]
        for part in parts_of(report)
    ]
    return markdown([f"each process, {workers} workers", "PSS, MB", "of its own (USS), MB"], rows) + "\n"


def parts_of(report: dict[str, Any]) -> list[str]:
    """The roles that occur, in order."""
    seen = {part for rounds in report["workers"].values() for one in rounds for part in one}
    return sorted(seen, key=lambda part: [*PARTS, part].index(part))


def totals(report: dict[str, Any], workers: str) -> list[float]:
    """MB of all processes, by round."""
    return _sums(report["workers"][workers])


def _sums(rounds: Sequence[dict[str, list[float]]]) -> list[float]:
    return [sum(sum(values) for values in one.values()) for one in rounds]


def _children(rounds: Sequence[dict[str, list[float]]]) -> list[float]:
    return [value for one in rounds for value in one.get("child", [])]


def spread(values: Sequence[float]) -> str:
    """Median, least and most, as text."""
    if not values:
        return "-"
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"
