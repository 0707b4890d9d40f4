"""Whether the films and answers of a model have changed since its reference, for the site and for each device."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from model.drift.history import added_up
from model.drift.reference import NO_REFERENCE, training_reference
from model.drift.verdict import FEWEST_NOW, FEWEST_REFERENCE, MEASURES, REFERENCE_DAYS, compare
from model.errors import BundleError
from worker.db.batches.suspensions import last_good_check
from worker.db.models import bundles, days
from worker.db.schema.states import DaySource
from worker.db.schema.study import Model
from worker.errors import UsageError
from worker.models.active import bundle_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from sqlalchemy.orm import Session

    from model.drift.history import DayCounts
    from model.drift.reference import Reference
    from model.drift.verdict import Drift
    from worker.database import Database
    from worker.db.models.days import Device
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Group:
    """The films of a device, or of the whole site where `device` is None."""

    device: Device | None
    drift: Drift

    @property
    def name(self) -> str:
        """The device as its headers name it."""
        return "all devices" if self.device is None else str(self.device) or "(not named)"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; the first group is the whole site."""

    model: str
    source: DaySource
    since: date
    counted_until: date | None
    training: Reference
    groups: Sequence[Group]
    devices: tuple[Device, ...]

    @property
    def alarms(self) -> list[Group]:
        """The groups with a change."""
        return [group for group in self.groups if group.drift.verdict.is_alarm]


def count_due(database: Database, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Count the days that are over and not counted yet, each in a transaction; returns how many."""
    counted = 0
    while not is_stopping() and count_day(database) is not None:
        counted += 1
    return counted


def count_day(database: Database) -> date | None:
    """Count the first day that is over and not counted; None where there is none, or another process has just done so."""
    try:
        with database.sessions.begin() as session:
            return days.count_next_day(session)
    except IntegrityError:
        return None


def check(
    settings: Settings, database: Database, model: str, since: date | None = None, device: str | None = None
) -> Checked:
    """Compare the last days of a model with its first ones, as `model.drift.verdict` does.

    `since`: where the reference begins, instead of the model's last good check and AUSCULT_DRIFT_SINCE; `device`: only
    devices that have this text in one of their names.
    """
    training = _training(settings, model)
    with database.reads() as session:
        row = _row_of(session, model)
        begin = since or _begin(session, row, settings.drift_since)
        until = days.last_counted(session) or begin
        source, firsts = _devices_of(session, row, begin)
        last_days = (until - timedelta(days=settings.drift_days - 1), until)
        # The days between are many, and are not compared.
        devices = {
            one: days.days_of(session, row.id, source, one, [_reference(first), last_days])
            for one, first in sorted(firsts.items(), key=lambda item: str(item[0]))
            if device is None or device.lower() in str(one).lower()
        }
    groups: list[tuple[Device | None, Sequence[DayCounts]]] = list(devices.items())
    if len(groups) != 1:
        groups.insert(0, (None, added_up(day for counts in devices.values() for day in counts)))
    comparisons = MEASURES * max(1, sum(map(_is_compared, (counts for _, counts in groups))))

    def compared(counts: Sequence[DayCounts]) -> Drift:
        return compare(
            counts, training, since=begin, until=until, window_days=settings.drift_days, comparisons=comparisons
        )

    found = [Group(one, compared(counts)) for one, counts in groups]
    return Checked(model, source, begin, until if firsts else None, training, found, tuple(devices))


def all_days(database: Database, checked: Checked) -> list[DayCounts]:
    """Every day of the first group of a check, also those that were not compared."""
    until = checked.counted_until or checked.since
    device = checked.groups[0].device
    with database.reads() as session:
        row = _row_of(session, checked.model)
        return added_up(
            day
            for one in (checked.devices if device is None else (device,))
            for day in days.days_of(session, row.id, checked.source, one, [(checked.since, until)])
        )


def _reference(first: date) -> tuple[date, date]:
    return first, first + timedelta(days=REFERENCE_DAYS - 1)


def _training(settings: Settings, model: str) -> Reference:
    try:
        return training_reference(bundle_of(settings, model).path)
    except BundleError:
        # The answers of a model whose bundle is no longer here can still be compared with each other.
        return NO_REFERENCE


def _row_of(session: Session, model: str) -> Model:
    model_id = bundles.id_of(session, model)
    if model_id is None:
        msg = f"{model} has judged no film here"
        raise UsageError(msg)
    return session.get_one(Model, model_id)


def _begin(session: Session, model: Model, wanted: date | None) -> date:
    good = last_good_check(session, model).date()
    return good if wanted is None else max(good, wanted)


def _devices_of(session: Session, model: Model, since: date) -> tuple[DaySource, dict[Device, date]]:
    """New images; where the model has judged none, those that it judged as a shadow."""
    live = days.first_days(session, model.id, since, DaySource.LIVE)
    if live:
        return DaySource.LIVE, live
    shadow = days.first_days(session, model.id, since, DaySource.SHADOW)
    return (DaySource.SHADOW, shadow) if shadow else (DaySource.LIVE, {})


def _is_compared(counts: Sequence[DayCounts]) -> bool:
    return sum(day.films for day in counts) >= FEWEST_NOW + FEWEST_REFERENCE
