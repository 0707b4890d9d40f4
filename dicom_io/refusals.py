"""Notes in the journal whom and what the listener turned away, and how often."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError
from dicom_io.file_meta import Sender
from dicom_io.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.network_log import frames_of
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from dicom_io.receive import ObjectRefused

logger = logging.getLogger(__name__)

#: A PACS that is turned away tries again and again; one record a minute for the same caller, with a count, tells it.
REPEAT_S = 60.0
#: Callers told apart; beyond them one that changes its AE titles at will could fill the journal.
_MAX_CALLERS = 1000
_MAX_TITLES_OF_HOST = 20


@dataclass(slots=True)
class _Repeats:
    """What came again since the last record."""

    noted_at: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Caller:
    reason: Reason
    sender: Sender


class Refusals:
    """What goes into the journal, without ever disturbing the listener; safe to use from all its threads.

    Parameters
    ----------
    journal : Journal
        Where it goes.
    repeat_s : float
        For how long the same is counted before it is noted again.
    """

    def __init__(self, journal: Journal, repeat_s: float = REPEAT_S) -> None:
        self._journal = journal
        self._repeat_s = repeat_s
        self._lock = threading.Lock()
        self._callers: dict[_Caller, _Repeats] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to note repeats when their time is over, also those after which nobody calls any more."""
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Note what has been counted so far, and end."""
        self._closing.set()
        if self._thread:
            self._thread.join()
        self._flush(older_than_s=0.0)

    def association(self, reason: Reason, sender: Sender) -> None:
        """Note an association or a connection that was not let in or not kept; the same again is counted."""
        with self._lock:
            caller = self._known(_Caller(reason, sender))
            repeats = self._callers.get(caller)
            if repeats is not None:
                repeats.count += 1
                return
            self._callers[caller] = _Repeats(time.monotonic())
        self._note(caller, 1)

    def object(self, refusal: ObjectRefused, sender: Sender) -> None:
        """Note an object that was answered with a failure."""
        reason, identity = refusal.status.reason or Reason.INTERNAL_ERROR, refusal.identity
        record = _record(RefusalKind.OBJECT, reason, sender)
        if identity:
            record = replace(record, study_uid=identity.study_uid, sop_uid=identity.sop_uid)
        self._append(record)

    def _known(self, caller: _Caller) -> _Caller:
        """Return the caller, or the host alone if it calls by too many names, or no one if too many call."""
        if caller in self._callers:
            return caller
        alike = [one for one in self._callers if (one.reason, one.sender.host) == (caller.reason, caller.sender.host)]
        if len(self._callers) >= _MAX_CALLERS:
            return replace(caller, sender=Sender("", "", ""))
        if len(alike) >= _MAX_TITLES_OF_HOST:
            return replace(caller, sender=replace(caller.sender, calling_aet="", called_aet=""))
        return caller

    def _run(self) -> None:
        while not self._closing.wait(self._repeat_s / 4):
            try:
                self._flush(older_than_s=self._repeat_s)
            except Exception as exc:  # noqa: BLE001 - the turn of a loop: counting goes on
                extra = {"action": "journal_failed", "error": type(exc).__name__, "frames": frames_of(exc)}
                logger.error("Counted refusals could not be noted", extra=extra)

    def _flush(self, older_than_s: float) -> None:
        """Note the counts of those whose time is over, and forget who did not come again."""
        due, now = [], time.monotonic()
        with self._lock:
            for caller, repeats in list(self._callers.items()):
                if now - repeats.noted_at < older_than_s:
                    continue
                if repeats.count:
                    due.append((caller, repeats.count))
                    self._callers[caller] = _Repeats(now)
                else:
                    del self._callers[caller]
        for caller, count in due:
            self._note(caller, count)

    def _note(self, caller: _Caller, count: int) -> None:
        self._append(replace(_record(RefusalKind.ASSOCIATION, caller.reason, caller.sender), count=count))

    def _append(self, record: RefusalRecord) -> None:
        try:
            self._journal.append(record)
        except DicomIoError as exc:
            logger.error(
                "A refusal could not be noted", extra={"action": "journal_failed", "error": type(exc).__name__}
            )


def _record(kind: RefusalKind, reason: Reason, sender: Sender) -> RefusalRecord:
    stamped = RefusalRecord(kind=kind, reason=reason, **now_and_uid())
    return replace(stamped, calling_aet=sender.calling_aet, called_aet=sender.called_aet, peer=sender.host)
