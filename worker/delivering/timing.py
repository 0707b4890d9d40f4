"""The times of deliveries that the settings name, in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.delivery.ends import Pauses

if TYPE_CHECKING:
    from worker.settings import Settings

#: What a lease has beyond the limit of an attempt: to write down how it ended.
_MARGIN_S = 30.0
_DAY_MS = 86_400_000


def pauses_of(settings: Settings) -> Pauses:
    """The pauses after failed attempts and while a confirmation is awaited."""
    return Pauses(round(settings.deliver_backoff_s * 1000), round(settings.deliver_commitment_s * 1000))


def lease_ms(settings: Settings) -> int:
    """The lease of a claimed delivery."""
    return round((settings.deliver_limit_s + _MARGIN_S) * 1000)


def give_up_ms(settings: Settings) -> int:
    """How long a delivery is tried."""
    return round(settings.deliver_days * _DAY_MS)
