"""The settings of delivery: time limits and pauses. Where results go is in SQL (`auscult deliver add`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class DeliveryOptions(BaseSettings):
    """Settings of delivery, part of `worker.settings.Settings`."""

    deliver_limit_s: float = Field(
        default=120.0, ge=1, le=3600, description="hard limit for one attempt to deliver a result"
    )
    deliver_backoff_s: float = Field(
        default=10.0, ge=0.1, le=3600, description="pause before the second attempt to deliver; doubles each time"
    )
    deliver_days: float = Field(
        default=3.0, ge=0, le=3650, description="days after which a delivery that nobody takes is given up"
    )
    deliver_commitment_s: float = Field(
        default=3600.0,
        ge=0.1,
        le=604800,
        description="how long a destination may take to answer a request for storage commitment before it is asked again",
    )
    webhook_secrets: Path | None = Field(
        default=None,
        description="file of the secrets by which messages to webhooks are signed: lines of a destination's name and a secret, "
        "24 to 64 random bytes in base64; two lines while one is changed",
    )
