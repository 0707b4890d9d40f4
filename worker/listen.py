"""``auscult listen``: the storage SCP with its registrar and dispatcher, in one process without Celery or TensorFlow."""

from __future__ import annotations

import ipaddress
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from dicom_io.errors import PortBusy, SpoolError
from dicom_io.journal import Journal
from dicom_io.listener import CannotListen, Listener
from dicom_io.options import ListenerOptions
from dicom_io.spool import Spool
from dicom_io.tls import TlsInvalid
from worker import health
from worker.bootstrap import (
    Database,
    check_first_start,
    connect,
    ensure_active_model,
    make_dispatcher,
    open_store,
    prepare_database,
    study_clock,
)
from worker.commitment import CommitmentBook, count_given_up
from worker.counting import Counter
from worker.db.probes import Probe
from worker.errors import DatabaseUnavailable, SettingsError, WorkerError
from worker.hints import HintPublisher
from worker.logs import error_class
from worker.monitor import Monitor
from worker.registrar import Filing, Registrar
from worker.runfiles import PortFile
from worker.settings import Settings, port_file
from worker.supervisor import announce, on_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.db.probes import Finding
    from worker.dispatch import Dispatcher
    from worker.loops import Loop

logger = logging.getLogger(__name__)


STOP_TIMEOUT_S = 20.0
POLL_S = 1.0


class LoopDied(WorkerError):
    """A thread of the listener ended in spite of everything; its process ends, to be started again."""

    exit_code = 1


