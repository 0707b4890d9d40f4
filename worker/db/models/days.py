"""Counts the results of each day by model and device, once the day is over, and reads the counts.

A view over `result` would read all of it for a year's chart. A day that is over does not change: its results are only
added, with the database's time. Today is not counted.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, or_, select

from dicom_io.reasons import Outcome
from model.drift.history import JUDGED, DayCounts
from model.drift.measures import Measure, bin_of, bins_of
from model.labels import Label
from worker.db.schema.sql import fitted
from worker.db.schema.states import BatchKind, DaySource
from worker.db.schema.study import Batch, Image, ModelDay, Result
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.orm import Session

#: After midnight, before the day is counted: a transaction that began before may still commit.
GRACE = timedelta(minutes=10)
_DEVICE = ("manufacturer", "device_model", "station_name", "calling_aet")
#: The column of `result` that has each measure.
_COLUMNS = {measure: "logit" if measure is Measure.SCORE else measure.lower() for measure in Measure}
_MEANS = tuple(name for measure, name in _COLUMNS.items() if measure is not Measure.SCORE)
_SOURCES = {None: DaySource.LIVE, BatchKind.SHADOW: DaySource.SHADOW, BatchKind.RERUN: DaySource.RERUN}
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Device:
    """What made or sent films, as their headers say; empty where they do not say it."""

    manufacturer: str
    device_model: str
    station_name: str
    calling_aet: str

    def __str__(self) -> str:
        """The names, those of the equipment first."""
        return " / ".join(filter(None, (self.manufacturer, self.device_model, self.station_name, self.calling_aet)))


@dataclass(slots=True)
class _Tally:
    """The films of one device, model and source on a day."""

    positive: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    bins: dict[Measure, list[int]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    probabilities: list[float] = field(default_factory=list)

    def add(self, row: Row[Any]) -> None:
        self.outcomes[JUDGED if row.outcome is Outcome.OK else str(row.reason_code)] += 1
        self.positive += row.label is Label.PNEUMONIA
        if row.probability is not None:
            self.probabilities.append(row.probability)
        for measure, name in _COLUMNS.items():
            value = getattr(row, name)
            if value is not None:
                bins = self.bins.setdefault(measure, [0] * bins_of(measure))
                bins[bin_of(measure, value)] += 1
                self.sums[name] = self.sums.get(name, 0.0) + value

    def columns(self) -> dict[str, Any]:
        refused = {name: films for name, films in sorted(self.outcomes.items()) if name != JUDGED}
        self.probabilities.sort()
        return {
            "n_films": self.outcomes.total(),
            "n_judged": self.outcomes[JUDGED],
            "n_positive": self.positive,
            "reasons": _json(refused),
            "histograms": _json({measure.value: bins for measure, bins in sorted(self.bins.items())}),
            **{f"probability_p{tenth}0": _quantile(self.probabilities, tenth) for tenth in (1, 5, 9)},
            **{name: self._mean(name) for name in _MEANS},
        }

    def _mean(self, name: str) -> float | None:
        measure = next(one for one, column in _COLUMNS.items() if column == name)
        return self.sums[name] / sum(self.bins[measure]) if measure in self.bins else None


def count_next_day(session: Session) -> date | None:
    """Count the first day that is over and not counted yet; None where there is none.

    Two listeners may count the same day: the unique key of the table stops the second one.
    """
    counted = session.scalar(select(func.max(ModelDay.day)))
    # A result that repeats that of the same film says nothing new.
    first = select(func.min(Result.created_at)).where(Result.taken_from_id.is_(None))
    if counted is not None:
        first = first.where(Result.created_at >= _begin(counted + timedelta(days=1)))
    moment = session.scalar(first)
    if moment is None:
        return None
    day = moment.astimezone(UTC).date()
    if session.execute(select(now_utc())).scalar_one() < _begin(day + timedelta(days=1)) + GRACE:
        return None
    rows = [
        {"day": day, "source": source, "model_id": model_id, **device, "counted_at": now_utc(), **tally.columns()}
        for (source, model_id, device), tally in _tallies(session, day)
    ]
    for row in rows:
        session.execute(insert(ModelDay).values(fitted(ModelDay, row)))
    return day


def _tallies(session: Session, day: date) -> list[tuple[tuple[DaySource, int, dict[str, str]], _Tally]]:
    wanted = (
        select(
            Result.model_id,
            Batch.kind,
            *(getattr(Image, name) for name in _DEVICE),
            *(Result.outcome, Result.reason_code, Result.label, Result.probability),
            *(getattr(Result, name) for name in _COLUMNS.values()),
        )
        .join(Image, Image.id == Result.image_id)
        .join(Batch, Batch.id == Result.batch_id, isouter=True)
        .where(Result.created_at >= _begin(day), Result.created_at < _begin(day + timedelta(days=1)))
        .where(Result.taken_from_id.is_(None))
        .execution_options(yield_per=_AT_ONCE)
    )
    found: dict[tuple[Any, ...], _Tally] = {}
    for row in session.execute(wanted):
        key = (_SOURCES[row.kind], row.model_id, *(getattr(row, name) for name in _DEVICE))
        found.setdefault(key, _Tally()).add(row)
    return [((key[0], key[1], dict(zip(_DEVICE, key[2:], strict=True))), tally) for key, tally in found.items()]


def first_days(session: Session, model_id: int, since: date, source: DaySource) -> dict[Device, date]:
    """The devices that have counted days of a model from a day on, with the first of these."""
    names = [getattr(ModelDay, name) for name in _DEVICE]
    wanted = (
        select(*names, func.min(ModelDay.day).label("first"))
        .where(ModelDay.model_id == model_id, ModelDay.source == source, ModelDay.day >= since)
        .group_by(*names)
    )
    return {Device(*row[:-1]): row.first for row in session.execute(wanted)}


def days_of(
    session: Session, model_id: int, source: DaySource, device: Device, spans: Sequence[tuple[date, date]]
) -> list[DayCounts]:
    """The counted days of a device and model within these spans, both ends included, in their order."""
    wanted = (
        select(ModelDay)
        .where(ModelDay.model_id == model_id, ModelDay.source == source)
        .where(*(getattr(ModelDay, name) == getattr(device, name) for name in _DEVICE))
        .where(or_(*(ModelDay.day.between(first, last) for first, last in spans)))
        .order_by(ModelDay.day)
    )
    return [_counts(row) for row in session.scalars(wanted)]


def last_counted(session: Session) -> date | None:
    """The last day that is counted."""
    return session.scalar(select(func.max(ModelDay.day)))


def _counts(row: ModelDay) -> DayCounts:
    outcomes = {JUDGED: row.n_judged, **json.loads(row.reasons)}
    histograms = {Measure(name): bins for name, bins in json.loads(row.histograms).items()}
    return DayCounts(row.day, row.n_positive, outcomes, histograms)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _quantile(ordered: Sequence[float], tenth: int) -> float | None:
    """The smallest value that so many tenths of the values do not exceed."""
    if not ordered:
        return None
    return ordered[-(-len(ordered) * tenth // 10) - 1]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
