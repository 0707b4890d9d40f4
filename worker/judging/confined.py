"""A process of its own for work on files of unknown origin: it may hang, use up its memory or crash, and its command goes on.

The same process answers one question after the other. If it does not answer within the time limit it is ended by SIGKILL,
and the next question starts another. It is forked, so it starts in milliseconds. Only commands fork it: they must not open
a model or TensorFlow before (these hang in a fork), nor leave SQLite open where the process opens it too (SQLite's locks
belong to a process). Questions and answers are JSON: a process that a film has taken over can give a wrong answer, but
cannot run code in the command.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import signal
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_io.errors import DicomIoError
from dicom_io.reasons import Reason
from model.errors import ModelError
from worker.child import die_with_parent
from worker.errors import DatabaseUnavailable, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess
    from typing import Self

    #: The first words of the process, and the function that answers questions.
    Job = tuple[Any, Callable[[Any], Any]]

logger = logging.getLogger(__name__)

#: Time to load libraries and open a model, on a busy machine.
START_S = 120.0
#: Time to finish the current film and sign off, when a command ends.
LEAVE_S = 5.0
#: The exit code of wrong usage or unusable files of the operator.
USAGE = 2
_MAX_REPLY_BYTES = 1 << 20
_FORK = multiprocessing.get_context("fork")


class CannotStart(WorkerError):
    """The process that judges films ends or hangs at its start; the log lines above say why."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Foreseen(WorkerError):
    """The process ended with an error that it explains in a sentence."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Unanswered(Exception):
    """A question got no answer and the process is ended: it took too long, crashed or was killed.

    ``reason`` is TIMED_OUT or WORKER_LOST.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Confined:
    """A process that answers questions, started with the first; ``job`` opens there what it takes to answer."""

    def __init__(
        self, job: Callable[[], AbstractContextManager[Job]], limit_s: float, start_s: float | None = START_S
    ) -> None:
        self._job = job
        #: Seconds that it may take to open what answers take; None: as long as it takes.
        self._start_s = start_s
        #: Seconds that one answer may take.
        self.limit_s = limit_s
        self._process: ForkProcess | None = None
        self._channel: Connection | None = None
        #: The first words of the process, None before it starts.
        self.hello: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Any:
        """Start the process unless it runs; returns its first words. Raises CannotStart or Foreseen."""
        if self._process is None or not self._process.is_alive():
            self.close()
            ours, theirs = _FORK.Pipe()
            self._channel = ours
            self._process = _FORK.Process(target=_serve, args=(self._job, theirs, ours), daemon=True)
            with warnings.catch_warnings():
                # Python 3.12 warns of any other thread: here those of OpenBLAS, which prepares for a fork, or of a
                # progress bar, which the process does not draw.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process.start()
            theirs.close()
            try:
                self.hello = self._answer(self._start_s)
            except Unanswered:
                raise CannotStart from None
        return self.hello

    def ask(self, question: Any) -> Any:
        """The answer to a question; raises Unanswered, after which the next question starts another process."""
        self.start()
        try:
            self._open.send_bytes(json.dumps(question).encode())
        except OSError:
            self._end()
            raise Unanswered(Reason.WORKER_LOST) from None
        return self._answer(self.limit_s)

    def close(self) -> None:
        """Let the process end in order; kill it where it does not."""
        if self._channel:
            self._channel.close()
            self._channel = None
        if self._process:
            self._process.join(LEAVE_S)
            self._end()
            self._process = None

    @property
    def _open(self) -> Connection:
        if self._channel is None:
            raise Unanswered(Reason.WORKER_LOST)
        return self._channel

    def _answer(self, within_s: float | None) -> Any:
        try:
            if not self._open.poll(within_s):
                self._end()
                raise Unanswered(Reason.TIMED_OUT)
            reply = json.loads(self._open.recv_bytes(_MAX_REPLY_BYTES))
        except (EOFError, OSError, ValueError):
            self._end()
            raise Unanswered(Reason.WORKER_LOST) from None
        if "error" in reply:
            self.close()
            raise Foreseen(reply["error"], reply["exit_code"])
        return reply["answer"]

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.join()


def _serve(job: Callable[[], AbstractContextManager[Job]], channel: Connection, other_end: Connection) -> None:
    """The process: answers until the command closes its end, and dies with it."""
    other_end.close()
    die_with_parent()
    # Ctrl-C reaches every process of a terminal; the command ends this one in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The garbage collector must not close what the command has open.
    gc.freeze()
    try:
        with job() as (hello, answer):
            _say(channel, answer=hello)
            for question in _questions(channel):
                _say(channel, answer=answer(question))
    except WorkerError as error:
        _say(channel, error=str(error), exit_code=error.exit_code)
    except (DicomIoError, ModelError) as error:
        _say(channel, error=str(error), exit_code=USAGE)
    except (OperationalError, InterfaceError):
        sentence = "the database does not answer; check AUSCULT_DATABASE_URL and that the server runs"
        _say(channel, error=sentence, exit_code=DatabaseUnavailable.exit_code)
    except Exception:
        logger.exception("internal error", extra={"action": "internal_error"})


def _questions(channel: Connection) -> Iterator[Any]:
    """The questions of the command, until it has no more or has ended."""
    with suppress(EOFError, ConnectionResetError):
        while True:
            yield json.loads(channel.recv_bytes())


def _say(channel: Connection, **reply: Any) -> None:
    with suppress(BrokenPipeError):
        channel.send_bytes(json.dumps(reply).encode())