class ListenerProcess:
    """Listener, registrar, dispatcher and commitment wired together: each wakes the next one in the flow."""

    def __init__(self, settings: Settings, ready_fd: int | None = None) -> None:
        self._settings = settings
        self._ready_fd = ready_fd
        self._port_file: PortFile | None = None
        self._is_port_told = True
        check_first_start(settings)
        self._database: Database = connect(settings)
        spool, journal = Spool(settings.spool), Journal(settings.spool)
        self._registrar = Registrar(spool, journal, self._database.sessions, self._make_filing, self._registered)
        self._dispatcher: Dispatcher = make_dispatcher(settings, self._database.sessions, self._registrar.beat)
        self._commitment = CommitmentBook(settings, self._database.sessions)
        self._counter = Counter(settings, self._database.sessions)
        self.listener = Listener(_options(settings), spool, journal, self, self._commitment)
        self._registrar.watch(self.listener, study_clock(settings).quiet_ms)
        self._monitor = Monitor("listener", self._database.sessions, self._checks(spool), self._loops)
        self._stop = threading.Event()

    def on_instance(self, key: str, study_uid: str, association: int) -> None:  # noqa: ARG002 - ListenerEvents
        """An object is safe on disk: the registrar files it."""
        self._registrar.arrived(key)

    def on_association_closed(self, association: int, clean: bool) -> None:  # noqa: FBT001 - ListenerEvents
        """An association ended; its studies' quiet time runs from their last object."""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises at the start, and only then, what a person has to put right."""
        on_stop(self._stop.set)
        self._check_now()
        self._open_inbox()
        self._bind()
        for loop in (*self._loops, self._monitor):
            loop.start()
        self._say_where()
        while not self._stop.wait(POLL_S) and self._is_alive:
            self._say_where()
        self._shut_down()

    @property
    def _is_alive(self) -> bool:
        return self.listener.is_accepting and all(loop.is_alive for loop in self._loops)

    @property
    def _loops(self) -> tuple[Loop, ...]:
        return self._registrar, self._dispatcher, self._commitment, self._counter

    def _bind(self) -> None:
        try:
            self.listener.start()
        except PortBusy as error:
            msg = f"port {self._settings.port} is in use by another program: choose another with --port or AUSCULT_PORT"
            raise SettingsError(msg) from error
        except TlsInvalid as error:
            raise SettingsError(str(error)) from error
        except CannotListen as error:
            msg = f"cannot listen on {self._settings.host} port {self._settings.port}: not an address of this machine, or a port that needs more rights"
            raise SettingsError(msg) from error

    def _say_where(self) -> None:
        """Tell the bound port to whoever started this process, once, and keep the port file for all others."""
        if self._ready_fd is not None:
            announce(self._ready_fd, str(self.listener.port))
            self._ready_fd = None
        self._port_file = self._port_file or PortFile(port_file(self._settings), self.listener.port)
        try:
            self._port_file.claim()
            self._is_port_told = True
        except (OSError, SettingsError) as error:
            # A full disk keeps nobody from listening; the file comes as soon as it can.
            if self._is_port_told:
                logger.warning("port file not written", extra={"action": "port_file", "cause": error_class(error)})
            self._is_port_told = False

    def _make_filing(self) -> Filing:
        """Schema and active model are checked as soon as the database answers, and once."""
        prepare_database(self._settings, self._database)
        ensure_active_model(self._settings, self._database)
        store = open_store(self._settings, self._database)
        return Filing(self._database.sessions, store, study_clock(self._settings))

    def _check_now(self) -> None:
        """A wrong schema ends the process at once; a database or a store that is away keeps no PACS waiting."""
        try:
            self._make_filing()
        except (DatabaseUnavailable, SQLAlchemyError, SpoolError) as error:
            logger.warning(
                "database or store away, objects wait in the spool", extra={"action": "away"}, exc_info=error
            )

    def _shut_down(self) -> None:
        was_alive = self._is_alive
        self.listener.stop()
        if self._port_file:
            with suppress(OSError):
                self._port_file.release()
        for loop in (*self._loops, self._monitor):
            loop.stop(STOP_TIMEOUT_S)
        self._close_inbox()
        self._database.dispose()
        logger.info("stopped", extra={"action": "stop"})
        if not was_alive:
            msg = "a thread of the listener died; the log lines above say where. Please report it."
            raise LoopDied(msg)

    def _checks(self, spool: Spool) -> list[Callable[[], Finding]]:
        """What this process looks at to know whether it keeps its promises."""
        settings = self._settings
        publisher = HintPublisher(settings.broker)
        return [
            lambda: health.accepting(is_well=self.listener.is_accepting),
            lambda: health.broker(publisher),
            lambda: health.spool(self._registrar.oldest_s, len(spool.keys()), self._registrar.put_off),
            lambda: health.quarantine(spool.quarantined()),
            lambda: health.given_up(count_given_up(settings)),
            lambda: health.disk(Probe.SPOOL_DISK, settings.spool),
            lambda: health.disk(Probe.STORE_DISK, settings.store),
            lambda: health.disk(Probe.HOME_DISK, settings.home),
        ]

    def _registered(self) -> None:
        """New tasks are in SQL: the dispatcher hints at them."""
        self._dispatcher.wake()

    def _open_inbox(self) -> None:
        """Before the first object can be acknowledged: from now on this listener may hold some."""
        try:
            self._registrar.beat()
        except (DatabaseUnavailable, SpoolError, SQLAlchemyError) as error:
            logger.warning(
                "the start of this listener could not be noted yet", extra={"action": "away"}, exc_info=error
            )

    def _close_inbox(self) -> None:
        try:
            self._monitor.sign_off()
            self._registrar.close()
        except (DatabaseUnavailable, SpoolError, SQLAlchemyError):
            # What is left, or not known to be registered, holds its studies up until the next start.
            logger.warning("the end of this listener could not be noted", extra={"action": "away"})


def _options(settings: Settings) -> ListenerOptions:
    return ListenerOptions(
        ae_title=settings.ae_title,
        host=settings.host,
        port=settings.port,
        allowed_aets=frozenset(settings.allowed_aets),
        allowed_hosts=tuple(ipaddress.ip_network(text, strict=False) for text in settings.allowed_hosts),
        any_caller=settings.any_caller,
        check_called_aet=settings.check_called_aet,
        accept_user_identity=settings.accept_user_identity,
        max_associations=settings.max_associations,
        max_per_peer=settings.max_per_peer,
        max_pdu=settings.max_pdu,
        max_object_bytes=settings.max_object_mb << 20,
        max_memory_bytes=settings.max_memory_mb << 20,
        acse_timeout_s=settings.request_timeout_s,
        pdu_timeout_s=settings.pdu_timeout_s,
        network_timeout_s=settings.network_timeout_s,
        association_timeout_s=settings.association_timeout_s,
        tls=settings.tls,
    )
