"""The listener's open associations: their peers, the studies received over them, and whether they are idle."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from dicom_io.header.file_meta import Sender
    from dicom_io.upper_layer.association import BoundedAssociation


@dataclass(slots=True, eq=False)
class Session:
    """One association from its request to its end."""

    number: int
    association: BoundedAssociation
    sender: Sender
    #: Whether only C-ECHO was proposed.
    echo_only: bool = False
    established: bool = False
    studies: set[str] = field(default_factory=set)
    #: What `has_been_idle` found when it was last called.
    _was_idle: bool = False

    @property
    def idle(self) -> bool:
        """Whether no request is half received and none is unanswered."""
        return self.association.dul.idle

    def has_been_idle(self) -> bool:
        """Whether the association is idle now and was at the last call, and no unread bytes have arrived.

        Two calls are needed, because the first bytes of a request are for a moment neither in the socket nor in a
        message.
        """
        was_idle = self._was_idle
        self._was_idle = self.idle and not self.association.dul.transport.ready
        return was_idle and self._was_idle


class Sessions:
    """The open associations; safe to use from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._by_association: dict[Association, Session] = {}

    def open(self, association: BoundedAssociation, sender: Sender, *, echo_only: bool = False) -> Session:
        """Add an association that has been requested."""
        with self._lock:
            session = Session(next(self._numbers), association, sender, echo_only)
            self._by_association[association] = session
            return session

    def of(self, association: Association) -> Session | None:
        """Return the session of an association; None before its request and after its end."""
        with self._lock:
            return self._by_association.get(association)

    def close(self, association: Association) -> Session | None:
        """Remove an association and return its session; None if it is removed already."""
        with self._lock:
            return self._by_association.pop(association, None)

    def established(self) -> list[Session]:
        """Return the associations that are established and not yet closed."""
        with self._lock:
            return [session for session in self._by_association.values() if session.established]

    def living(self) -> list[Session]:
        """Return the sessions that are requested or established, and not closed."""
        with self._lock:
            return [session for session in self._by_association.values() if session.association.is_alive()]

    def dead(self) -> list[Session]:
        """Return the sessions whose thread has ended unreported: pynetdicom has no event for some ends."""
        with self._lock:
            return [session for session in self._by_association.values() if not session.association.is_alive()]

    def add_study(self, session: Session, study_uid: str) -> None:
        """Record that an object of a study was received over an association."""
        with self._lock:
            session.studies.add(study_uid)

    def studies(self) -> frozenset[str]:
        """Return the studies received over associations that are still open."""
        with self._lock:
            return frozenset().union(*(session.studies for session in self._by_association.values()))


def log_fields(session: Session) -> dict[str, object]:
    """Return the fields of a log record about an association."""
    sender = session.sender
    return {"association": session.number, "calling_aet": sender.calling_aet, "peer": sender.host}
