"""What may go, and when: pure functions without SQL and without a clock.

Pixels (originals and films) go by the age and state of their study. Records (a study's rows, results and history) have a
floor: the later of so many years after the study and a birthday of the patient. Where a date is missing or cannot be
true, the assumption that keeps longer is taken.
"""

from __future__ import annotations

from calendar import isleap, monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.header.ages import age_at, is_placeholder

if TYPE_CHECKING:
    from worker.db.schema.states import StudyState

DAY = timedelta(days=1)


class Kept(StrEnum):
    """Why a file, or the rows of a study, are not purged, the first that holds."""

    #: Objects may still come, or work on a film is open.
    UNFINISHED = "UNFINISHED"
    #: An identity conflict of its study is open, which a person may have to decide with the film.
    CONFLICT = "CONFLICT"
    #: The film was withdrawn, and the period in which withdrawn films are kept is not over.
    WITHDRAWN = "WITHDRAWN"
    #: A result of the study has not been delivered.
    UNDELIVERED = "UNDELIVERED"
    #: Storage commitment was given for the object.
    COMMITTED = "COMMITTED"
    #: The site does not purge studies in this state.
    STATE = "STATE"
    #: Not old enough.
    AGE = "AGE"
    #: Of rows: the site has not said for how long they are kept at least.
    NO_FLOOR = "NO_FLOOR"
    #: Of rows: the floor of retention has not passed.
    FLOOR = "FLOOR"
    #: Of rows: they are a part of what is kept of another study or patient.
    BOUND = "BOUND"

    @property
    def is_by_floor(self) -> bool:
        """Whether the time for which rows are kept is the reason; it keeps neither originals nor films."""
        return self in (Kept.NO_FLOOR, Kept.FLOOR, Kept.BOUND)


@dataclass(frozen=True, slots=True)
class FileRule:
    """When originals, or films, may go."""

    #: After the last object of the study came.
    min_age: timedelta
    states: tuple[StudyState, ...]
    #: How long a withdrawn film is kept after its withdrawal.
    withdrawn_for: timedelta


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the rule judges of one file by; moments are aware."""

    state: StudyState
    last_rx_at: datetime
    has_open_task: bool = False
    has_open_conflict: bool = False
    withdrawn_at: datetime | None = None
    #: The sender's rejection note says that its own retention period is over (113039).
    is_expired_at_source: bool = False
    is_undelivered: bool = False
    #: Of an original; None for a film, which can be made again.
    committed_until: datetime | None = None


def kept_because(facts: FileFacts, rule: FileRule, now: datetime) -> Kept | None:
    """Why a file stays; None where it may go.

    A film that was withdrawn, or whose retention expired at its source, goes in any state that is terminal; the latter at
    any age.
    """
    if not facts.state.is_terminal or facts.has_open_task:
        return Kept.UNFINISHED
    if facts.has_open_conflict:
        return Kept.CONFLICT
    is_given_up = facts.withdrawn_at is not None or facts.is_expired_at_source
    holds = (
        (Kept.WITHDRAWN, facts.withdrawn_at is not None and now < facts.withdrawn_at + rule.withdrawn_for),
        (Kept.UNDELIVERED, facts.is_undelivered),
        (Kept.COMMITTED, facts.committed_until is not None and now < facts.committed_until),
        (Kept.STATE, facts.state not in rule.states and not is_given_up),
        (Kept.AGE, now < facts.last_rx_at + rule.min_age and not facts.is_expired_at_source),
    )
    return next((reason for reason, applies in holds if applies), None)


@dataclass(frozen=True, slots=True)
class FloorRule:
    """How long records are kept at least; both are set by the site, because the law differs."""

    years: int
    #: The birthday of the patient until which records are kept; 0: none.
    birthday: int


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What the floor of a study is computed from; each date may be missing or wrong."""

    received: date
    study_date: date | None = None
    birth_date: date | None = None
    #: The smallest age at the study that its images name, in completed months.
    age_months: int | None = None


@dataclass(frozen=True, slots=True)
class RecordRule:
    """When the rows of a study may go."""

    #: None: the site has set none, and nothing may go.
    floor: FloorRule | None
    #: How long a withdrawn film is kept after its withdrawal.
    withdrawn_for: timedelta
    #: Whether the floor was undercut by name.
    below_floor: bool = False


