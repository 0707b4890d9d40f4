"""``auscult listen``: the storage SCP with its registrar and dispatcher, in one process without Celery or TensorFlow."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from dicom_io.errors import PortBusy, SpoolError
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import CannotListen, Listener
from dicom_io.network.tls import TlsInvalid
from worker.auditing.forward import AuditLoop, Forwarder, to_syslog
from worker.auditing.processes import ProcessTrail
from worker.database import connect, prepare_database
from worker.db.read.probes import Probe
from worker.delivering.dispatch import Deliverer
from worker.errors import DatabaseUnavailable, SettingsError, WorkerError
from worker.health import checks
from worker.health.drift import DriftWatch
from worker.health.monitor import Monitor
from worker.intake.commitment import CommitmentBook
from worker.intake.counting import Counter
from worker.intake.filing import Filing, StudyClock, rejection_policy
from worker.intake.folders import count_given_up, count_objects
from worker.intake.registrar import Registrar
from worker.logs import error_class
from worker.models.active import check_first_start, ensure_active_model
from worker.processes.supervisor import announce, on_stop
from worker.queue.dispatcher import Dispatcher, DispatchOptions
from worker.queue.hints import HintPublisher
from worker.retention.schedule import Retention
from worker.runfiles import PortFile
from worker.settings import Settings, port_file
from worker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.db.read.probes import Finding
    from worker.loops import Loop

logger = logging.getLogger(__name__)


STOP_TIMEOUT_S = 20.0
POLL_S = 1.0


class LoopDied(WorkerError):
    """A thread of the listener ended unexpectedly; the process ends, so that its supervisor starts it again."""

    exit_code = 1


class ListenerProcess:
    """Listener, registrar, dispatcher and commitment in one process; each wakes the next one in the flow."""

    def __init__(self, settings: Settings, ready_fd: int | None = None) -> None:
        self._settings = settings
        self._ready_fd = ready_fd
        self._port_file: PortFile | None = None
        self._is_port_told = True
        check_first_start(settings)
        self._database = connect(settings)
        spool, journal = Spool(settings.spool), Journal(settings.spool)
        self._registrar = Registrar(spool, journal, self._database.sessions, self._make_filing, self._registered)
        self._dispatcher = Dispatcher(
            self._database.sessions, HintPublisher(settings.broker), DispatchOptions.of(settings), self._registrar.beat
        )
        self._commitment = CommitmentBook(settings, self._database.sessions)
        self._counter = Counter(settings, self._database.sessions)
        self._trail = ProcessTrail(settings, self._database.sessions, "auscult listen")
        self._audit = AuditLoop(self._trail, self._forwarder())
        self._retention = Retention(settings, self._database)
        self._drift = DriftWatch(settings, self._database)
        self._deliverer = Deliverer(settings, self._database)
        self.listener = Listener(
            settings.listener, spool, journal, self, self._commitment, self._deliverer.confirmations
        )
        self._registrar.watch(self.listener, StudyClock.of(settings).quiet_ms)
        self._monitor = Monitor("listener", self._database.sessions, self._checks(spool), self._loops)
        self._stop = threading.Event()

    def on_instance(self, key: str, study_uid: str, association: int) -> None:  # noqa: ARG002 - ListenerEvents
        """An object is safe on disk: the registrar files it."""
        self._registrar.arrived(key)

    def on_association_closed(self, association: int, clean: bool) -> None:  # noqa: ARG002, FBT001 - ListenerEvents
        """An association ended; its studies' quiet time runs from their last object."""
        self._registrar.association_closed()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; errors that a person has to fix are raised at the start only."""
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
        waiting = self._registrar, self._dispatcher, self._commitment, self._counter
        return *waiting, self._retention, self._drift, self._audit, self._deliverer

    def _forwarder(self) -> Forwarder | None:
        """What sends the audit trail on, where the settings name a receiver."""
        receiver, files = self._settings.syslog, self._settings.tls
        if receiver is None or files is None:
            return None
        return Forwarder(self._database, str(receiver), to_syslog(receiver, files))

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
        """Announce the bound port once to the process that started this one, and keep the port file up to date."""
        if self._ready_fd is not None:
            announce(self._ready_fd, str(self.listener.port))
            self._ready_fd = None
        self._port_file = self._port_file or PortFile(port_file(self._settings), self.listener.port)
        try:
            self._port_file.claim()
            self._is_port_told = True
        except (OSError, SettingsError) as error:
            # The listener works without the file, on a full disk for one; it is written as soon as possible.
            if self._is_port_told:
                logger.warning("port file not written", extra={"action": "port_file", "cause": error_class(error)})
            self._is_port_told = False

    def _make_filing(self) -> Filing:
        """Check schema and active model, once, as soon as the database answers."""
        prepare_database(self._settings, self._database)
        ensure_active_model(self._settings, self._database)
        store = open_store(self._settings, self._database)
        return Filing(
            self._database.sessions,
            store,
            StudyClock.of(self._settings),
            policy=rejection_policy(self._settings),
        )

    def _check_now(self) -> None:
        """Raise for a wrong schema; where database or store are away the listener starts all the same."""
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
        loops = (*self._loops, self._monitor)
        for loop in loops:
            # All at once: where the broker is away, a turn of several of them waits for it.
            loop.end()
        for loop in loops:
            loop.stop(STOP_TIMEOUT_S)
        self._close_inbox()
        self._trail.note_stop()
        self._database.dispose()
        logger.info("stopped", extra={"action": "stop"})
        if not was_alive:
            msg = "a thread of the listener died; the log lines above say where. Please report it."
            raise LoopDied(msg)

    def _checks(self, spool: Spool) -> list[Callable[[], Finding]]:
        """The probes of this process."""
        settings = self._settings
        publisher = HintPublisher(settings.broker)
        return [
            lambda: checks.accepting(is_well=self.listener.is_accepting),
            lambda: checks.broker(publisher.check),
            lambda: checks.spool(self._registrar.oldest_s, len(spool.keys()), self._registrar.put_off),
            lambda: checks.quarantine(count_objects(settings)),
            lambda: checks.given_up(count_given_up(settings)),
            self._retention.finding,
            self._drift.finding,
            lambda: checks.disk(Probe.SPOOL_DISK, settings.spool),
            lambda: checks.disk(Probe.STORE_DISK, settings.store),
            lambda: checks.disk(Probe.HOME_DISK, settings.home),
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
            # Entries that are left, or may be unregistered, hold up their studies until the next start.
            logger.warning("the end of this listener could not be noted", extra={"action": "away"})
