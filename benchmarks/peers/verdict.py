"""What a run says: rates and ratios of the measured bursts, against targets that were set before."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS, OBVIOUS, RECEIVER = "auscult", "obvious", "storescp"
#: Those that do the same work as the others; the further variants are printed, and stand for no target.
TUNED = ("tuned-1", "tuned-2")
SHARE_OF_CEILING = 0.9


@dataclass(frozen=True, slots=True)
class Target:
    """How many times the rate of the obvious way, and of the best tuned one."""

    obvious: float
    tuned: float


TARGETS = {"small": Target(8, 1)}
TARGET = Target(10, 2)


@dataclass(frozen=True, slots=True)
class Rate:
    """Studies a second and CPU milliseconds a study: median, least and most of the rounds."""

    median: float
    least: float
    most: float
    cpu_ms: float
    cpu_least: float
    cpu_most: float

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.least)}-{short(self.most)})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One kind of film by so many senders: Auscult against the others, as ratios of rates in the same round."""

    kind: str
    senders: int
    ours: Rate
    obvious: Rate
    tuned: Rate
    tuned_key: str
    against_obvious: float
    against_tuned: float
    #: Studies a second that no system of this machine can exceed; None where it was not measured.
    ceiling: float | None
    #: "receiving" or "network".
    bounded_by: str
    target: Target

    @property
    def is_near_ceiling(self) -> bool:
        """Whether nothing more is asked."""
        return self.ceiling is not None and self.ours.median >= SHARE_OF_CEILING * self.ceiling

    @property
    def is_met(self) -> bool:
        """Whether both targets are met, or the ceiling is."""
        met = self.against_obvious >= self.target.obvious and self.against_tuned >= self.target.tuned
        return met or self.is_near_ceiling


def rates_of(line: dict[str, Any]) -> list[float]:
    """Studies a second, by round."""
    return [line["films"] / wall for wall in line["wall_s"]]


def rate(line: dict[str, Any]) -> Rate:
    """The rate of a line of the report."""
    rates, cpu = rates_of(line), [1000 * used / line["films"] for used in line["cpu_s"]]
    return Rate(statistics.median(rates), min(rates), max(rates), statistics.median(cpu), min(cpu), max(cpu))


def line_of(report: dict[str, Any], system: str, kind: str, senders: int) -> dict[str, Any] | None:
    """The line of a system for a kind of film; None where it was not sent any."""
    wanted = {"system": system, "kind": kind, "senders": senders}
    return next((line for line in report["lines"] if wanted.items() <= line.items()), None)


def senders_of(report: dict[str, Any]) -> list[int]:
    """How many senders there were."""
    return sorted({line["senders"] for line in report["lines"]})


def verdicts(report: dict[str, Any], senders: int) -> list[Verdict]:
    """Auscult against the others, by kind of film."""
    return [_verdict(report, kind["key"], senders) for kind in report["kinds"]]


def network_ceiling(report: dict[str, Any]) -> float:
    """Studies a second of all cores, if they did nothing but run the network."""
    return float(1000 * report["cores"] / statistics.median(report["network_ms"]))


def _verdict(report: dict[str, Any], kind: str, senders: int) -> Verdict:
    def found(system: str) -> dict[str, Any]:
        line = line_of(report, system, kind, senders)
        if line is None:
            raise KeyError(f"{system} was not sent {kind}")
        return line

    ours, obvious = found(OURS), found(OBVIOUS)
    best = max((found(key) for key in TUNED), key=lambda line: rate(line).median)
    ceiling, bounded_by = network_ceiling(report), "network"
    receiver = line_of(report, RECEIVER, kind, senders)
    if receiver and rate(receiver).median < ceiling:
        ceiling, bounded_by = rate(receiver).median, "receiving"
    return Verdict(
        kind=kind,
        senders=senders,
        ours=rate(ours),
        obvious=rate(obvious),
        tuned=rate(best),
        tuned_key=best["system"],
        against_obvious=_ratio(ours, obvious),
        against_tuned=_ratio(ours, best),
        ceiling=ceiling if receiver else None,
        bounded_by=bounded_by,
        target=TARGETS.get(kind, TARGET),
    )


def _ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The median over the rounds of the ratio of rates in the same round."""
    pairs = zip(rates_of(ours), rates_of(theirs), strict=True)
    return statistics.median(mine / other for mine, other in pairs)


def spread(values: Sequence[float]) -> str:
    """Median, least and most of some values, as text."""
    return f"{short(statistics.median(values))} ({short(min(values))}-{short(max(values))})"


def short(value: float) -> str:
    """A number with two or three digits that say something."""
    return f"{value:.0f}" if value >= 30 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"
