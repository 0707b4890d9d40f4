"""Who may open an association, and what is noted of those who may not or whose association breaks a rule."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.file_meta import Sender
from dicom_io.negotiation import contexts_for
from dicom_io.options import shown_ae_title
from dicom_io.reasons import Reason
from dicom_io.server import host_of
from dicom_io.sessions import who

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.pdu_primitives import A_ASSOCIATE

    from dicom_io.accepting import BoundedAssociation
    from dicom_io.commitment import ActionStatus
    from dicom_io.options import ListenerOptions
    from dicom_io.refusals import Refusals
    from dicom_io.sessions import Session, Sessions

logger = logging.getLogger(__name__)

#: A-ASSOCIATE-RJ (result, source, reason) of PS3.8 Table 9-21 as pynetdicom sends it, and what it means to us.
_REJECTIONS = {
    (1, 1, 3): Reason.CALLING_AE_NOT_ALLOWED,
    (1, 1, 7): Reason.CALLED_AE_NOT_RECOGNISED,
    (2, 2, 1): Reason.USER_IDENTITY_REJECTED,
}
#: Rejected transient, presentation related, local limit exceeded.
_NO_ROOM = (2, 3, 2)
#: Associations beyond the limits that may ask for C-ECHO and nothing else: a monitoring system must not take a busy
#: listener for a dead one.
ECHO_RESERVE = 4


class Door:
    """The policy on associations.

    Parameters
    ----------
    options : ListenerOptions
        Limits.
    sessions : Sessions
        The open associations.
    refusals : Refusals
        Where it is noted.
    """

    def __init__(self, options: ListenerOptions, sessions: Sessions, refusals: Refusals) -> None:
        self._options = options
        self._sessions = sessions
        self._refusals = refusals

    def on_requested(self, event: Event) -> None:
        """Handle EVT_REQUESTED: enter the association, or reject it for want of room."""
        association = cast("BoundedAssociation", event.assoc)
        request = cast("A_ASSOCIATE", association.requestor.primitive)
        titles = shown_ae_title(request.calling_ae_title), shown_ae_title(request.called_ae_title)
        proposed = request.presentation_context_definition_list
        association.acceptor.supported_contexts = contexts_for(proposed)
        echo_only = all(context.abstract_syntax == Verification for context in proposed)
        session = self._sessions.open(association, Sender(*titles, host_of(association)), echo_only=echo_only)
        if reason := self._lack_of_room(session):
            self._sessions.close(association)
            self._refuse(reason, session.sender)
            association.acse.send_reject(*_NO_ROOM)
            association.kill()

    def on_rejected(self, event: Event) -> None:
        """Handle EVT_REJECTED: pynetdicom has turned the association away."""
        session = self._sessions.close(event.assoc)
        answer = cast("A_ASSOCIATE", event.assoc.acceptor.primitive)
        reason = _REJECTIONS.get((answer.result or 0, answer.result_source or 0, answer.diagnostic or 0))
        if session and reason:
            self._refuse(reason, session.sender)

    def on_established(self, session: Session) -> None:
        """Note an association that nothing can be done with; its peer has been told so and will end it."""
        if not session.association.accepted_contexts:
            self._refuse(Reason.NO_CONTEXT_ACCEPTED, session.sender)

    def on_connection_refused(self, reason: Reason, host: str) -> None:
        """Note a connection that was closed before a word was read."""
        self._refuse(reason, Sender("", "", host))

    def on_violation(self, association: BoundedAssociation, reason: Reason) -> None:
        """Note an association that ends for a rule it broke, or a connection that never became one."""
        session = self._sessions.of(association)
        self._refuse(reason, session.sender if session else Sender("", "", host_of(association)))

    def on_commitment_refused(self, association: Association, status: ActionStatus) -> None:
        """Note a request for storage commitment that is not taken."""
        if session := self._sessions.of(association):
            facts = {"action": "commitment_refused", "status": f"0x{status:04X}", **who(session)}
            logger.warning("Storage commitment refused", extra=facts)
            self._refusals.association(Reason.COMMITMENT_REFUSED, session.sender)

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
