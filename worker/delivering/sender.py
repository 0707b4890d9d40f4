"""What a kind of destination has to be able to do; `worker.delivering.kinds` says which class does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.db.delivery.outcome import ClaimedDelivery, Outcome, SentObject


class Record(Protocol):
    """Keeps in SQL what leaves for a destination."""

    def __call__(self, objects: Sequence[SentObject] = (), made_of: tuple[int, str] | None = None) -> None:
        """To be called before the first byte of content leaves.

        Parameters
        ----------
        objects
            The DICOM objects that the destination may have from then on; none for a message.
        made_of
            The model that answered and the name in the store of the film whose header the objects repeat, for notes that
            reject them later.

        Raises `ClaimLost` where the row belongs to another sender by now; let that pass.
        """


class Sender(Protocol):
    """Sends to destinations of one kind; one for each process, which serves one destination."""

    def deliver(self, claimed: ClaimedDelivery, record: Record) -> Outcome:
        """Make one attempt.

        Parameters
        ----------
        claimed
            What is to be told to whom. `claimed.target` is the destination.
        record
            Must be called before the first byte of content leaves; an audit event is owed from then on.

        Returns
        -------
        Outcome
            How the attempt ended. An exception counts as RETRY with INTERNAL_ERROR, and is logged. The attempt may take
            `AUSCULT_DELIVER_LIMIT_S`; then its process is ended, and another one calls this again.
        """
