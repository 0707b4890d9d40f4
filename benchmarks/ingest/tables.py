"""The figures of receiving as tables in Markdown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.peers.tables import markdown
from benchmarks.peers.verdict import short, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

STORESCP, OURS, UNHASHED, COLLECTING = "storescp", "auscult", "auscult-unhashed", "pynetdicom"
TITLES = {
    STORESCP: "storescp",
    OURS: "Auscult",
    UNHASHED: "Auscult without its hashes",
    COLLECTING: "pynetdicom's path",
}
#: Least share of storescp's objects a second, and most of its CPU for what it does too.
LEAST_RATE, MOST_CPU = 1.0, 1.2


@dataclass(frozen=True, slots=True)
class Line:
    """One receiver with one kind of object over so many associations, by round."""

    objects_per_s: Sequence[float]
    cpu_ms: Sequence[float]


def line_of(report: dict[str, Any], receiver: str, name: str, associations: int) -> Line | None:
    """What was measured; None where nothing was."""
    wanted = (receiver, name, associations)
    for line in report["lines"]:
        if (line["receiver"], line["object"], line["associations"]) == wanted:
            return Line(line["objects_per_s"], line["cpu_ms"])
    return None


def cases(report: dict[str, Any]) -> list[tuple[str, int]]:
    """The objects and numbers of associations, in order."""
    return list(dict.fromkeys((line["object"], line["associations"]) for line in report["lines"]))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of the same round; 0 where the others took less than can be measured."""
    found = [one / other for one, other in zip(ours, theirs, strict=True) if other > 0]
    return statistics.median(found) if found else 0.0


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    named = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    rounds = f"{report['rounds']} round{'s' if report['rounds'] > 1 else ''}"
    about = (
        f"{report['date']}, commit {report['commit']}, {report['machine']}, load {report['load']:.1f} when it began; {named}. "
        f"Medians of {rounds} in turns (least to most). Ratios are medians of those of the same round, "
        f"Auscult's over storescp's. Targets: at least {LEAST_RATE:.1f} of its objects a second, and without the hashes at "
        f"most {MOST_CPU:.1f} of its CPU."
    )
    parts = [
        about,
        "**Objects a second**",
        _rates(report),
        "**CPU milliseconds an object**",
        _cpu(report),
        f"**{TITLES[COLLECTING]}**",
        _collecting(report),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _rates(report: dict[str, Any]) -> str:
    rows = []
    for name, associations in cases(report):
        theirs, ours, unhashed = (line_of(report, key, name, associations) for key in (STORESCP, OURS, UNHASHED))
        if theirs and ours and unhashed:
            found = ratio(ours.objects_per_s, theirs.objects_per_s)
            shown = [spread(one.objects_per_s) for one in (theirs, ours, unhashed)]
            rows.append([name, str(associations), *shown, f"{found:.2f}", "met" if found >= LEAST_RATE else "missed"])
    return markdown(_head("ratio"), rows)


def _cpu(report: dict[str, Any]) -> str:
    rows = []
    for name, associations in cases(report):
        theirs, ours, unhashed = (line_of(report, key, name, associations) for key in (STORESCP, OURS, UNHASHED))
        if theirs and ours and unhashed:
            whole, found = ratio(ours.cpu_ms, theirs.cpu_ms), ratio(unhashed.cpu_ms, theirs.cpu_ms)
            shown = [spread(one.cpu_ms) for one in (theirs, ours, unhashed)]
            verdict = "met" if found <= MOST_CPU else "missed"
            rows.append([name, str(associations), *shown, f"{whole:.2f}", f"{found:.2f}", verdict])
    return markdown(_head("ratio", "ratio without hashes"), rows)


def _collecting(report: dict[str, Any]) -> str:
    rows = [
        [name, str(associations), short(statistics.median(line.objects_per_s)), short(statistics.median(line.cpu_ms))]
        for name, associations in cases(report)
        if (line := line_of(report, COLLECTING, name, associations))
    ]
    return markdown(["object", "associations", "objects a second", "CPU ms"], rows)


def _head(*ratios: str) -> list[str]:
    return ["object", "associations", TITLES[STORESCP], TITLES[OURS], TITLES[UNHASHED], *ratios, "target"]
