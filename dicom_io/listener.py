"""Step 1 of the flow: the storage SCP. Takes objects from a PACS or modality and puts them into the spool.

It needs its own disk and nothing else: no database, no broker. It imports neither, and what it has to tell goes to the
callbacks it is given.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from pynetdicom import AE, build_context, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.errors import DicomIoError, PortBusy
from dicom_io.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, ObjectUids, Sender
from dicom_io.negotiation import contexts_for, storage_services
from dicom_io.network_log import frames_of, quiet_network_libraries
from dicom_io.options import plain_address
from dicom_io.reasons import Reason
from dicom_io.receive import Incoming, ObjectRefused, Stored, receive
from dicom_io.refusals import Refusals
from dicom_io.server import Server, cut
from dicom_io.sessions import Session, Sessions
from dicom_io.status import StoreStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset
    from pydicom.uid import UID
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event
    from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassCommonExtendedNegotiation
    from pynetdicom.transport import AddressInformation

    from dicom_io.journal import Journal
    from dicom_io.options import ListenerOptions
    from dicom_io.spool import Spool

logger = logging.getLogger(__name__)

#: A-ASSOCIATE-RJ (result, source, reason) of PS3.8 Table 9-21 as pynetdicom sends it, and what it means to us.
_REJECTIONS = {
    (1, 1, 3): Reason.CALLING_AE_NOT_ALLOWED,
    (1, 1, 7): Reason.CALLED_AE_NOT_RECOGNISED,
}
_POLL_S = 0.02
_CLOSE_S = 2.0


class CannotListen(DicomIoError):
    """The address cannot be listened on; check the host, and the permission to use a port below 1024."""


class ListenerEvents(Protocol):
    """What the listener tells. Called on its threads, so it must return at once; an exception is logged and ignored."""

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        """An object is safe in the spool under `key`; its sender is answered after this call."""

    def on_association_closed(self, association: int, clean: bool) -> None:  # noqa: FBT001 - agreed with the registrar
        """An association has ended: `clean` if the peer released it, not if it was aborted or lost."""


class Listener:
    """The storage SCP.

    Parameters
    ----------
    options : ListenerOptions
        How to present ourselves and whom to let in.
    spool : Spool
        Where objects go.
    journal : Journal
        Where refusals are noted.
    events : ListenerEvents
        Whom to tell.
    """

    def __init__(self, options: ListenerOptions, spool: Spool, journal: Journal, events: ListenerEvents) -> None:
        self._options = options
        self._spool = spool
        self._refusals = Refusals(journal)
        self._events = events
        self._sessions = Sessions()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port listened on; differs from the setting if that was 0."""
        return int(self._server.server_address[1]) if self._server else self._options.port

    def start(self) -> None:
        """Bind the port and begin to serve on a thread of its own.

        Raises
        ------
        PortBusy
            If another program has the port.
        CannotListen
            If the address is not one of this machine or may not be used.
        SpoolError
            If what an earlier run left in the spool cannot be cleared away.
        """
        quiet_network_libraries()
        self._spool.sweep_tmp()
        try:
            self._server = self._make_server()
        except OSError as exc:
            raise PortBusy if exc.errno == errno.EADDRINUSE else CannotListen from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()
        logger.info("Listening", extra={"action": "listener_started", "port": self.port})

    def stop(self) -> None:
        """Stop accepting, let every object on its way be stored and answered, then end the associations.

        Takes `ListenerOptions.stop_timeout_s` at most, and a little to close; what is not in by then is cut off.
        """
        if self._server is None or self._thread is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        deadline = time.monotonic() + self._options.stop_timeout_s
        pause = threading.Event()
        while self._end_idle() and time.monotonic() < deadline:
            pause.wait(_POLL_S)
        self._close_connections(self._server)
        self._reap()
        logger.info("Stopped listening", extra={"action": "listener_stopped"})

    def open_studies(self) -> frozenset[str]:
        """Return the studies of which objects came over associations that are still open."""
        self._reap()
        return self._sessions.studies()

    def _make_server(self) -> Server:
        options = self._options
        ae = AE(options.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = options.max_pdu
        ae.acse_timeout = options.acse_timeout_s
        ae.network_timeout = options.network_timeout_s
        ae.require_calling_aet = sorted(options.allowed_aets)
        ae.require_called_aet = options.check_called_aet
        # pynetdicom counts connections that have not said a word yet, so silent ones could keep everyone out: the
        # limit on associations is ours (`_on_requested`), the one on connections the server's.
        ae.maximum_associations = Server.max_connections(options)
        server = ae.make_server(
            (options.host, options.port),
            contexts=[build_context(Verification)],
            evt_handlers=self._handlers(),
            server_class=Server,
            options=options,
            on_address_refused=self._on_address_refused,
        )
        return cast("Server", server)

    def _handlers(self) -> list[Any]:
        handlers: list[tuple[evt.EventType, Callable[[Event], object]]] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_DIMSE_RECV, self._on_request_received),
            (evt.EVT_PDU_SENT, self._on_pdu_sent),
            (evt.EVT_SOP_COMMON, _services_of),
            (evt.EVT_C_STORE, self._on_store),
        ]
        if not self._options.accept_user_identity:
            handlers.append((evt.EVT_USER_ID, _refuse_identity))
        return handlers

    def _on_requested(self, event: Event) -> None:
        association = event.assoc
        request = cast("A_ASSOCIATE", association.requestor.primitive)
        address = cast("AddressInformation", association.requestor.address_info)
        host = plain_address(address.address)
        sender = Sender(request.calling_ae_title.strip(), request.called_ae_title.strip(), host)
        association.acceptor.supported_contexts = contexts_for(request.presentation_context_definition_list)
        if len(self._sessions.established()) < self._options.max_associations:
            self._sessions.open(association, sender)
            return
        logger.warning(
            "Too many associations",
            extra={"action": "association_limit", "peer": sender.host, "calling_aet": sender.calling_aet},
        )
        # PS3.8 Table 9-21: rejected transient, presentation related, local limit exceeded.
        association.acse.send_reject(0x02, 0x03, 0x02)
        association.kill()

    def _on_established(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None:
            return
        session.established = True
        logger.info("Association opened", extra={"action": "association_opened", **_who(session)})
        if self._stopping.is_set():
            event.assoc.abort(block=False)

    def _on_rejected(self, event: Event) -> None:
        session = self._sessions.close(event.assoc)
        if session is None:
            return
        answer = cast("A_ASSOCIATE", event.assoc.acceptor.primitive)
        code = (answer.result or 0, answer.result_source or 0, answer.diagnostic or 0)
        logger.warning(
            "Association refused", extra={"action": "association_refused", "rejection": code, **_who(session)}
        )
        if reason := _REJECTIONS.get(code):
            self._refusals.association(reason, session.sender)

    def _on_address_refused(self, host: str) -> None:
        logger.warning("Connection refused", extra={"action": "address_refused", "peer": host})
        self._refusals.association(Reason.ADDRESS_NOT_ALLOWED, Sender("", "", host))

    def _on_released(self, event: Event) -> None:
        self._closed(self._sessions.close(event.assoc), clean=True)

    def _on_aborted(self, event: Event) -> None:
        self._closed(self._sessions.close(event.assoc), clean=False)

    def _reap(self) -> None:
        for session in self._sessions.dead():
            self._closed(self._sessions.close(session.association), clean=False)

    def _closed(self, session: Session | None, *, clean: bool) -> None:
        if session is None or not session.established:
            return
        logger.info("Association closed", extra={"action": "association_closed", "clean": clean, **_who(session)})
        self._tell("on_association_closed", lambda: self._events.on_association_closed(session.number, clean))

    def _end_idle(self) -> bool:
        """End the associations with nothing on its way; return whether any was open."""
        self._reap()
        sessions = self._sessions.established()
        for session in sessions:
            if session.has_been_idle():
                session.association.abort(block=False)
        return bool(sessions)

    def _close_connections(self, server: Server) -> None:
        """Close what is left: first who never asked for an association, then who does not take our A-ABORT."""
        for association in server.active_associations:
            if association.requestor.primitive is None or self._sessions.of(association):
                cut(association)
        deadline = time.monotonic() + _CLOSE_S
        for association in server.active_associations:
            association.dul.join(max(0.0, deadline - time.monotonic()))
            cut(association)
            if association.requestor.primitive is not None:
                # It has still to tell of its end; one that never asked only waits for its time to run out.
                association.join(max(0.0, deadline - time.monotonic()))

    def _on_request_received(self, event: Event) -> None:
        # Before pynetdicom forgets the half-received message: between the two, `Session.idle` must never be true.
        if session := self._sessions.of(event.assoc):
            session.unanswered += 1

    def _on_pdu_sent(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None or not isinstance(event.pdu, P_DATA_TF):
            return
        session.unanswered = max(0, session.unanswered - 1)
        # A busy sender leaves no gap that `stop` could see, so the association ends right behind the answer.
        if self._stopping.is_set() and session.idle:
            event.assoc.abort(block=False)

    def _on_store(self, event: Event) -> Dataset:
        try:
            status = self._store(event)
        except Exception as exc:  # noqa: BLE001 - the C-STORE handler: whatever happens, the sender gets an answer
            status = StoreStatus.PROCESSING_FAILURE
            _log_crash("Storing an object failed", "store_crashed", exc)
        return status.as_dataset()

    def _store(self, event: Event) -> StoreStatus:
        session = self._sessions.of(event.assoc)
        if session is None:
            return StoreStatus.PROCESSING_FAILURE
        try:
            stored = receive(_incoming(event), session.sender, self._spool, self._options.ae_title)
        except ObjectRefused as refusal:
            logger.warning(
                "Object refused",
                extra={"action": "object_refused", "status": f"0x{refusal.status.code:04X}", **_who(session)},
            )
            self._refusals.object(refusal, session.sender)
            return refusal.status
        self._stored(stored, session)
        return StoreStatus.SUCCESS

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
            },
        )
        self._tell("on_instance", lambda: self._events.on_instance(stored.key, study_uid, session.number))

    def _tell(self, callback: str, call: Callable[[], None]) -> None:
        """Call back; the object is safe by now, so a failure there must not reach the sender."""
        try:
            call()
        except Exception as exc:  # noqa: BLE001 - foreign code inside the C-STORE handler
            _log_crash(f"The callback {callback} failed", "callback_failed", exc)


def _services_of(event: Event) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    return storage_services(event.assoc.acceptor.supported_contexts)


def _refuse_identity(_event: Event) -> tuple[bool, None]:
    return False, None


def _incoming(event: Event) -> Incoming:
    request, context = cast("C_STORE", event.request), event.context
    uids = ObjectUids(
        sop_class_uid=_stripped(request.AffectedSOPClassUID),
        sop_uid=_stripped(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(context.transfer_syntax),
    )
    return Incoming(event.encoded_dataset(include_meta=False), uids, str(context.abstract_syntax))


def _stripped(uid: object) -> str:
    # UIDs are padded with NUL, and by some senders with blanks, against PS3.5 section 9.1.
    return str(uid).strip("\0 ")


def _who(session: Session) -> dict[str, object]:
    sender = session.sender
    return {"association": session.number, "calling_aet": sender.calling_aet, "peer": sender.host}


def _log_crash(message: str, action: str, exc: BaseException) -> None:
    # Not logger.exception(): the exception's text may quote the data set.
    logger.error(message, extra={"action": action, "error": type(exc).__name__, "frames": frames_of(exc)})
