"""An association that we accept: pynetdicom's association with bounds, and without polling.

Added to pynetdicom's: TLS on the association's own thread, our own negotiation, an end after its time, an answer to a
request that lacks an element, and the reason of each end. pynetdicom sleeps a millisecond and looks again; this waits
for an event.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from dicom_io.network.addresses import is_ae_title
from dicom_io.network.connection import certificate_of
from dicom_io.reasons import Reason
from dicom_io.upper_layer.bounds import AssociationState
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID, agreement_on
from dicom_io.upper_layer.provider import WAIT_S, BoundedProvider

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

    from dicom_io.upper_layer.bounds import Bounds
    from dicom_io.upper_layer.transport import BoundedSocket


class BoundedAssociation(AssociationState):
    """An association that we accept, from the first byte of its connection to the last.

    Parameters
    ----------
    ae : ApplicationEntity
        Our application entity.
    bounds : Bounds
        The limits, and the watcher that is told when one is reached.
    """

    dul: BoundedProvider

    def __init__(self, ae: ApplicationEntity, bounds: Bounds) -> None:
        super().__init__(ae, bounds)
        self.acse = Negotiator(self)
        self._reactor_checkpoint = _Checkpoint(self)
        self.dul = BoundedProvider(self)
        # pynetdicom's setters arm the timers of the provider they find.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout

    def run_reactor(self) -> None:
        """Run the association on its thread: TLS, the association request, then its messages."""
        transport = self.dul.transport
        try:
            if self._secured(transport):
                transport.end_at = time.monotonic() + self.bounds.limits.request_timeout_s
                super().run_reactor()
                self._check_request()
        finally:
            self.bounds.budget.release(self)
            transport.close()
            transport.wakeup.close()

    def _secured(self, transport: BoundedSocket) -> bool:
        if self.bounds.tls is None:
            return True
        try:
            transport.secure(self.bounds.tls, self.bounds.limits.request_timeout_s)
        except ConnectionAbortedError:
            # A program that only checks whether the port is open.
            return False
        except OSError:
            self.record_violation(Reason.TLS_FAILED)
            return False
        self.certificate = certificate_of(transport.socket)
        return True

    def _check_request(self) -> None:
        if self.requestor.primitive is None and not self.dul.peer_left:
            self.record_violation(Reason.ASSOCIATION_TIMED_OUT)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if msg.is_valid_request:
            super()._serve_request(msg, context_id)
        else:
            self._answer_incomplete(msg, context_id)
        self.dul.restart_idle_timer()

    def _answer_incomplete(self, msg: Any, context_id: int) -> None:
        """Answer a request that lacks an element; pynetdicom would leave its sender waiting."""
        if not isinstance(msg, C_STORE) or msg.MessageID is None or msg.MessageIDBeingRespondedTo is not None:
            self.record_violation(Reason.PROTOCOL_ERROR)
            self.abort()
            return
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = msg.MessageID
        answer.AffectedSOPClassUID = msg.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = msg.AffectedSOPInstanceUID
        for element in self.bounds.watcher.on_incomplete(self):
            setattr(answer, element.keyword, element.value)
        self.dimse.send_msg(answer, context_id)


class Negotiator(ACSE):
    """Accepts the association that the door has admitted, with the presentation contexts of `agreement_on`."""

    _assoc: BoundedAssociation

    def _negotiate_as_acceptor(self) -> None:
        association = self._assoc
        calling = association.titles.calling.decode("latin-1")
        if is_ae_title(calling):
            association.requestor.ae_title = calling
        reports = self._takes_reports()
        is_committing = association.bounds.limits.storage_commitment or reports
        agreement = agreement_on(association.proposal.contexts, storage_commitment=is_committing)
        association.agreement = agreement
        association.acceptor._common_ext = agreement.services
        # Without contexts: their items are encoded already, and the provider adds them.
        self.send_accept()
        association._accepted_cx, association._rejected_cx = dict(agreement.accepted), agreement.rejected
        association.is_established = True
        evt.trigger(association, evt.EVT_ESTABLISHED, {})

    def _takes_reports(self) -> bool:
        """Accept the role of a peer that is about to answer our request for storage commitment (PS3.7 D.3.3.4).

        It is the SCP, although it opened the association. Whether we offer commitment ourselves does not matter here.
        """
        wanted = [role for role in self._assoc.proposal.roles if role.sop_class_uid == STORAGE_COMMITMENT_UID]
        if not wanted or not wanted[-1].is_scp:
            return False
        agreed = SCP_SCU_RoleSelectionNegotiation()
        agreed.sop_class_uid = UID(STORAGE_COMMITMENT_UID)
        agreed.scu_role, agreed.scp_role = wanted[-1].is_scu, True
        self.acceptor.add_negotiation_item(agreed)
        return True


class _Checkpoint(threading.Event):
    """The event that pynetdicom's association thread passes in every turn; it holds the thread until there is work.

    Clearing it pauses the thread, as pynetdicom intends; the thread then waits until the event is set again.
    """

    def __init__(self, association: BoundedAssociation) -> None:
        super().__init__()
        self._association = association
        self.set()

    def set(self) -> None:
        super().set()
        self._association.news.set()

    def wait(self, timeout: float | None = None) -> bool:
        news = self._association.news
        news.clear()
        if not self._association.has_work:
            news.wait(WAIT_S)
        return super().wait(timeout)
