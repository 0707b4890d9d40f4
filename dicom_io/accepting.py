"""An association that we accept, with bounds, and without polling: pynetdicom's, between our door and our upper layer.

What is added to pynetdicom's: TLS on the association's own thread, a negotiation of our own, an end after its time, an
answer to a request that lacks an element, and the reason of each end. pynetdicom sleeps a millisecond and looks again;
this waits for news.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from dicom_io.associate import Proposal, Titles
from dicom_io.negotiation import answer_to, storage_services
from dicom_io.options import is_ae_title
from dicom_io.reasons import Reason
from dicom_io.upper_layer import WAIT_S, BoundedProvider

if TYPE_CHECKING:
    import ssl

    from pynetdicom.ae import ApplicationEntity

    from dicom_io.budget import Budget
    from dicom_io.options import ListenerOptions
    from dicom_io.status import StoreStatus
    from dicom_io.transport import BoundedSocket


class Watcher(Protocol):
    """Who is asked and told about associations."""

    def on_violation(self, association: BoundedAssociation, reason: Reason) -> None:
        """The association ends, or its connection never became one."""

    def on_incomplete(self, association: BoundedAssociation) -> StoreStatus:
        """A C-STORE request lacks its class or its instance: the status to answer it with."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the associations of one listener have in common."""

    options: ListenerOptions
    budget: Budget
    watcher: Watcher
    tls: ssl.SSLContext | None = None


class BoundedAssociation(Association):
    """An association that we accept, from the first byte of its connection to the last.

    Parameters
    ----------
    ae : ApplicationEntity
        Ours.
    bounds : Bounds
        Limits, and whom to tell when one is reached.
    """

    dul: BoundedProvider

    def __init__(self, ae: ApplicationEntity, bounds: Bounds) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.bounds = bounds
        self.end_at = time.monotonic() + bounds.options.association_timeout_s
        self.violation: Reason | None = None
        #: Who calls whom, as soon as an A-ASSOCIATE-RQ has come.
        self.titles = Titles()
        #: What that proposes; set before EVT_REQUESTED.
        self.proposal: Proposal
        self.acse = Negotiator(self)
        self.news = threading.Event()
        self._reactor_checkpoint = _Checkpoint(self)
        self.dul = BoundedProvider(self)
        # pynetdicom's setters arm the timers of the provider they find.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout

    @property
    def has_work(self) -> bool:
        """Whether there is something for this association's thread to do."""
        return self._kill or not (self.dimse.msg_queue.empty() and self.dul.to_user_queue.empty())

    def violate(self, reason: Reason) -> None:
        """Note why this association ends; the first reason counts."""
        if self.violation is None:
            self.violation = reason
            self.bounds.watcher.on_violation(self, reason)

    def run_reactor(self) -> None:
        """Run the association on its thread: TLS, the request, then what comes."""
        transport = self.dul.transport
        try:
            if self._secured(transport):
                transport.end_at = time.monotonic() + self.bounds.options.acse_timeout_s
                super().run_reactor()
                self._check_request()
        finally:
            self.bounds.budget.release(self)
            transport.close()
            transport.bell.close()

    def _secured(self, transport: BoundedSocket) -> bool:
        if self.bounds.tls is None:
            return True
        try:
            transport.secure(self.bounds.tls, self.bounds.options.acse_timeout_s)
        except ConnectionAbortedError:
            # Someone looks whether the port is open.
            return False
        except OSError:
            self.violate(Reason.TLS_FAILED)
            return False
        return True

    def _check_request(self) -> None:
        if self.requestor.primitive is None and not self.dul.peer_left:
            self.violate(Reason.ASSOCIATION_TIMED_OUT)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if msg.is_valid_request:
            super()._serve_request(msg, context_id)
        else:
            self._answer_incomplete(msg, context_id)
        self.dul.restart_idle_timer()

    def _answer_incomplete(self, msg: Any, context_id: int) -> None:
        """Answer a request that lacks an element; pynetdicom would leave its sender waiting."""
        if not isinstance(msg, C_STORE) or msg.MessageID is None or msg.MessageIDBeingRespondedTo is not None:
            self.violate(Reason.PROTOCOL_ERROR)
            self.abort()
            return
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = msg.MessageID
        answer.AffectedSOPClassUID = msg.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = msg.AffectedSOPInstanceUID
        for element in self.bounds.watcher.on_incomplete(self).as_dataset():
            setattr(answer, element.keyword, element.value)
        self.dimse.send_msg(answer, context_id)


class Negotiator(ACSE):
    """Accepts what the door has let in, by `answer_to`."""

    _assoc: BoundedAssociation

    def _negotiate_as_acceptor(self) -> None:
        association = self._assoc
        calling = association.titles.calling.decode("latin-1")
        if is_ae_title(calling):
            association.requestor.ae_title = calling
        answers = answer_to(association.proposal.contexts)
        accepted = [context for context in answers if context.result == 0]
        association._accepted_cx = {cast("int", context.context_id): context for context in accepted}
        association._rejected_cx = [context for context in answers if context.result]
        association.acceptor._common_ext = storage_services(accepted)
        self.send_accept()
        association.is_established = True
        evt.trigger(association, evt.EVT_ESTABLISHED, {})


class _Checkpoint(threading.Event):
    """Stands where pynetdicom's association thread passes in every turn, and holds it until there is work.

    Clearing it pauses the thread, as pynetdicom means it; then it waits for whoever cleared it.
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
