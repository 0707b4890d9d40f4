"""The settings of drift: what is compared, and whether a change of the pictures suspends the model."""

from __future__ import annotations

from datetime import date

from pydantic import Field
from pydantic_settings import BaseSettings


class DriftOptions(BaseSettings):
    """Settings of drift, part of `worker.settings.Settings`."""

    drift_days: int = Field(
        default=28, ge=7, le=366, description="last days that are compared with the reference; whole weeks are best"
    )
    drift_since: date | None = Field(
        default=None,
        description="day from which the reference of each device is taken, where it is later than the model's last good check",
    )
    drift_suspends: bool = Field(
        default=False, description="whether the verdict PICTURES of `auscult drift` suspends the active model"
    )
