"""The fork server: a process that has imported what those that serve need, and becomes one of them by each fork.

It reads one request at a time from its parent, a document of JSON, and answers with a number: to fork, with the id of the
new process; about one of these, with its exit code, once it has ended. It ends with its parent, and its children with it.
Nothing here may start a thread, open a file or read a setting before a fork: all children would share it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys

from setproctitle import getproctitle, setproctitle
from sqlalchemy.orm import configure_mappers

from worker.allocator import use_few_arenas
from worker.child import Become, end_with

#: What a listener and a worker import, and what they would import at their first film. Alembic is not among it: a schema
#: is upgraded once a release, in a process that ends.
IMPORTED = (
    "ai_edge_litert.interpreter",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.concurrency.prefork",
    "celery.events.receiver",
    "celery.fixups.django",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "dicom_io.film.film",
    "kombu.transport.redis",
    "model.serving.classifier",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "structlog",
    "worker.cli.serve",
    "worker.judging.task_worker",
    "worker.processes.app",
    "worker.processes.listen",
)
#: What pydicom, rich, Celery and kombu import where it is installed, and Auscult has no use for: GDCM alone takes 10 MB.
LEFT_OUT = ("attr", "gdcm", "psutil", "requests", "tqdm", "yaml")
#: Signals that end a process in order. A terminal or an init system sends them to whole groups of processes: the fork
#: server has them blocked, as it goes with its parent, and its children take them as any other process does.
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
REQUEST_BYTES = 65_536


def load() -> None:
    """Import, once for all processes."""
    # It looks for the place of the title now, while the environment behind it is as the system made it.
    getproctitle()
    use_few_arenas()
    for name in LEFT_OUT:
        if name not in sys.modules:
            # Python's own way to say that there is no such module.
            sys.modules[name] = None  # type: ignore[assignment]
    for name in IMPORTED:
        importlib.import_module(name)
    # Else each process would do it at its first statement, 8 MB each time.
    configure_mappers()
    # The garbage collector writes to what it visits, and a page that is written to is no longer shared.
    gc.collect()
    gc.freeze()


def serve(link: socket.socket, parent: int) -> None:
    """Answer requests until the parent ends; raises `Become` in each forked process."""
    end_with(parent)
    os.setpgid(0, 0)
    setproctitle("auscult fork server")
    server = os.getpid()
    while True:
        asked, handed, _, _ = socket.recv_fds(link, REQUEST_BYTES, 1)
        if not asked:
            os._exit(0)
        request = json.loads(asked)
        if "pid" in request:
            answer = _exit_code(request["pid"])
        else:
            answer = os.fork()
            if answer == 0:
                link.close()
                _begin(server, request["arguments"], handed)
            for descriptor in handed:
                os.close(descriptor)
        link.sendall(json.dumps(answer).encode())


def _exit_code(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _begin(server: int, arguments: list[str], handed: list[int]) -> None:
    end_with(server)
    # A group of its own: a Ctrl-C reaches the supervisor alone, which ends its children in order.
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    setproctitle(" ".join(("auscult", *arguments)))
    raise Become([*arguments, *(word for descriptor in handed for word in ("--ready-fd", str(descriptor)))])
