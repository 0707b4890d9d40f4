"""Records in the journal what the listener refused, and how often."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError
from dicom_io.header.file_meta import Sender
from dicom_io.inbox.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.network.pynetdicom_setup import frames_of
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from dicom_io.inbox.receive import ObjectRefused

logger = logging.getLogger(__name__)

#: A refused PACS tries again and again; one record a minute for the same caller, with a count, is enough.
REPEAT_S = 60.0
#: Most callers that are counted separately; a caller that keeps changing its AE title could fill the journal otherwise.
_MAX_CALLERS = 1000
_MAX_TITLES_OF_HOST = 20


@dataclass(slots=True)
class _Repeats:
    """How often the same was refused since the last record."""

    noted_at: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class _RefusalSource:
    reason: Reason
    sender: Sender


class Refusals:
    """Writes refusals into the journal; safe to use from all threads of the listener, never raises to it.

    Parameters
    ----------
    journal : Journal
        Receives the records.
    repeat_s : float
        How long repeats are counted before they are recorded, in seconds.
    """

    def __init__(self, journal: Journal, repeat_s: float = REPEAT_S) -> None:
        self._journal = journal
        self._repeat_s = repeat_s
        self._lock = threading.Lock()
        self._callers: dict[_RefusalSource, _Repeats] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that records counted repeats when their time is over."""
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Record what has been counted so far, and end the thread."""
        self._closing.set()
        if self._thread:
            self._thread.join()
        self._flush(older_than_s=0.0)

    def association(self, reason: Reason, sender: Sender) -> None:
        """Record a refused or ended association or connection; repeats are counted."""
        with self._lock:
            caller = self._known(_RefusalSource(reason, sender))
            repeats = self._callers.get(caller)
            if repeats is not None:
                repeats.count += 1
                return
            self._callers[caller] = _Repeats(time.monotonic())
        self._note(caller, 1)

    def object(self, refusal: ObjectRefused, sender: Sender) -> None:
        """Record an object that was answered with a failure."""
        reason, identity = refusal.status.reason or Reason.INTERNAL_ERROR, refusal.identity
        record = _record(RefusalKind.OBJECT, reason, sender)
        if identity:
            record = replace(record, study_uid=identity.study_uid, sop_uid=identity.sop_uid)
        self._append(record)

    def _known(self, caller: _RefusalSource) -> _RefusalSource:
        """Return the caller; only its host if that uses too many AE titles, or an empty one if there are too many."""
        if caller in self._callers:
            return caller
        alike = [one for one in self._callers if (one.reason, one.sender.host) == (caller.reason, caller.sender.host)]
        if len(self._callers) >= _MAX_CALLERS:
            return replace(caller, sender=Sender("", "", ""))
        if len(alike) >= _MAX_TITLES_OF_HOST:
            return replace(caller, sender=replace(caller.sender, calling_aet="", called_aet="", certificate=""))
        return caller

    def _run(self) -> None:
        while not self._closing.wait(self._repeat_s / 4):
            try:
                self._flush(older_than_s=self._repeat_s)
            except Exception as exc:  # noqa: BLE001 - the turn of a loop: counting goes on
                extra = {"action": "journal_failed", "error": type(exc).__name__, "frames": frames_of(exc)}
                logger.error("Counted refusals could not be noted", extra=extra)

    def _flush(self, older_than_s: float) -> None:
        """Record the counts whose time is over, and forget callers without repeats."""
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

    def _note(self, caller: _RefusalSource, count: int) -> None:
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
