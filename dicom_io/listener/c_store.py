"""The C-STORE handler of the listener: puts the object into the spool, or the refusal into the journal."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from dicom_io.header.file_meta import ObjectUids
from dicom_io.inbox.receive import Incoming, ObjectRefused, ReceivedObject, incoming_of, receive
from dicom_io.inbox.status import StoreStatus
from dicom_io.inbox.streamed import StreamedObject
from dicom_io.listener.sessions import log_fields
from dicom_io.network.pynetdicom_setup import frames_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydicom.dataset import Dataset
    from pynetdicom.events import Event

    from dicom_io.inbox.spool import Spool
    from dicom_io.inbox.water_mark import Backlog, WaterMark
    from dicom_io.listener.refusals import Refusals
    from dicom_io.listener.sessions import Session, Sessions
    from dicom_io.upper_layer.association import BoundedAssociation
    from dicom_io.upper_layer.bounds import AssociationState
    from dicom_io.upper_layer.store_request import Reception, StoreRequest

logger = logging.getLogger(__name__)


class StorageService:
    """The storage service.

    Parameters
    ----------
    ae_title : str
        Our AE title.
    spool : Spool
        Receives objects.
    bounds : sequence of WaterMark or Backlog
        Beyond them nothing is accepted.
    sessions : Sessions
        The open associations.
    refusals : Refusals
        Records refused objects.
    on_instance : callable
        Called with key, study and association number of each durable object; must return at once.
    """

    def __init__(
        self,
        ae_title: str,
        spool: Spool,
        bounds: Sequence[WaterMark | Backlog],
        sessions: Sessions,
        refusals: Refusals,
        on_instance: Callable[[str, str, int], None],
    ) -> None:
        self._ae_title = ae_title
        self._spool = spool
        self._bounds = bounds
        self._sessions = sessions
        self._refusals = refusals
        self._on_instance = on_instance

    def begin(self, association: AssociationState, request: StoreRequest) -> Reception | None:
        """Return what receives an object as it arrives; None after the end of the association."""
        session = self._sessions.of(association)
        return StoreReception(self, session, request) if session else None

    def streamed(self, session: Session, request: StoreRequest) -> StreamedObject:
        """Return the object of a request, to be received in pieces."""
        uids = ObjectUids(request.sop_class_uid, request.sop_uid, request.transfer_syntax_uid)
        incoming = Incoming(b"", uids, request.abstract_syntax)
        return StreamedObject(incoming, session.sender, self._spool, self._ae_title, *self._bounds)

    def on_store(self, event: Event) -> Dataset:
        """Handle EVT_C_STORE."""
        try:
            status = self._store(event)
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler: whatever happens, the sender gets an answer
            status = StoreStatus.PROCESSING_FAILURE
            log_crash("StorageService an object failed", "store_crashed", exc)
        return status.as_dataset()

    def on_incomplete(self, association: AssociationState) -> StoreStatus:
        """Return the status for a C-STORE request without SOP class or instance."""
        status = StoreStatus.INVALID_SOP_UID
        if session := self._sessions.of(association):
            self.refuse(ObjectRefused(status), session)
        return status

    def _store(self, event: Event) -> StoreStatus:
        session = self._sessions.of(event.assoc)
        if session is None:
            return StoreStatus.PROCESSING_FAILURE
        try:
            stored = receive(_incoming(event), session.sender, self._spool, self._ae_title, *self._bounds)
        except ObjectRefused as refusal:
            self.refuse(refusal, session)
            return refusal.status
        self.stored(stored, session)
        return StoreStatus.SUCCESS

    def refuse(self, refusal: ObjectRefused, session: Session) -> None:
        """Log and record the refusal of an object."""
        logger.warning(
            "Object refused",
            extra={"action": "object_refused", "status": f"0x{refusal.status.code:04X}", **log_fields(session)},
        )
        self._refusals.object(refusal, session.sender)

    def stored(self, stored: ReceivedObject, session: Session) -> None:
        """Log and report an object that is durable."""
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
        notify("on_instance", lambda: self._on_instance(stored.key, study_uid, session.number))


class StoreReception:
    """One object on its way (`Reception`): whatever happens, the sender gets an answer."""

    def __init__(self, service: StorageService, session: Session, request: StoreRequest) -> None:
        self._service = service
        self._session = session
        self._object = service.streamed(session, request)
        self._has_crashed = False

    def write(self, parts: Sequence[memoryview]) -> bool:
        """Take the next bytes; return whether they are still being hashed."""
        if self._has_crashed:
            return False
        try:
            return self._object.write(parts)
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler
            self._crash(exc)
            return False

    def finish(self, *, is_too_large: bool) -> tuple[int, str]:
        """Store the object and return status and error comment."""
        status = self._finish(is_too_large=is_too_large)
        return status.code, status.comment

    def discard(self) -> None:
        """Drop the object."""
        try:
            self._object.discard()
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler
            self._crash(exc)

    def _finish(self, *, is_too_large: bool) -> StoreStatus:
        if self._has_crashed:
            return StoreStatus.PROCESSING_FAILURE
        try:
            if is_too_large:
                raise ObjectRefused(StoreStatus.TOO_LARGE)
            stored = self._object.finish()
        except ObjectRefused as refusal:
            self._service.refuse(refusal, self._session)
            return refusal.status
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler
            self._crash(exc)
            return StoreStatus.PROCESSING_FAILURE
        self._service.stored(stored, self._session)
        return StoreStatus.SUCCESS

    def _crash(self, exc: BaseException) -> None:
        self._has_crashed = True
        log_crash("StorageService an object failed", "store_crashed", exc)
        with suppress(Exception):
            self._object.discard()


def notify(callback: str, call: Callable[[], None]) -> None:
    """Call a callback; the object is stored already, so a failure there must not reach the peer."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001 - foreign code inside the C-STORE handler
        log_crash(f"The callback {callback} failed", "callback_failed", exc)


def log_crash(message: str, action: str, exc: BaseException) -> None:
    """Log an unexpected exception without its text, which may quote the data set."""
    logger.error(message, extra={"action": action, "error": type(exc).__name__, "frames": frames_of(exc)})


def _incoming(event: Event) -> Incoming:
    association = cast("BoundedAssociation", event.assoc)
    if association.dul.fragments.overrun:
        raise ObjectRefused(StoreStatus.TOO_LARGE)
    return incoming_of(event)
