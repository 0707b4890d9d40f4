"""Senders as a PACS is one: several associations, each object sent again until it is answered 0x0000."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pynetdicom import AE, _config, build_context, evt

from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from tests.support.listening import LOCAL, take_over

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from pynetdicom.association import Association

    from tests.faults.films import Sent, Study

TIMEOUT_S = 8
PAUSE_S = 0.25


class Senders:
    """Threads that send the objects of studies; the ledger of what was acknowledged is in the objects."""

    def __init__(
        self, port: Callable[[], int | None], clock_s: Callable[[], float], *, to_second: bool = False
    ) -> None:
        quiet_network_libraries()
        # Files are sent byte for byte.
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._port = port
        self._clock_s = clock_s
        self._to_second = to_second
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.acked = 0
        self.errors: list[BaseException] = []

    def start(self, studies: Sequence[Study], associations: int, rng: random.Random) -> None:
        """Divide the studies over associations; some studies come over two at once."""
        lanes: list[list[Sent]] = [[] for _ in range(associations)]
        for study in studies:
            is_split = rng.random() < 0.3 and len({each.sop_uid for each in study.objects}) == len(study.objects)
            lane = rng.randrange(associations)
            for number, each in enumerate(each for each in study.objects if each.is_second is self._to_second):
                lanes[(lane + number * is_split) % associations].append(each)
        for objects in lanes:
            thread = threading.Thread(target=self._run, args=(objects,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait_acked(self, count: int, timeout_s: float = 60.0) -> bool:
        """Wait until so many objects are acknowledged; False where the time passes before."""
        with self._changed:
            return self._changed.wait_for(lambda: self.acked >= count or not self.is_busy, timeout_s)

    def wait_silence(self, seconds: float) -> None:
        """Wait until nothing was acknowledged for so long, or all is."""
        with self._changed:
            while self.is_busy:
                before = self.acked
                if not self._changed.wait_for(lambda before=before: self.acked != before, seconds):  # type: ignore[misc]
                    return

    @property
    def is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self, timeout_s: float) -> bool:
        """Wait until every object is acknowledged or dropped; False, and they stop, where the time passes before."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        is_done = not self.is_busy
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * TIMEOUT_S)
        if self.errors:
            raise self.errors[0]
        return is_done

    def _run(self, lane: list[Sent]) -> None:
        try:
            waiting = list(lane)
            while waiting and not self._stop.is_set():
                tried = self._send(waiting)
                if waiting and tried is waiting[0] and tried.is_dropped and tried.acked_at is None:
                    waiting.pop(0)
                if waiting:
                    self._stop.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - raised again in `join`
            self.errors.append(error)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _send(self, waiting: list[Sent]) -> Sent | None:
        """Send over one association until an object is not answered with success; that object, else None."""
        port = self._port()
        association = self._associate(port) if port else None
        if association is None:
            return None
        try:
            while waiting and association.is_established and not self._stop.is_set():
                if not self._store(association, waiting[0]):
                    return waiting[0]
                waiting.pop(0)
        finally:
            with suppress(RuntimeError, OSError, AttributeError):
                if association.is_established:
                    association.release()
        return None

    def _associate(self, port: int) -> Association | None:
        ae = AE("FAULTSCU")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT_S
        context = build_context("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1")
        handlers = [(evt.EVT_CONN_OPEN, take_over)]
        association = ae.associate(LOCAL, port, contexts=[context], ae_title="AUSCULT", evt_handlers=handlers)  # type: ignore[arg-type]
        return association if association.is_established else None

    def _store(self, association: Association, each: Sent) -> bool:
        try:
            status = association.send_c_store(each.path).get("Status")
        except (RuntimeError, ValueError, OSError, AttributeError):
            return False  # the association has ended
        if status != 0:
            return False
        with self._changed:
            if each.acked_at is None:
                each.acked_wall = self._clock_s()
                each.acked_at = time.monotonic()
                self.acked += 1
            self._changed.notify_all()
        return True
