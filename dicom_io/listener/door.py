"""The policy on associations: who may open one, and the record of refusals and broken rules."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.header.file_meta import Sender
from dicom_io.listener.server import host_of
from dicom_io.listener.sessions import log_fields
from dicom_io.network.addresses import shown_ae_title
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from dicom_io.listener.commitment import ActionStatus
    from dicom_io.listener.options import ListenerOptions
    from dicom_io.listener.refusals import Refusals
    from dicom_io.listener.sessions import Session, Sessions
    from dicom_io.upper_layer.associate_pdu import Proposal, Titles
    from dicom_io.upper_layer.association import BoundedAssociation
    from dicom_io.upper_layer.bounds import AssociationState

logger = logging.getLogger(__name__)

#: The A-ASSOCIATE-RJ of each refusal: result, source and reason (PS3.8 Table 9-21).
_REJECTIONS = {
    Reason.PROTOCOL_VERSION_UNKNOWN: (1, 2, 2),
    Reason.CALLING_AE_NOT_ALLOWED: (1, 1, 3),
    Reason.CALLED_AE_NOT_RECOGNISED: (1, 1, 7),
    Reason.USER_IDENTITY_REJECTED: (2, 2, 1),
    Reason.TOO_MANY_ASSOCIATIONS: (2, 3, 2),
    Reason.TOO_MANY_FROM_PEER: (2, 3, 2),
}
#: Associations beyond the limits that are admitted for C-ECHO only: a monitoring system must not take a busy listener
#: for a dead one.
ECHO_RESERVE = 4


class Door:
    """The policy on associations.

    Parameters
    ----------
    options : ListenerOptions
        Who may call, and the limits.
    sessions : Sessions
        The open associations.
    refusals : Refusals
        Records refusals.
    """

    def __init__(self, options: ListenerOptions, sessions: Sessions, refusals: Refusals) -> None:
        self._options = options
        self._sessions = sessions
        self._refusals = refusals

    def on_requested(self, event: Event) -> None:
        """Handle EVT_REQUESTED: admit the association, or reject it."""
        association = cast("BoundedAssociation", event.assoc)
        sender, proposal = _sender(association), association.proposal
        reason = self._reason_against(association.titles, proposal)
        if reason is None:
            classes = [context.abstract_syntax for context in proposal.contexts]
            echo_only = bool(classes) and all(uid == Verification for uid in classes)
            session = self._sessions.open(association, sender, echo_only=echo_only)
            reason = self._lack_of_room(session)
        if reason:
            self._sessions.close(association)
            self._refuse(reason, sender)
            association.acse.send_reject(*_REJECTIONS[reason])
            association.kill()

    def on_established(self, session: Session) -> None:
        """Record an association without an accepted context; its peer has been told and will end it."""
        if not session.association.accepted_contexts:
            self._refuse(Reason.NO_CONTEXT_ACCEPTED, session.sender)

    def on_connection_refused(self, reason: Reason, host: str) -> None:
        """Record a connection that was closed before anything was read."""
        self._refuse(reason, Sender("", "", host))

    def on_violation(self, association: AssociationState, reason: Reason) -> None:
        """Record an association that broke a rule, or a connection that never became an association."""
        self._refuse(reason, _sender(association))

    def on_commitment_refused(self, association: Association, status: ActionStatus) -> None:
        """Record a request for storage commitment that is refused."""
        if session := self._sessions.of(association):
            facts = {"action": "commitment_refused", "status": f"0x{status:04X}", **log_fields(session)}
            logger.warning("Storage commitment refused", extra=facts)
            self._refusals.association(Reason.COMMITMENT_REFUSED, session.sender)

    def _reason_against(self, titles: Titles, proposal: Proposal) -> Reason | None:
        options = self._options
        if not proposal.is_our_version:
            return Reason.PROTOCOL_VERSION_UNKNOWN
        if not options.allows(titles.calling):
            return Reason.CALLING_AE_NOT_ALLOWED
        if not options.calls_us(titles.called):
            return Reason.CALLED_AE_NOT_RECOGNISED
        is_unwanted = proposal.asks_for_user and not options.accept_user_identity
        return Reason.USER_IDENTITY_REJECTED if is_unwanted else None

    def _lack_of_room(self, session: Session) -> Reason | None:
        hosts = [one.sender.host for one in self._sessions.living()]
        if len(hosts) > self._options.max_associations:
            reason = Reason.TOO_MANY_ASSOCIATIONS
        elif hosts.count(session.sender.host) > self._options.max_per_peer:
            reason = Reason.TOO_MANY_FROM_PEER
        else:
            return None
        echoes = sum(one.echo_only for one in self._sessions.living())
        return None if session.echo_only and echoes <= ECHO_RESERVE else reason

    def _refuse(self, reason: Reason, sender: Sender) -> None:
        who = {"peer": sender.host, "calling_aet": sender.calling_aet, "called_aet": sender.called_aet}
        logger.warning("Association refused", extra={"action": "association_refused", "reason": reason.value, **who})
        self._refusals.association(reason, sender)


def _sender(association: AssociationState) -> Sender:
    """Return the peer of an association, as far as it has identified itself."""
    calling, called = map(shown_ae_title, association.titles)
    return Sender(calling, called, host_of(association), association.certificate)
