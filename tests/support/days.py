"""Results of the past, many a day, written straight into the tables: what a site has after months."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import insert, select

from dicom_io.reasons import Outcome, Reason
from model.input_statistics import InputStatistics
from model.labels import Label
from model.statistics.sigmoid import sigmoid
from worker.db.models.days import GRACE
from worker.db.schema.study import Image, Result, Task
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy.orm import Session, sessionmaker

    from tests.support.database import Site

LOOKS = tuple(InputStatistics.__dataclass_fields__)
#: The middle and the spread of each statistic of ordinary films.
ORDINARY = {
    "mean_grey": (125.0, 15.0),
    "contrast": (58.0, 8.0),
    "dark_share": (0.06, 0.03),
    "bright_share": (0.0005, 0.0002),
    "sharpness": (0.08, 0.01),
}


@dataclass(slots=True)
class PastFilms:
    """Films of one device: how many a day, how many of them ill, and how far their statistics lie from ordinary ones."""

    rng: np.random.Generator
    station: str = "ROOM1"
    films: int = 20
    prevalence: float = 0.3
    moved: dict[str, float] = field(default_factory=dict)
    refused: int = 1
    has_looks: bool = True

    def of_day(self) -> list[dict[str, Any]]:
        """The columns of the results of a day."""
        return [self._judged() for _ in range(self.films)] + [self._refused() for _ in range(self.refused)]

    def _judged(self) -> dict[str, Any]:
        is_ill = self.rng.random() < self.prevalence
        logit = float(self.rng.normal(3 if is_ill else -5, 1.2))
        probability = float(sigmoid(np.array(logit)))
        looks = {
            name: max(float(self.rng.normal(middle + self.moved.get(name, 0.0), spread)), 0.0)
            for name, (middle, spread) in ORDINARY.items()
        }
        return {
            "outcome": Outcome.OK,
            "reason_code": None,
            "logit": logit,
            "probability": probability,
            "threshold": 0.5,
            "label": Label.of(probability, 0.5),
            "unlikeness": float(self.rng.uniform(0.4, 0.8)) if self.has_looks else None,
            **(looks if self.has_looks else dict.fromkeys(LOOKS)),
        }

    def _refused(self) -> dict[str, Any]:
        nothing = ("logit", "probability", "threshold", "label", "unlikeness", *LOOKS)
        refusal = {"outcome": Outcome.NOT_APPLICABLE, "reason_code": Reason.LATERAL_VIEW.value}
        return {**refusal, **dict.fromkeys(nothing)}


def days_ago(sessions: sessionmaker[Session], number: int) -> date:
    """The day so many days before the first that is not over: the database's today, soon after midnight the day before."""
    with sessions() as session:
        moment = session.execute(select(now_utc())).scalar_one()
    return (moment - GRACE).astimezone(UTC).date() - timedelta(days=number)


def write_days(site: Site, films: PastFilms, first: date, number: int, **of_result: Any) -> list[dict[str, Any]]:
    """Write the films of so many days; returns the columns of their results. One film must have come before."""
    written = []
    nothing = {"taken_from_id": None, "batch_id": None}
    with site.sessions.begin() as session:
        sample = {table: _last(session, table) for table in (Image, Task, Result)}
        rows: dict[Any, list[dict[str, Any]]] = {Image: [], Task: [], Result: []}
        ids = {table: sample[table]["id"] for table in rows}
        for place in range(number):
            day = datetime.combine(first + timedelta(days=place), time(8), UTC)
            for count, columns in enumerate(films.of_day()):
                ids = {table: last + 1 for table, last in ids.items()}
                moment = day + timedelta(minutes=count % 700)
                named = {"sop_uid": f"1.2.3.{ids[Image]}", "sha256": f"{ids[Image]:064}", "station_name": films.station}
                rows[Image].append({**sample[Image], **named, "id": ids[Image], "received_at": moment})
                task = {"image_id": ids[Image], "idem_key": f"past:{ids[Task]}"}
                rows[Task].append({**sample[Task], **task, "id": ids[Task]})
                result = {
                    **task,
                    "task_id": ids[Task],
                    "created_at": moment,
                    "is_current": True,
                    **nothing,
                    **columns,
                    **of_result,
                }
                del result["idem_key"]
                rows[Result].append({**sample[Result], **result, "id": ids[Result]})
                written.append({**rows[Result][-1], "station_name": films.station})
        for table, values in rows.items():
            session.execute(insert(table.__table__), values)
    return written


def _last(session: Session, table: Any) -> dict[str, Any]:
    columns = table.__table__
    return dict(session.execute(select(columns).order_by(columns.c.id.desc()).limit(1)).mappings().one())