@dataclass(frozen=True, slots=True)
class RecordState:
    """What keeps the rows of a study beside their floor, over all its films; moments are aware."""

    is_finished: bool
    has_open_task: bool = False
    has_open_conflict: bool = False
    withdrawn_at: datetime | None = None
    is_undelivered: bool = False
    committed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why rows stay, and until when; None: until that has ended."""

    reason: Kept
    until: date | None = None

    def as_dict(self) -> dict[str, str | None]:
        """For a JSON document."""
        is_never = self.until in (None, date.max)
        return {"reason": self.reason.value, "until": None if is_never else str(self.until)}


def holds_of(state: RecordState, floor: date | None, rule: RecordRule, now: datetime) -> list[Hold]:
    """Every reason why the rows of a study stay; none where they may go.

    `floor`: the first day on which they may go, None where the site has set no floor.
    """
    withdrawn_until = None if state.withdrawn_at is None else state.withdrawn_at + rule.withdrawn_for
    committed = state.committed_until
    found = [
        (Kept.UNFINISHED, not state.is_finished or state.has_open_task, None),
        (Kept.CONFLICT, state.has_open_conflict, None),
        (Kept.WITHDRAWN, withdrawn_until is not None and now < withdrawn_until, withdrawn_until),
        (Kept.UNDELIVERED, state.is_undelivered, None),
        (Kept.COMMITTED, committed is not None and now < committed, committed),
        (Kept.NO_FLOOR, floor is None and not rule.below_floor, None),
        (Kept.FLOOR, floor is not None and now.date() < floor and not rule.below_floor, floor),
    ]
    return [Hold(reason, _day_after(until)) for reason, applies, until in found if applies]


def _day_after(until: date | datetime | None) -> date | None:
    """The first whole day behind a moment; a day itself."""
    return until.date() + DAY if isinstance(until, datetime) else until


def audit_cutoffs(rule: FloorRule, today: date) -> tuple[date, date]:
    """Audit events from before the first day may go; those about a person from before the second.

    A patient may have been born on the day of the event, so that the birthday counts from there.
    """
    return years_before(today, rule.years), years_before(today, max(rule.years, rule.birthday))


def floor_of(facts: RecordFacts, rule: FloorRule) -> date:
    """The first day on which the records of a study may go; `date.max` where that lies beyond the calendar."""
    day = study_day(facts)
    floor = years_after(day, rule.years)
    if rule.birthday:
        floor = max(floor, years_after(latest_birth(facts), rule.birthday))
    return floor


def study_day(facts: RecordFacts) -> date:
    """The day of the study; the day on which its first object came where the header's date is missing or impossible.

    No study is made after its objects came, or before its patient was born. One day is granted for time zones.
    """
    day, born = facts.study_date, facts.birth_date
    if day is None or is_placeholder(day) or day > facts.received + DAY:
        return facts.received
    if born is not None and born <= facts.received and day < born:
        return facts.received
    return day


def latest_birth(facts: RecordFacts) -> date:
    """The latest day on which the patient can have been born.

    The birth date, where it can be true. Else the youngest age that the images name, counted back from the study; else
    the day of the study itself, as if it were of a newborn.
    """
    day, born = study_day(facts), facts.birth_date
    if born is not None and not is_placeholder(born) and age_at(born, day) is not None:
        return born
    return months_before(day, facts.age_months or 0)


def years_after(day: date, years: int) -> date:
    """The same day of a later year; 29 February becomes 1 March where there is none, so that nothing goes a day early."""
    year = day.year + years
    if year > date.max.year:
        return date.max
    return date(year, 3, 1) if (day.month, day.day) == (2, 29) and not isleap(year) else day.replace(year=year)


def years_before(day: date, years: int) -> date:
    """The last day whose same day so many years later is not after `day`; the first of the calendar where there is none."""
    year = day.year - years
    if year < date.min.year:
        return date.min
    return date(year, 2, 28) if (day.month, day.day) == (2, 29) and not isleap(year) else day.replace(year=year)


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or the last day of that month; not before the first year of the calendar."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    if year < date.min.year:
        return date.min
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
