"""Keep pynetdicom's messages out of the log: they quote what a peer sends, which may be patient data.

A name in a UID, in an AE title or in a command set is repeated in pynetdicom's messages and exceptions. The log only gets
the place in the library and the class of the exception, in our own sentence.
"""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger(__name__)


def quiet_network_libraries() -> None:
    """Silence pynetdicom and pydicom in this process and make pynetdicom accept any UID; may be called repeatedly.

    pynetdicom is configured by module variables, so this holds for the whole process.
    """
    quiet_libraries()
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    # An invalid UID in a command would end the whole association; a failure status for the one object is better.
    _config.VALIDATORS["UI"] = _any_uid
    warnings.filterwarnings("ignore", module=r"pynetdicom(\..*)?")
    library = logging.getLogger("pynetdicom")
    library.setLevel(logging.WARNING)
    if not any(isinstance(handler, _Redact) for handler in library.handlers):
        library.addHandler(_Redact())
    if not isinstance(threading.excepthook, _ThreadDeaths):
        threading.excepthook = _ThreadDeaths(threading.excepthook)


def frames_of(exc: BaseException) -> list[str]:
    """Return where `exc` came from, as ``file:line function``, innermost last.

    It contains neither the exception's text nor source lines nor local values, which may hold patient data.
    """
    return _frames(exc.__traceback__)


def _frames(tb: TracebackType | None) -> list[str]:
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(tb)]


def _any_uid(_value: object) -> tuple[bool, str]:
    return True, ""


class _Redact(logging.Handler):
    """Removes message and exception from a record before it reaches the handlers of the root logger."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = "The DICOM network library reported a problem at %s", (_place_of(record),)
        record.exc_info = record.exc_text = record.stack_info = None
        record.action = "network_library"
        record.error = type(failure).__name__ if failure else ""


class _ThreadDeaths:
    """Reports a thread of pynetdicom that ends with an exception; Python would print the exception with its text."""

    def __init__(self, previous: Callable[[threading.ExceptHookArgs], object]) -> None:
        self._previous = previous

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.thread, Association | DULServiceProvider):
            self._previous(args)
            return
        logger.error(
            "A thread of the DICOM network library died",
            extra={
                "action": "network_thread_died",
                "error": args.exc_type.__name__,
                "frames": _frames(args.exc_traceback),
            },
        )


def _place_of(record: logging.LogRecord) -> str:
    return f"{record.module}:{record.lineno} {record.funcName}"
