"""Destinations by C-STORE: the objects of a delivery to an application entity, confirmed by storage commitment."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dicom_io.client.association import AssociationLost, PeerRefused
from dicom_io.client.deliver import Commitment, store_together
from dicom_io.errors import FilmError, PeerUnreachable, SpoolError
from model.errors import ModelError
from worker.db.delivery.outcome import DeliveryReason, Ended, Outcome, kept
from worker.db.read.answers import study_row
from worker.db.schema.states import DeliveryAction
from worker.delivering.answer import says_of
from worker.delivering.objects import MadeObjects, objects_of
from worker.errors import SettingsError, UsageError, WorkerError
from worker.logs import error_class
from worker.peers import caller_of, find_peer
from worker.results.make import OriginalMissing
from worker.results.study_result import NothingToReport

if TYPE_CHECKING:
    from dicom_io.client.association import Caller
    from dicom_io.client.deliver import Stored
    from dicom_io.client.peer import Peer
    from worker.database import Database
    from worker.db.delivery.outcome import ClaimedDelivery, SentObject
    from worker.delivering.sender import Record
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds to wait for an answer over the same association; others come to the listener.
SAME_ASSOCIATION_S = 2.0
#: C-STORE statuses that another attempt does not change (PS3.4 Table B.2-1): data set does not match the class, cannot be
#: understood, class not supported, not authorised. All others, as out of resources, may pass.
_FOR_GOOD = (range(0xA900, 0xAA00), range(0xC000, 0xD000), range(0x0122, 0x0123), range(0x0124, 0x0125))
#: Statuses by which a peer takes nothing at all now (PS3.4 Table B.2-1, Refused: Out of Resources).
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


class CStoreSender:
    """Sends to application entities (`worker.delivering.sender.Sender`)."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def deliver(self, claimed: ClaimedDelivery, record: Record) -> Outcome:
        """Make one attempt."""
        try:
            peer, caller = find_peer(self._settings, claimed.target.address), caller_of(self._settings)
        except (UsageError, SettingsError) as error:
            return self._failed(claimed, error, Ended.RETRY, DeliveryReason.SETTINGS_WRONG, is_away=True)
        made = MadeObjects((), ()) if claimed.is_taken else self._make(claimed)
        if isinstance(made, Outcome):
            return made
        if not (made.datasets or claimed.is_taken):
            return Outcome(Ended.SUPERSEDED, DeliveryReason.ANSWER_CHANGED)
        try:
            stored = self._send(claimed, made, peer, caller, record)
        except (PeerUnreachable, OSError) as error:
            return self._unreachable(claimed, error)
        outcome = _outcome(claimed, made, stored)
        if outcome.reason:
            status = f"0x{stored.refusal:04X}" if stored.refusal is not None else ""
            _warn(claimed, outcome.reason, status=status, not_accepted=stored.not_accepted)
        return outcome

    def _make(self, claimed: ClaimedDelivery) -> MadeObjects | Outcome:
        """The objects, or how the attempt ends without them."""
        try:
            made = objects_of(self._settings, self._database, claimed)
        except NothingToReport:
            return Outcome(Ended.SUPERSEDED, DeliveryReason.ANSWER_CHANGED)
        except OriginalMissing as error:
            return self._failed(claimed, error, Ended.REFUSED, DeliveryReason.ORIGINAL_MISSING)
        except (UsageError, ModelError, FilmError) as error:
            return self._failed(claimed, error, Ended.REFUSED, DeliveryReason.CANNOT_MAKE)
        except SpoolError as error:
            # The store is away, for every delivery.
            return self._failed(claimed, error, Ended.RETRY, DeliveryReason.ORIGINAL_MISSING, is_away=True)
        if claimed.action is DeliveryAction.REPORT and self._says(claimed) != claimed.says:
            return Outcome(Ended.SUPERSEDED, DeliveryReason.ANSWER_CHANGED)
        return made

    def _says(self, claimed: ClaimedDelivery) -> str:
        with self._database.reads() as session:
            return says_of(study_row(session, claimed.study_id))

    def _send(self, claimed: ClaimedDelivery, made: MadeObjects, peer: Peer, caller: Caller, record: Record) -> Stored:
        return store_together(
            peer,
            caller,
            made.datasets,
            _commitment(claimed, claimed.objects if claimed.is_taken else made.objects),
            before=lambda: record(made.objects, made.made_of),
        )

    def _unreachable(self, claimed: ClaimedDelivery, error: Exception) -> Outcome:
        reason = DeliveryReason.PEER_AWAY
        if isinstance(error, PeerRefused):
            reason = DeliveryReason.ASSOCIATION_REFUSED
        elif isinstance(error, AssociationLost):
            reason = DeliveryReason.ASSOCIATION_LOST
        return self._failed(claimed, error, Ended.RETRY, reason, is_away=True)

    def _failed(
        self, claimed: ClaimedDelivery, error: Exception, how: Ended, reason: DeliveryReason, *, is_away: bool = False
    ) -> Outcome:
        # Our own errors name a UID at most.
        detail = str(error) if isinstance(error, PeerUnreachable | WorkerError) else ""
        _warn(claimed, reason, cause=error_class(error), detail=detail)
        return Outcome(how, reason, is_destination_away=is_away)


def _warn(claimed: ClaimedDelivery, reason: DeliveryReason, **facts: object) -> None:
    named = {"action": "deliver_failed", "delivery": claimed.delivery_id, "destination": claimed.target.name}
    logger.warning("a delivery failed: %s", reason, extra=named | facts)


def _commitment(claimed: ClaimedDelivery, objects: tuple[SentObject, ...]) -> Commitment | None:
    """What is asked for; None where nothing is."""
    asked = tuple((one.sop_class_uid, one.sop_uid) for one in kept(objects))
    if not (asked and claimed.target.commitment):
        return None
    return Commitment(claimed.transaction_uid, asked, SAME_ASSOCIATION_S)


def _outcome(claimed: ClaimedDelivery, made: MadeObjects, stored: Stored) -> Outcome:
    """What the answers of a peer come to."""
    if stored.not_accepted:
        return Outcome(Ended.REFUSED, DeliveryReason.CLASS_NOT_ACCEPTED)
    if not stored.is_stored:
        return _not_stored(stored.refusal)
    if made.is_report_missing:
        return Outcome(Ended.REFUSED, DeliveryReason.ORIGINAL_MISSING)
    return _confirmed(claimed, made, stored)


def _confirmed(claimed: ClaimedDelivery, made: MadeObjects, stored: Stored) -> Outcome:
    """How far a peer confirms what it has taken."""
    asked = _commitment(claimed, claimed.objects if claimed.is_taken else made.objects)
    if not (stored.offers_commitment and asked):
        return Outcome(Ended.DELIVERED)
    if stored.report is None:
        # Also where the request was not accepted: it is asked again.
        return Outcome(Ended.UNCONFIRMED)
    if stored.report.covers(sop_uid for _, sop_uid in asked.objects):
        return Outcome(Ended.CONFIRMED)
    return Outcome(Ended.RETRY, DeliveryReason.NOT_COMMITTED)


def _not_stored(refusal: int | None) -> Outcome:
    if refusal is None:
        return Outcome(Ended.RETRY, DeliveryReason.ASSOCIATION_LOST, is_destination_away=True)
    if any(refusal in some for some in _FOR_GOOD):
        return Outcome(Ended.REFUSED, DeliveryReason.OBJECT_REFUSED)
    return Outcome(Ended.RETRY, DeliveryReason.TRY_LATER, is_destination_away=refusal in _OUT_OF_RESOURCES)
