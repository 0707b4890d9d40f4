"""The listener's open associations: who calls, which studies came over them, and whether one is in the middle of work."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from dicom_io.accepting import BoundedAssociation
    from dicom_io.file_meta import Sender


@dataclass(slots=True, eq=False)
class Session:
    """One association from its request to its end."""

    number: int
    association: BoundedAssociation
    sender: Sender
    #: Whether nothing but C-ECHO was asked for.
    echo_only: bool = False
    established: bool = False
    studies: set[str] = field(default_factory=set)
    #: Whether `has_been_idle` found nothing on its way when it was last asked.
    _was_idle: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way: no request half received, none without its answer."""
        return self.association.dul.idle

    def has_been_idle(self) -> bool:
        """Whether nothing is on its way, now and when this was last asked, nor bytes that no one has read yet.

        Asked twice, because the first bytes of a request are for a moment neither in the socket nor in a message.
        """
        was_idle = self._was_idle
        self._was_idle = self.idle and not self.association.dul.transport.ready
        return was_idle and self._was_idle


class Sessions:
    """The open associations; safe to use from every thread of pynetdicom."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._by_association: dict[Association, Session] = {}

    def open(self, association: BoundedAssociation, sender: Sender, *, echo_only: bool = False) -> Session:
        """Enter an association that has been requested."""
        with self._lock:
            session = Session(next(self._numbers), association, sender, echo_only)
            self._by_association[association] = session
            return session

    def of(self, association: Association) -> Session | None:
        """Return the session of an association; None before its request and after its end."""
        with self._lock:
            return self._by_association.get(association)

    def close(self, association: Association) -> Session | None:
        """Strike an association out and return its session; None if someone else has done so."""
        with self._lock:
            return self._by_association.pop(association, None)

    def established(self) -> list[Session]:
        """Return the associations that are established and not yet closed."""
        with self._lock:
            return [session for session in self._by_association.values() if session.established]

    def living(self) -> list[Session]:
        """Return those that are requested or established, and not closed."""
        with self._lock:
            return [session for session in self._by_association.values() if session.association.is_alive()]

    def dead(self) -> list[Session]:
        """Return those whose thread has ended without a word: pynetdicom does not tell of every end."""
        with self._lock:
            return [session for session in self._by_association.values() if not session.association.is_alive()]

    def add_study(self, session: Session, study_uid: str) -> None:
        """Note that an object of a study came over an association."""
        with self._lock:
            session.studies.add(study_uid)

    def studies(self) -> frozenset[str]:
        """Return the studies that came over associations that are still open."""
        with self._lock:
            return frozenset().union(*(session.studies for session in self._by_association.values()))


def who(session: Session) -> dict[str, object]:
    """Return what a log record says of an association."""
    sender = session.sender
    return {"association": session.number, "calling_aet": sender.calling_aet, "peer": sender.host}
