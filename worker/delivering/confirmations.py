"""Answers to requests for storage commitment that peers bring to the listener: kept on disk first, then in SQL.

The listener acknowledges such an answer when it is on its own disk, as everything else that it acknowledges: a database that
is away delays the row, and no peer is asked to try again.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from dicom_io.client.commitment import CommitmentReport
from dicom_io.errors import SpoolError
from dicom_io.inbox.spool import Spool
from worker.db.delivery.ends import AnswerTaken, confirm

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.delivery.ends import Pauses

logger = logging.getLogger(__name__)

#: An answer to a delivery that is being sent is offered again for so long.
PATIENCE_S = 3600.0


class ConfirmationBook:
    """Keeps answers, and takes them into SQL (`dicom_io.listener.commitment.CommitmentReports`)."""

    def __init__(self, folder: Path, sessions: sessionmaker[Session]) -> None:
        self._spool = Spool(folder)
        self._sessions = sessions

    def note(self, report: CommitmentReport) -> None:
        """Make an answer durable; raises SpoolError."""
        document = {
            "transaction_uid": report.transaction_uid,
            "committed": sorted(report.committed),
            "failed": sorted(report.failed),
            "at": time.time(),
        }
        self._spool.put([json.dumps(document).encode("ascii")])

    def take(self, pauses: Pauses) -> None:
        """Take every answer into SQL that belongs to a delivery; the others are dropped."""
        for key in self._spool.keys():  # noqa: SIM118 - no dict
            report, at = _parsed(self._spool.path(key))
            taken = AnswerTaken.UNKNOWN
            if report is not None:
                taken = confirm(self._sessions, report.transaction_uid, pauses, report.covers)
            if taken is AnswerTaken.LATER and time.time() - at < PATIENCE_S:
                continue
            facts = {"action": "deliver_confirmed", "taken": taken.name}
            logger.info("an answer to a request for storage commitment", extra=facts)
            try:
                self._spool.remove(key)
            except SpoolError:
                logger.warning("an answer cannot be removed", extra={"action": "left_out", "key": key})


def _parsed(path: Path) -> tuple[CommitmentReport | None, float]:
    """The answer in a file and when it came; None for a file that is none."""
    try:
        document = json.loads(path.read_bytes())
        report = CommitmentReport(
            document["transaction_uid"], frozenset(document["committed"]), frozenset(document["failed"])
        )
        return report, float(document["at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, 0.0
