"""What the listener does with a C-STORE request: the object into the spool, or the refusal into the journal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from dicom_io.network_log import frames_of
from dicom_io.receive import Incoming, ObjectRefused, Stored, incoming_of, receive
from dicom_io.sessions import who
from dicom_io.status import StoreStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset
    from pynetdicom.events import Event

    from dicom_io.accepting import BoundedAssociation
    from dicom_io.refusals import Refusals
    from dicom_io.sessions import Session, Sessions
    from dicom_io.spool import Spool

logger = logging.getLogger(__name__)


class Storing:
    """The storage service.

    Parameters
    ----------
    ae_title : str
        Ours.
    spool : Spool
        Where objects go.
    sessions : Sessions
        The open associations.
    refusals : Refusals
        Where objects that are not taken are noted.
    on_instance : callable
        Told key, study and association number of each object that is safe; must return at once.
    """

    def __init__(
        self,
        ae_title: str,
        spool: Spool,
        sessions: Sessions,
        refusals: Refusals,
        on_instance: Callable[[str, str, int], None],
    ) -> None:
        self._ae_title = ae_title
        self._spool = spool
        self._sessions = sessions
        self._refusals = refusals
        self._on_instance = on_instance

    def on_store(self, event: Event) -> Dataset:
        """Handle EVT_C_STORE."""
        try:
            status = self._store(event)
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler: whatever happens, the sender gets an answer
            status = StoreStatus.PROCESSING_FAILURE
            log_crash("Storing an object failed", "store_crashed", exc)
        return status.as_dataset()

    def on_incomplete(self, association: BoundedAssociation) -> StoreStatus:
        """Return what a C-STORE request is answered with that lacks its class or its instance."""
        status = StoreStatus.INVALID_SOP_UID
        if session := self._sessions.of(association):
            self._refuse(ObjectRefused(status), session)
        return status

    def _store(self, event: Event) -> StoreStatus:
        session = self._sessions.of(event.assoc)
        if session is None:
            return StoreStatus.PROCESSING_FAILURE
        try:
            stored = receive(_incoming(event), session.sender, self._spool, self._ae_title)
        except ObjectRefused as refusal:
            self._refuse(refusal, session)
            return refusal.status
        self._stored(stored, session)
        return StoreStatus.SUCCESS

    def _refuse(self, refusal: ObjectRefused, session: Session) -> None:
        logger.warning(
            "Object refused",
            extra={"action": "object_refused", "status": f"0x{refusal.status.code:04X}", **who(session)},
        )
        self._refusals.object(refusal, session.sender)

    def _stored(self, stored: Stored, session: Session) -> None:
        study_uid = stored.identity.study_uid
        self._sessions.add_study(session, study_uid)
        logger.info(
            "Object stored",
            extra={
                "action": "object_stored",
                "association": session.number,
                "key": stored.key,
                "study_uid": study_uid,
                "sop_uid": stored.identity.sop_uid,
                "left_out_bytes": stored.left_out,
            },
        )
        tell("on_instance", lambda: self._on_instance(stored.key, study_uid, session.number))


def tell(callback: str, call: Callable[[], None]) -> None:
    """Call back; what is told has happened already, so a failure there must not reach the peer."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001 - foreign code inside the C-STORE handler
        log_crash(f"The callback {callback} failed", "callback_failed", exc)


def log_crash(message: str, action: str, exc: BaseException) -> None:
    """Log an error of our own without the exception's text, which may quote the data set."""
    logger.error(message, extra={"action": action, "error": type(exc).__name__, "frames": frames_of(exc)})


def _incoming(event: Event) -> Incoming:
    association = cast("BoundedAssociation", event.assoc)
    if association.dul.fragments.overrun:
        raise ObjectRefused(StoreStatus.TOO_LARGE)
    return incoming_of(event)
