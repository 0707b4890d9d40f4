"""The settings of retention: when originals and films go, and how long records are kept at least."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from worker.environment import parts_of

#: States of studies whose files may go. In the others objects may still come, or work is open.
PURGEABLE_STATES = ("FINAL", "NOT_APPLICABLE", "WITHHELD", "FAILED")

LONGEST_DAYS = 100_000
LONGEST_YEARS = 1000
_HOURS = re.compile(r"([01]?[0-9]|2[0-3])-([01]?[0-9]|2[0-3])")


class RetentionOptions(BaseSettings):
    """Settings of retention, part of `worker.settings.Settings`."""

    purge_originals_days: int = Field(
        default=0,
        ge=0,
        le=LONGEST_DAYS,
        description="age at which originals are purged, days after a study's last object; 0: never",
    )
    purge_films_days: int = Field(
        default=0,
        ge=0,
        le=LONGEST_DAYS,
        description="age at which films are purged, days after a study's last object; 0: never",
    )
    purge_states: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("FINAL", "NOT_APPLICABLE"),
        description="states of studies whose originals and films may be purged: FINAL, NOT_APPLICABLE, WITHHELD, FAILED",
    )
    purge_free_mb: int = Field(
        default=0,
        ge=0,
        description="free space on the disk of the store below which the oldest originals, then films are purged, MiB; 0: off",
    )
    purge_free_min_days: int = Field(
        default=7, ge=1, le=LONGEST_DAYS, description="age below which nothing is purged for free space, days"
    )
    purge_hours: str = Field(
        default="",
        description="hours of this machine's clock in which the listener purges, such as 22-6; empty: at any hour",
    )
    withdrawn_days: int = Field(
        default=30, ge=0, le=LONGEST_DAYS, description="days for which a withdrawn film is kept"
    )
    commitment_days: int = Field(
        default=0,
        ge=0,
        le=LONGEST_DAYS,
        description="days for which an object is kept once storage commitment was given; 0: commitment is not offered",
    )

    keep_years: int | None = Field(
        default=None,
        ge=0,
        le=LONGEST_YEARS,
        description="years after a study, or an audit event, in which its rows are never removed; unset: none ever are",
    )
    keep_until_birthday: int | None = Field(
        default=None,
        ge=0,
        le=LONGEST_YEARS,
        description="birthday of the patient before which rows are never removed, 0: no such rule; unset: none ever are",
    )

    @field_validator("purge_states", mode="before")
    @classmethod
    def _split_states(cls, value: Any) -> Any:
        return parts_of(value) if isinstance(value, str) else value

    @field_validator("purge_states")
    @classmethod
    def _states(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        words = tuple(word.upper() for word in value)
        if not words or not set(words) <= set(PURGEABLE_STATES):
            msg = f"name one or more of {', '.join(PURGEABLE_STATES)}"
            raise ValueError(msg)
        return words

    @field_validator("purge_hours")
    @classmethod
    def _two_hours(cls, value: str) -> str:
        if value and not _HOURS.fullmatch(value):
            msg = "two hours from 0 to 23 with a hyphen, such as 22-6, or nothing"
            raise ValueError(msg)
        return value
