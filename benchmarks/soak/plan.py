"""What a soak does: how many studies, in how long, and which fault when. One seed gives one plan.

A soak is drawn as seven days, whatever its length: faults on three of them, calm between. How many days of a hospital it
stands for is the number of its studies by `STUDIES_A_DAY`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STUDIES_A_DAY = 1500
DAYS = 7
#: Days with faults; those between are calm, so that a line can come back to where it was.
FAULT_DAYS = (2, 4, 6)
#: In this order over the days with faults, then again from the start.
FAULTS = (
    "worker killed",
    "queue flushed",
    "listener killed",
    "database restarted",
    "worker frozen",
    "sender aborts",
    "broker killed",
    "disk busy",
    "film's process killed",
    "database frozen",
    "studies sent again",
    "noise on the port",
)
FAULTS_A_DAY = 4
#: Films of a study, by share.
FILMS = (1, 1, 1, 2)


@dataclass(frozen=True, slots=True)
class Plan:
    """A soak: studies at an even rate over the time, and faults on some of the days."""

    seconds: float
    studies: int
    seed: int = 1
    faults_a_day: int = FAULTS_A_DAY
    days: int = DAYS

    @classmethod
    def at(cls, films_a_s: float, seconds: float, **others: int) -> Plan:
        """A plan that sends so many films a second."""
        return cls(seconds, max(1, round(films_a_s * seconds * len(FILMS) / sum(FILMS))), **others)

    @property
    def day_s(self) -> float:
        """How many seconds stand for a day."""
        return self.seconds / self.days

    def due(self, number: int) -> float:
        """When a study is sent, in seconds from the start."""
        return number * self.seconds / self.studies

    def films(self, number: int) -> int:
        """How many films a study has."""
        return FILMS[random.Random(f"{self.seed}.{number}").randrange(len(FILMS))]

    def faults(self) -> list[tuple[float, str]]:
        """When each fault begins, in seconds from the start, and its kind."""
        found, kinds = [], 0
        for day in (day for day in FAULT_DAYS if day <= self.days):
            for place in range(self.faults_a_day):
                at = (day - 1 + (place + 0.5) / (self.faults_a_day + 1)) * self.day_s
                found.append((at, FAULTS[kinds % len(FAULTS)]))
                kinds += 1
        return found
