"""The site's rules of retention, as its settings name them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.db.retention.rules import FileRule, FloorRule, RecordRule
from worker.db.schema.states import HeldFile, StudyState

if TYPE_CHECKING:
    from datetime import datetime

    from worker.settings import Settings

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class FilePolicy:
    """When originals and films go: each by its age, and the oldest of both while the disk has too little free space."""

    originals: FileRule | None
    films: FileRule | None
    #: The rule under which files go for free space.
    space: FileRule
    #: Free space to reach on the disk of the store, bytes; 0: none.
    free_bytes: int

    @classmethod
    def of(cls, settings: Settings, **changes: Any) -> FilePolicy:
        """The rules of the settings; `changes` replace settings of the same name."""
        values = {name: getattr(settings, name) for name in _NAMES} | {
            name: value for name, value in changes.items() if value is not None
        }
        states = tuple(StudyState(word) for word in values["purge_states"])
        withdrawn_for = timedelta(days=values["withdrawn_days"])

        def rule(days: int) -> FileRule:
            return FileRule(timedelta(days=days), states, withdrawn_for)

        return cls(
            originals=rule(values["purge_originals_days"]) if values["purge_originals_days"] else None,
            films=rule(values["purge_films_days"]) if values["purge_films_days"] else None,
            space=rule(values["purge_free_min_days"]),
            free_bytes=values["purge_free_mb"] * MIB,
        )

    @property
    def is_on(self) -> bool:
        """Whether it lets anything go."""
        return bool(self.originals or self.films or self.free_bytes)

    @property
    def by_age(self) -> list[tuple[HeldFile, FileRule]]:
        """The rules by age."""
        rules = ((HeldFile.ORIGINAL, self.originals), (HeldFile.FILM, self.films))
        return [(kind, rule) for kind, rule in rules if rule]

    def as_dict(self) -> dict[str, Any]:
        """For the record."""
        return {
            "originals_days": self.originals.min_age.days if self.originals else 0,
            "films_days": self.films.min_age.days if self.films else 0,
            "free_mb": self.free_bytes // MIB,
            "free_min_days": self.space.min_age.days,
            "states": list(self.space.states),
            "withdrawn_days": self.space.withdrawn_for.days,
        }


_NAMES = (
    "purge_originals_days",
    "purge_films_days",
    "purge_free_mb",
    "purge_free_min_days",
    "purge_states",
    "withdrawn_days",
)


def floor_rule(settings: Settings) -> FloorRule | None:
    """How long rows are kept at least; None unless the site has set both halves, as nothing may go then."""
    if settings.keep_years is None or settings.keep_until_birthday is None:
        return None
    return FloorRule(settings.keep_years, settings.keep_until_birthday)


def record_rule(settings: Settings, *, below_floor: bool = False) -> RecordRule:
    """When the rows of studies may go; `below_floor`: the floor is undercut by name."""
    return RecordRule(floor_rule(settings), timedelta(days=settings.withdrawn_days), below_floor)


def record_rule_as_dict(rule: RecordRule) -> dict[str, Any]:
    """For the record."""
    return {
        "keep_years": rule.floor.years if rule.floor else None,
        "keep_until_birthday": rule.floor.birthday if rule.floor else None,
        "withdrawn_days": rule.withdrawn_for.days,
        "below_floor": rule.below_floor,
    }


def is_hour(hours: str, moment: datetime) -> bool:
    """Whether a moment lies within hours as in "22-6": from the first full hour until the second; "" is always."""
    if not hours:
        return True
    first, last = (int(part) for part in hours.split("-"))
    hour = moment.hour
    return first <= hour < last if first < last else hour >= first or hour < last
