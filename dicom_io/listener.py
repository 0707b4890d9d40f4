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

from dicom_io.accepting import Bounds
from dicom_io.budget import Budget
from dicom_io.commitment import CommitmentService
from dicom_io.door import Door
from dicom_io.errors import DicomIoError, PortBusy
from dicom_io.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.network_log import quiet_network_libraries
from dicom_io.refusals import Refusals
from dicom_io.server import Server, cut
from dicom_io.sessions import Session, Sessions, who
from dicom_io.storing import Storing, tell
from dicom_io.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.events import Event

    from dicom_io.accepting import BoundedAssociation
    from dicom_io.commitment import Commitments
    from dicom_io.journal import Journal
    from dicom_io.options import ListenerOptions
    from dicom_io.reasons import Reason
    from dicom_io.spool import Spool
    from dicom_io.status import StoreStatus

logger = logging.getLogger(__name__)

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
    commitments : Commitments, optional
        Where requests for storage commitment go; without it they are answered with a failure.
    """

    def __init__(
        self,
        options: ListenerOptions,
        spool: Spool,
        journal: Journal,
        events: ListenerEvents,
        commitments: Commitments | None = None,
    ) -> None:
        self._options = options
        self._spool = spool
        self._refusals = Refusals(journal)
        self._events = events
        self._sessions = Sessions()
        self._door = Door(options, self._sessions, self._refusals)
        self._storing = Storing(options.ae_title, spool, self._sessions, self._refusals, events.on_instance)
        self._commitment = CommitmentService(commitments, self._door.on_commitment_refused) if commitments else None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port listened on; differs from the setting if that was 0."""
        return int(self._server.server_address[1]) if self._server else self._options.port

    @property
    def is_accepting(self) -> bool:
        """Whether connections are accepted: False before the start, after the end, and should the thread have died."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind the port and begin to serve on a thread of its own.

        Raises
        ------
        PortBusy
            If another program has the port.
        CannotListen
            If the address is not one of this machine or may not be used.
        TlsInvalid
            If a file of the TLS settings does not do.
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
        self._refusals.start()
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
        self._refusals.close()
        logger.info("Stopped listening", extra={"action": "listener_stopped"})

    def open_studies(self) -> frozenset[str]:
        """Return the studies of which objects came over associations that are still open."""
        self._reap()
        return self._sessions.studies()

    def on_violation(self, association: BoundedAssociation, reason: Reason) -> None:
        """Note why an association ends (`Watcher`), unless it is we who end them all."""
        if not self._stopping.is_set():
            self._door.on_violation(association, reason)

    def on_incomplete(self, association: BoundedAssociation) -> StoreStatus:
        """Return what an incomplete request is answered with (`Watcher`)."""
        return self._storing.on_incomplete(association)

    def _make_server(self) -> Server:
        options = self._options
        ae = AE(options.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = options.max_pdu
        ae.acse_timeout = options.acse_timeout_s
        ae.network_timeout = options.network_timeout_s
        server = ae.make_server(
            (options.host, options.port),
            contexts=[build_context(Verification)],
            evt_handlers=self._handlers(),
            server_class=Server,
            bounds=self._bounds(),
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
            (evt.EVT_C_STORE, self._storing.on_store),
        ]
        if self._commitment:
            handlers.append((evt.EVT_N_ACTION, self._commitment.on_action))
        return handlers

    def _on_established(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None:
            return
        session.established = True
        logger.info("Association opened", extra={"action": "association_opened", **who(session)})
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
        logger.info("Association closed", extra={"action": "association_closed", "clean": clean, **who(session)})
        tell("on_association_closed", lambda: self._events.on_association_closed(session.number, clean))

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
            if association.dul.is_alive():
                association.dul.join(max(0.0, deadline - time.monotonic()))
            cut(association)
            if association.requestor.primitive is not None:
                # It has still to tell of its end; one that never asked only waits for its time to run out.
                association.join(max(0.0, deadline - time.monotonic()))

    def _on_pdu_sent(self, event: Event) -> None:
        session = self._sessions.of(event.assoc)
        if session is None or not isinstance(event.pdu, P_DATA_TF):
            return
        # A busy sender leaves no gap that `stop` could see, so the association ends right behind the answer.
        if self._stopping.is_set() and session.idle:
            event.assoc.abort(block=False)
