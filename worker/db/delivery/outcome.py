"""What a sender is given, and what it says of its attempt: plain values, no SQL."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.own_device import uid_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.db.schema.states import DeliveryAction, DestinationKind


class ObjectKind(StrEnum):
    """What an object that was sent is."""

    REPORT = "REPORT"
    HEAT_MAP = "HEAT_MAP"
    #: Says of earlier objects of ours that they do not count.
    REJECTION_NOTE = "REJECTION_NOTE"


@dataclass(frozen=True, slots=True)
class SentObject:
    """A DICOM object that a destination may have; its fields are elements of its header."""

    kind: ObjectKind
    sop_class_uid: str
    sop_uid: str
    series_uid: str
    instance_number: int = 1


def kept(objects: Iterable[SentObject]) -> tuple[SentObject, ...]:
    """The objects that a destination is asked to commit itself to: a note is followed, and need not be kept."""
    return tuple(one for one in objects if one.kind is not ObjectKind.REJECTION_NOTE)


class DeliveryReason(StrEnum):
    """Why an attempt failed, or what was not confirmed; a code once released keeps its meaning."""

    #: No connection, or no answer to the request for an association.
    PEER_AWAY = "PEER_AWAY"
    #: The peer rejects the association; its settings or ours are wrong, or it is busy.
    ASSOCIATION_REFUSED = "ASSOCIATION_REFUSED"
    #: The association ended before everything was answered.
    ASSOCIATION_LOST = "ASSOCIATION_LOST"
    #: The peer accepts the association, and not the class of an object.
    CLASS_NOT_ACCEPTED = "CLASS_NOT_ACCEPTED"
    #: The peer refuses an object by a status that another attempt does not change.
    OBJECT_REFUSED = "OBJECT_REFUSED"
    #: The peer cannot take an object now (out of resources, processing failure).
    TRY_LATER = "TRY_LATER"
    #: The peer says that it does not commit itself to an object.
    NOT_COMMITTED = "NOT_COMMITTED"
    #: The peer accepted the request for storage commitment and never answered it.
    COMMITMENT_MISSING = "COMMITMENT_MISSING"
    #: The attempt took longer than AUSCULT_DELIVER_LIMIT_S, or its process was ended.
    SENDER_LOST = "SENDER_LOST"
    #: The original of the film that decides is gone, and the objects repeat its header.
    ORIGINAL_MISSING = "ORIGINAL_MISSING"
    #: No object can be made; or no heat map, where the destination may have it from an earlier attempt.
    CANNOT_MAKE = "CANNOT_MAKE"
    #: Delivered without the heat map, which cannot be made: the film gives another score now, or its bundle is gone.
    HEAT_MAP_MISSING = "HEAT_MAP_MISSING"
    #: The settings name no such peer, or a certificate that cannot be used.
    SETTINGS_WRONG = "SETTINGS_WRONG"
    #: The answer changed before it was sent.
    ANSWER_CHANGED = "ANSWER_CHANGED"
    #: The destination was removed.
    DESTINATION_REMOVED = "DESTINATION_REMOVED"
    #: An unforeseen error; the log says where.
    INTERNAL_ERROR = "INTERNAL_ERROR"


class Ended(StrEnum):
    """How an attempt ended."""

    #: Everything was taken; the destination offers no confirmation, or the site wants none.
    DELIVERED = "DELIVERED"
    #: Everything was taken and confirmed.
    CONFIRMED = "CONFIRMED"
    #: Everything was taken; the confirmation was asked for and comes later.
    UNCONFIRMED = "UNCONFIRMED"
    #: Nothing is wrong with the delivery itself: the same is tried again after a pause, until it is given up.
    RETRY = "RETRY"
    #: The destination will never take this: a person has to look.
    REFUSED = "REFUSED"
    #: There is nothing to send any more: the answer changed.
    SUPERSEDED = "SUPERSEDED"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, and why.

    `is_destination_away`: no other delivery would fare better now. `pause_s`: the destination wants to be called again after
    so many seconds at the earliest; None: it says nothing.
    """

    how: Ended
    reason: DeliveryReason | None = None
    is_destination_away: bool = False
    pause_s: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A destination, as its row says."""

    destination_id: int
    name: str
    kind: DestinationKind
    address: str
    heat_map: bool
    commitment: bool
    names_patient: bool


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a destination may have by one earlier delivery of the same study.

    `model_id` and `film_key` are those of the answer it told; `is_standing`: no rejection note has reached the destination
    since.
    """

    number: int
    objects: tuple[SentObject, ...]
    model_id: int | None
    film_key: str | None
    is_standing: bool


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery in the hands of one sender, with all that SQL knows about it.

    Attributes
    ----------
    delivery_id, token, owner
        Of the claim; the row is changed by these alone.
    target
        The destination.
    study_id, study_uid, side
        The study.
    number
        Counts what this destination was told about this study, from 1.
    action
        REPORT: tell the answer, in place of what was told before. WITHDRAW: take back what was told before.
    says
        SHA-256 of what of the study's row is to be told; a sender that finds another answer ends SUPERSEDED.
    attempts
        Claims so far, this one included.
    created_at
        When the answer became known; the same for every attempt.
    is_taken
        Whether the destination has taken everything, so that only its confirmation is to be asked for.
    objects
        What the destination may have by earlier attempts of this delivery.
    earlier
        What the destination may have by earlier deliveries of the study, the oldest first.
    """

    delivery_id: int
    token: int
    owner: str
    target: Target
    study_id: int
    study_uid: str
    side: int
    number: int
    action: DeliveryAction
    says: str
    attempts: int
    created_at: datetime
    is_taken: bool = False
    objects: tuple[SentObject, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def uid(self) -> str:
        """A UID of the delivery, the same for every attempt: by it a receiver knows a message that came twice."""
        return uid_of("delivery", str(self.target.destination_id), self.study_uid, str(self.side), str(self.number))

    @property
    def transaction_uid(self) -> str:
        """Transaction UID of this attempt's request for storage commitment; `owner` makes it one that nobody can guess."""
        return uid_of("commitment", self.uid, self.owner, str(self.token))


def encoded(objects: Iterable[SentObject]) -> str:
    """Objects as the column `delivery.objects` holds them; each stands there once."""
    return json.dumps([asdict(one) for one in dict.fromkeys(objects)], separators=(",", ":"))


def decoded(text: str) -> tuple[SentObject, ...]:
    """The objects of the column `delivery.objects`."""
    return tuple(SentObject(**{**item, "kind": ObjectKind(item["kind"])}) for item in json.loads(text))
