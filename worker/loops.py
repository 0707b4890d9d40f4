"""A background loop: a thread that works when woken or when its tick has passed, and survives expected failures."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_io.errors import SpoolError
from worker.errors import DatabaseUnavailable, WorkerError
from worker.hints import BrokerAway
from worker.logs import error_class

logger = logging.getLogger(__name__)

EXPECTED = (OperationalError, InterfaceError, DatabaseUnavailable, BrokerAway, SpoolError, OSError)


class Loop(ABC):
    """Runs ``turn`` again and again; what is away is logged once, retried each tick, and logged once when back."""

    name: str

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._is_away = False
        self.fatal: WorkerError | None = None

    @abstractmethod
    def turn(self) -> bool:
        """Do what is due; True when there may be more at once."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; one that died of an error nobody foresaw does not, and its process must end."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Do the next turn now."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Finish the turn in progress, then end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                again = self.turn()
                self._say_back()
            except EXPECTED as error:
                again = False
                self._say_away(error)
            except WorkerError as error:
                # A newer schema or another bundle under the same name: only a person can mend it.
                self.fatal = error
                return
            if not again:
                self._wake.wait(self._tick_s)
                self._wake.clear()

    def _say_away(self, error: BaseException) -> None:
        if not self._is_away:
            logger.warning(
                "%s waits, what it needs is away", self.name, extra={"action": "away", "cause": error_class(error)}
            )
        self._is_away = True

    def _say_back(self) -> None:
        if self._is_away:
            logger.info("%s goes on", self.name, extra={"action": "back"})
        self._is_away = False
