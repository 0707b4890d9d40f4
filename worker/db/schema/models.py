"""The tables of models: bundles, what was done with them, the days that they answered, and what a film looks like.

`schema.study` names these too: import from there.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import REAL, Date, Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.states import DaySource, ModelChange, ModelState
from worker.db.schema.types import Base, EnumText, UtcDateTime, one_of


class Model(Base):
    """A model (network), by its bundle."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        one_of("state", ModelState, "state"),
        Index(
            "uq_model_in_use",
            "state",
            unique=True,
            postgresql_where=text("state IN ('ACTIVE', 'SHADOW')"),
            sqlite_where=text("state IN ('ACTIVE', 'SHADOW')"),
        ),
        {"comment": "a model bundle that tasks name"},
    )

    name: Mapped[str] = mapped_column(String(64), comment="name of the bundle")
    version: Mapped[str] = mapped_column(String(32), comment="version of the bundle")
    weights_sha256: Mapped[str] = mapped_column(String(64), comment="of the weights")
    preprocess_version: Mapped[int] = mapped_column(Integer, comment="version of film to input")
    digest: Mapped[str] = mapped_column(String(64), comment="of calibration and threshold")
    threshold: Mapped[float] = mapped_column(Double, comment="operating point; a film at it is PNEUMONIA")
    min_age_years: Mapped[int] = mapped_column(Integer, comment="youngest age judged, completed years")
    max_age_years: Mapped[int] = mapped_column(Integer, comment="oldest age judged, completed years")
    state: Mapped[ModelState] = mapped_column(
        EnumText(ModelState, 16), comment="ACTIVE scores new images, SHADOW beside it; one at most of each"
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was made known")
    litert_sha256: Mapped[str | None] = mapped_column(
        String(64), comment="of the file that LiteRT runs; NULL: not opened since schema 0022"
    )


class ModelEvent(Base):
    """A change of a model: who ordered it, why and when; rows are only added."""

    __tablename__ = "model_event"
    __table_args__ = (
        one_of("event", ModelChange, "event"),
        Index("ix_model_event_model_id", "model_id"),
        {"comment": "what was done with a model: who ordered it, why and when; rows are only added"},
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model")
    event: Mapped[ModelChange] = mapped_column(EnumText(ModelChange, 16), comment="what was done with it")
    who: Mapped[str] = mapped_column(String(128), comment="who ordered it")
    why: Mapped[str] = mapped_column(Text, comment="why")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when")
    detail: Mapped[str | None] = mapped_column(
        Text, comment="JSON: of a suspension and its end, since when and how many studies of each answer"
    )


def _statistic(comment: str) -> Mapped[float | None]:
    return mapped_column(REAL, sort_order=1, comment=comment)


def _of_day(comment: str) -> Mapped[float | None]:
    return mapped_column(Double, comment=comment)


class LookOfFilm:
    """The statistics of the film that a result is about (`model.input_statistics`); NULL: not judged, or an older result."""

    mean_grey: Mapped[float | None] = _statistic("mean grey of the film, 0 to 255")
    contrast: Mapped[float | None] = _statistic("standard deviation of its grey")
    dark_share: Mapped[float | None] = _statistic("share of its pixels of grey 8 or less")
    bright_share: Mapped[float | None] = _statistic("share of its pixels of grey 247 or more")
    sharpness: Mapped[float | None] = _statistic("mean difference of neighbouring pixels, in standard deviations")


class ModelDay(Base):
    """The results of one model on one day for the films of one device; written once, when the day is over."""

    __tablename__ = "model_day"
    __table_args__ = (
        one_of("source", DaySource, "source"),
        UniqueConstraint(
            "day",
            "source",
            "model_id",
            "manufacturer",
            "device_model",
            "station_name",
            "calling_aet",
            name="uq_model_day_device",
        ),
        {"comment": "the results of one model on one day for the films of one device; no row names a person"},
    )

    day: Mapped[date] = mapped_column(Date, comment="day in UTC on which the results were written")
    source: Mapped[DaySource] = mapped_column(EnumText(DaySource, 16), comment="new images, a shadow, or re-runs")
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model")
    manufacturer: Mapped[str] = mapped_column(String(64), comment="Manufacturer (0008,0070)")
    device_model: Mapped[str] = mapped_column(String(64), comment="Manufacturer's Model Name (0008,1090)")
    station_name: Mapped[str] = mapped_column(String(64), comment="Station Name (0008,1010)")
    calling_aet: Mapped[str] = mapped_column(String(64), comment="AE title of the sender")
    n_films: Mapped[int] = mapped_column(Integer, comment="films with a result")
    n_judged: Mapped[int] = mapped_column(Integer, comment="of these, with outcome OK")
    n_positive: Mapped[int] = mapped_column(Integer, comment="of the judged ones, PNEUMONIA")
    reasons: Mapped[str] = mapped_column(Text, comment="JSON: number of films that were not judged, by reason code")
    histograms: Mapped[str] = mapped_column(Text, comment="JSON: films in each bin, by measure (model.drift.measures)")
    probability_p10: Mapped[float | None] = _of_day("a tenth of the judged films has this probability or less")
    probability_p50: Mapped[float | None] = _of_day("half of the judged films have this probability or less")
    probability_p90: Mapped[float | None] = _of_day("nine tenths of the judged films have this probability or less")
    mean_grey: Mapped[float | None] = _of_day("mean of the films' mean grey")
    contrast: Mapped[float | None] = _of_day("mean of the films' contrast")
    dark_share: Mapped[float | None] = _of_day("mean of the films' share of dark pixels")
    bright_share: Mapped[float | None] = _of_day("mean of the films' share of bright pixels")
    sharpness: Mapped[float | None] = _of_day("mean of the films' sharpness")
    unlikeness: Mapped[float | None] = _of_day("mean of the films' unlikeness")
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was counted")
