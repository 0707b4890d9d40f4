"""The process that sends to one destination: `python -m worker.delivering.process DESTINATION OWNER PARENT`.

Started by `worker.delivering.dispatch`. It claims one delivery after the other and ends when there is none for a while. The
limit of an attempt is a timer of the kernel that ends the process, whatever it is doing then.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import setproctitle

from worker.child import end_with
from worker.database import connect
from worker.db.delivery.claims import ClaimLost, claim, record_objects
from worker.db.delivery.ends import finish
from worker.db.delivery.outcome import DeliveryReason, Ended, Outcome
from worker.delivering.kinds import SENDERS
from worker.delivering.timing import lease_ms, pauses_of
from worker.logs import configure_logging, error_class
from worker.presence import DELIVERIES, present
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.database import Database
    from worker.db.delivery.outcome import ClaimedDelivery
    from worker.delivering.sender import Sender
    from worker.settings import Settings

# Not `__main__`, as which this module runs.
logger = logging.getLogger("worker.delivering.process")

#: How long it waits for a further delivery, as its start takes a second of CPU, and how often it looks.
LINGER_S, POLL_S = 10.0, 0.5


class SenderProcess:
    """Sends what is due for one destination."""

    def __init__(self, settings: Settings, database: Database, destination_id: int, owner: str) -> None:
        self._settings = settings
        self._database = database
        self._destination_id = destination_id
        self._owner = owner
        self._sender: Sender | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """End after the attempt that is being made."""
        self._stop.set()

    def run(self) -> None:
        """Send until nothing has been due for a while; raises the database's errors."""
        idle_since = time.monotonic()
        while not self._stop.is_set() and time.monotonic() - idle_since < LINGER_S:
            if self.step():
                idle_since = time.monotonic()
            else:
                self._stop.wait(POLL_S)

    def step(self) -> bool:
        """Make one attempt; False where none is due."""
        sessions = self._database.sessions
        claimed = claim(sessions, self._destination_id, self._owner, lease_ms(self._settings))
        if claimed is None:
            return False
        with _limited(self._settings.deliver_limit_s):
            outcome = self._attempt(claimed)
        is_ours = outcome is not None and finish(sessions, claimed, outcome, pauses_of(self._settings))
        facts = {
            "action": "deliver",
            "delivery": claimed.delivery_id,
            "destination": claimed.target.name,
            "outcome": outcome.how.value if outcome and is_ours else "LOST",
            "reason": outcome.reason.value if outcome and outcome.reason else "",
        }
        logger.info("a delivery was tried", extra=facts)
        return True

    def _attempt(self, claimed: ClaimedDelivery) -> Outcome | None:
        """How the attempt ended; None where the claim was lost on the way."""
        try:
            self._sender = self._sender or SENDERS[claimed.target.kind](self._settings, self._database)
            return self._sender.deliver(claimed, partial(record_objects, self._database.sessions, claimed))
        except ClaimLost:
            return None
        except Exception as error:
            facts = {"action": "deliver_failed", "delivery": claimed.delivery_id, "cause": error_class(error)}
            logger.warning("a delivery failed", extra=facts, exc_info=error)
            return Outcome(Ended.RETRY, DeliveryReason.INTERNAL_ERROR)


@contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """End this process when the block takes longer: SIGALRM, whose default action no library of ours changes."""
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(arguments: list[str]) -> None:
    """Run the process."""
    destination_id, owner, parent = arguments
    end_with(int(parent))
    settings = load_settings()
    configure_logging(settings.log, settings.log_format)
    setproctitle.setproctitle(f"auscult deliver {destination_id}")
    # Before anything is claimed.
    presence = present(settings.home, owner, claims=DELIVERIES)
    database = connect(settings)
    process = SenderProcess(settings, database, int(destination_id), owner)
    signal.signal(signal.SIGTERM, lambda *_: process.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.run()
    if presence:
        presence.leave()
    database.dispose()


if __name__ == "__main__":
    main(sys.argv[1:])
