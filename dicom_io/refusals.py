"""Notes in the journal whom and what the listener turned away."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError
from dicom_io.facts import Identity
from dicom_io.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from dicom_io.file_meta import Sender
    from dicom_io.receive import ObjectRefused

logger = logging.getLogger(__name__)

#: A PACS that is turned away tries again and again; one record a minute for the same caller tells as much.
REPEAT_S = 60.0
_MAX_CALLERS = 1000


class Refusals:
    """What goes into the journal, without ever disturbing the listener.

    Parameters
    ----------
    journal : Journal
        Where it goes.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._noted_at: dict[tuple[Reason, str, str], float] = {}

    def association(self, reason: Reason, sender: Sender) -> None:
        """Note an association or a connection that was not let in, unless the same was noted within `REPEAT_S`."""
        caller, now = (reason, sender.calling_aet, sender.host), time.monotonic()
        if now - self._noted_at.get(caller, -REPEAT_S) < REPEAT_S:
            return
        if len(self._noted_at) >= _MAX_CALLERS:
            self._noted_at.clear()
        self._noted_at[caller] = now
        self._note(RefusalKind.ASSOCIATION, reason, sender, Identity())

    def object(self, refusal: ObjectRefused, sender: Sender) -> None:
        """Note an object that was answered with a failure."""
        reason = refusal.status.reason or Reason.INTERNAL_ERROR
        self._note(RefusalKind.OBJECT, reason, sender, refusal.identity or Identity())

    def _note(self, kind: RefusalKind, reason: Reason, sender: Sender, identity: Identity) -> None:
        record = RefusalRecord(
            kind=kind,
            reason=reason,
            calling_aet=sender.calling_aet,
            called_aet=sender.called_aet,
            peer=sender.host,
            study_uid=identity.study_uid,
            sop_uid=identity.sop_uid,
            **now_and_uid(),
        )
        try:
            self._journal.append(record)
        except DicomIoError as exc:
            logger.error(
                "A refusal could not be noted", extra={"action": "journal_failed", "error": type(exc).__name__}
            )
