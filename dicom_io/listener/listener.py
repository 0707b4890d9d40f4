"""Step 1 of the flow: the storage SCP. Receives objects from a PACS or modality and puts them into the spool.

It only needs its own disk, neither database nor broker. It reports what happens to the callbacks it is given.
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
from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.inbox.water_mark import Backlog, WaterMark
from dicom_io.listener.c_store import StorageService, notify
from dicom_io.listener.commitment import CommitmentService, ReportService
from dicom_io.listener.door import Door
from dicom_io.listener.refusals import Refusals
from dicom_io.listener.server import Server, disconnect
from dicom_io.listener.sessions import Session, Sessions, log_fields
from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from dicom_io.network.tls import server_context
from dicom_io.upper_layer.bounds import Bounds
from dicom_io.upper_layer.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset
    from pynetdicom.events import Event

    from dicom_io.inbox.journal import Journal
    from dicom_io.inbox.spool import Spool
    from dicom_io.listener.commitment import CommitmentReports, Commitments
    from dicom_io.listener.options import ListenerOptions
    from dicom_io.reasons import Reason
    from dicom_io.upper_layer.bounds import AssociationState
    from dicom_io.upper_layer.store_request import Reception, StoreRequest

logger = logging.getLogger(__name__)

_POLL_S = 0.02
_CLOSE_S = 2.0


class CannotListen(DicomIoError):
    """The address cannot be listened on; check the host, and the permission to use a port below 1024."""


class ListenerEvents(Protocol):
    """Callbacks of the listener. They run on its threads, so they must return at once; exceptions are logged."""

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        """Called when an object is durable in the spool under `key`, before its sender is answered."""

    def on_association_closed(self, association: int, clean: bool) -> None:  # noqa: FBT001 - agreed with the registrar
        """Called when an association has ended; `clean` if the peer released it, not if it was aborted or lost."""


class Listener:
    """The storage SCP.

    Parameters
    ----------
    options : ListenerOptions
        How to present ourselves, whom to admit, and the limits.
    spool : Spool
        Receives objects.
    journal : Journal
        Receives the records of refusals.
    events : ListenerEvents
        The callbacks.
    commitments : Commitments, optional
        Receives requests for storage commitment; without it they are answered with a failure.
    reports : CommitmentReports, optional
        Receives answers to our own requests; without it they are answered with a failure.
    """

    def __init__(
        self,
        options: ListenerOptions,
        spool: Spool,
        journal: Journal,
        events: ListenerEvents,
        commitments: Commitments | None = None,
        reports: CommitmentReports | None = None,
    ) -> None:
        self._options = options
        self._spool = spool
        self._refusals = Refusals(journal)
        self._events = events
        self._sessions = Sessions()
        self._door = Door(options, self._sessions, self._refusals)
        bounds = (
            WaterMark(spool.root, options.min_free_bytes, options.min_free_inodes),
            Backlog(spool, options.max_waiting_objects),
        )
        self._storage = StorageService(
            options.ae_title, spool, bounds, self._sessions, self._refusals, events.on_instance
        )
        self._commitment = CommitmentService(commitments, self._door.on_commitment_refused) if commitments else None
        self._reports = ReportService(reports) if reports else None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port of the listener; differs from the setting if that was 0."""
        return int(self._server.server_address[1]) if self._server else self._options.port

    @property
    def is_accepting(self) -> bool:
        """Whether connections are accepted; False before the start, after the end, and if the thread has died."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind the port and begin to serve on a new thread.

        Raises
        ------
        PortBusy
            If another program has the port.
        CannotListen
            If the address does not belong to this machine or must not be used.
        TlsInvalid
            If a file of the TLS settings is missing or invalid.
        SpoolError
            If leftovers of an earlier run cannot be removed from the spool.
        """
        quiet_network_libraries()
        self._spool.sweep_tmp()
        try:
            self._server = self._make_server()
        except OSError as exc:
            raise PortBusy if exc.errno == errno.EADDRINUSE else CannotListen from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()
        self._refusals.start()
        logger.info("Listening", extra={"action": "listener_started", "port": self.port})

    def stop(self) -> None:
        """Stop accepting, wait until every object being received is stored and answered, then end the associations.

        This takes `ListenerOptions.stop_timeout_s` at most, and a few seconds to close; what is not received by then is
        dropped.
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
        self._refusals.close()
        logger.info("Stopped listening", extra={"action": "listener_stopped"})

    def open_studies(self) -> frozenset[str]:
        """Return the studies with objects received over associations that are still open."""
        self._reap()
        return self._sessions.studies()

    def on_violation(self, association: AssociationState, reason: Reason) -> None:
        """Record why an association ends (`Watcher`), unless the listener is stopping."""
        if not self._stopping.is_set():
            self._door.on_violation(association, reason)

    def on_object(self, association: AssociationState, request: StoreRequest) -> Reception | None:
        """Return what takes the data set of a C-STORE request (`Watcher`)."""
        return self._storage.begin(association, request)

    def on_incomplete(self, association: AssociationState) -> Dataset:
        """Return the response to an incomplete request (`Watcher`)."""
        return self._storage.on_incomplete(association).as_dataset()

    def _make_server(self) -> Server:
        options = self._options
        ae = AE(options.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = options.max_pdu
        ae.acse_timeout = options.request_timeout_s
        ae.network_timeout = options.network_timeout_s
        server = ae.make_server(
            (options.host, options.port),
            contexts=[build_context(Verification)],
            evt_handlers=self._handlers(),
            server_class=Server,
            bounds=self._bounds(),
            options=options,
            on_refused=self._door.on_connection_refused,
        )
        return cast("Server", server)

    def _bounds(self) -> Bounds:
        options = self._options
        tls = server_context(options.tls) if options.tls else None
        return Bounds(options, Budget(options.max_memory_bytes), self, tls)

    def _handlers(self) -> list[Any]:
        handlers: list[tuple[evt.EventType, Callable[[Event], object]]] = [
            (evt.EVT_REQUESTED, self._door.on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_PDU_SENT, self._on_pdu_sent),
            (evt.EVT_C_STORE, self._storage.on_store),
        ]
        if self._commitment:
            handlers.append((evt.EVT_N_ACTION, self._commitment.on_action))
        if self._reports:
            handlers.append((evt.EVT_N_EVENT_REPORT, self._reports.on_report))
        return handlers

    def _on_established(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None:
            return
        session.established = True
        logger.info("Association opened", extra={"action": "association_opened", **log_fields(session)})
        self._door.on_established(session)
        if self._stopping.is_set():
            event.assoc.abort(block=False)

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
        logger.info("Association closed", extra={"action": "association_closed", "clean": clean, **log_fields(session)})
        notify("on_association_closed", lambda: self._events.on_association_closed(session.number, clean))

    def _end_idle(self) -> bool:
        """End the idle associations; return whether any was open."""
        self._reap()
        sessions = self._sessions.established()
        for session in sessions:
            if session.has_been_idle():
                session.association.abort(block=False)
        return bool(sessions)

    def _close_connections(self, server: Server) -> None:
        """Close the remaining connections: first those without an association, then those that ignore our A-ABORT."""
        for association in server.active_associations:
            if association.requestor.primitive is None or self._sessions.of(association):
                disconnect(association)
        deadline = time.monotonic() + _CLOSE_S
        for association in server.active_associations:
            if association.dul.is_alive():
                association.dul.join(max(0.0, deadline - time.monotonic()))
            disconnect(association)
            if association.requestor.primitive is not None:
                # It still has to report its end; a connection without a request only waits for its timeout.
                association.join(max(0.0, deadline - time.monotonic()))

    def _on_pdu_sent(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None or not isinstance(event.pdu, P_DATA_TF):
            return
        # A busy sender leaves no idle moment that `stop` could see, so the association ends right after the response.
        if self._stopping.is_set() and session.idle:
            event.assoc.abort(block=False)
