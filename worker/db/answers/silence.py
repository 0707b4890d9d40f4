"""Whether a listener may have died, by the heartbeat in its row (pure)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

LIVE, CLOSED, RETIRED = "LIVE", "CLOSED", "RETIRED"
#: The state of a listener that may have died.
SILENT = "SILENT"
#: A listener publishes every few seconds; one whose last heartbeat is older is silent.
SILENT_AFTER = timedelta(seconds=30)
#: A heartbeat further ahead of the clock was written before the clock was set back, and is ignored.
_AHEAD = timedelta(seconds=5)


def is_silent(heartbeat: datetime, moment: datetime) -> bool:
    """Whether a heartbeat is too old, or ahead of the clock."""
    return not -_AHEAD <= moment - heartbeat <= SILENT_AFTER


def state_of(heartbeat: datetime, closed: datetime | None, retired: datetime | None, moment: datetime) -> str:
    """The state of a listener at a moment, by its last heartbeat and when it was closed or retired, if it was."""
    if retired is not None:
        return RETIRED
    if closed is not None:
        return CLOSED
    return SILENT if is_silent(heartbeat, moment) else LIVE
