"""The bounds of associations that we accept, and the state that is compared with them.

`AssociationState` lies below the association and its provider, which both use it, so that neither imports the other.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association

from dicom_io.upper_layer.associate_pdu import Proposal, Titles

if TYPE_CHECKING:
    import ssl

    from pydicom.dataset import Dataset
    from pynetdicom.ae import ApplicationEntity

    from dicom_io.reasons import Reason
    from dicom_io.upper_layer.association_limits import AssociationLimits
    from dicom_io.upper_layer.budget import Budget
    from dicom_io.upper_layer.negotiation import Agreement
    from dicom_io.upper_layer.store_request import Reception, StoreRequest


class Watcher(Protocol):
    """Decides and records what happens to associations; the listener."""

    def on_violation(self, association: AssociationState, reason: Reason) -> None:
        """Record that an association ends for `reason`, or that its connection never became an association."""

    def on_object(self, association: AssociationState, request: StoreRequest) -> Reception | None:
        """Return what takes the data set of a C-STORE request; None if it is to be collected in memory."""

    def on_incomplete(self, association: AssociationState) -> Dataset:
        """Return the elements of the response to a C-STORE request without SOP class or instance."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the associations of one listener share."""

    limits: AssociationLimits
    budget: Budget
    watcher: Watcher
    #: None for a listener without TLS.
    tls: ssl.SSLContext | None = None


class AssociationState(Association):
    """An association that a peer requests: its bounds, what the peer proposed, and the reason of its end.

    Parameters
    ----------
    ae : ApplicationEntity
        Our application entity.
    bounds : Bounds
        The limits, and the watcher that is told when one is reached.
    """

    def __init__(self, ae: ApplicationEntity, bounds: Bounds) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.bounds = bounds
        #: When the association ends at the latest, on the monotonic clock.
        self.end_at = time.monotonic() + bounds.limits.association_timeout_s
        #: The first rule that the peer broke; None as long as it has broken none.
        self.violation: Reason | None = None
        #: SHA-256 of the certificate that the peer has shown; "" without TLS.
        self.certificate = ""
        #: Calling and called AE title, once the A-ASSOCIATE-RQ has arrived.
        self.titles = Titles()
        #: What the A-ASSOCIATE-RQ proposes; set before EVT_REQUESTED.
        self.proposal: Proposal
        #: The answer to its presentation contexts; set before the A-ASSOCIATE-AC is sent.
        self.agreement: Agreement
        #: Set when there may be work for the association's thread.
        self.news = threading.Event()

    @property
    def has_work(self) -> bool:
        """Whether there is work for the association's thread."""
        return self._kill or not (self.dimse.msg_queue.empty() and self.dul.to_user_queue.empty())

    def record_violation(self, reason: Reason) -> None:
        """Record why the association ends; only the first reason counts."""
        if self.violation is None:
            self.violation = reason
            self.bounds.watcher.on_violation(self, reason)
