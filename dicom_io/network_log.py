"""Keep pynetdicom's own words out of the log: they quote what a peer sends, which may be patient data.

A name in a UID, in an AE title or in a command set comes back in pynetdicom's messages and exceptions. What is let
through is where in the library something happened and the class of the exception, in our own sentence.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import _config

from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from types import TracebackType


def quiet_network_libraries() -> None:
    """Silence pynetdicom and pydicom in this process and make pynetdicom tolerant of UIDs; harmless when repeated.

    pynetdicom is configured by module variables, so this holds for the whole process, on purpose.
    """
    quiet_libraries()
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    # An unusable UID in a command would end the whole association; a status for the one object is the better answer.
    _config.VALIDATORS["UI"] = _any_uid
    warnings.filterwarnings("ignore", module=r"pynetdicom(\..*)?")
    library = logging.getLogger("pynetdicom")
    library.setLevel(logging.WARNING)
    if not any(isinstance(handler, _Redact) for handler in library.handlers):
        library.addHandler(_Redact())


def frames_of(exc: BaseException) -> list[str]:
    """Return where `exc` came from, as ``file:line function``, innermost last.

    Neither the exception's text nor source lines nor local values are in it, as these may hold patient data.
    """
    return _frames(exc.__traceback__)


def _frames(tb: TracebackType | None) -> list[str]:
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(tb)]


def _any_uid(_value: object) -> tuple[bool, str]:
    return True, ""


class _Redact(logging.Handler):
    """Takes message and exception out of a record before it goes on to the handlers of the root logger."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = "The DICOM network library reported a problem at %s", (_place_of(record),)
        record.exc_info = record.exc_text = record.stack_info = None
        record.action = "network_library"
        record.error = type(failure).__name__ if failure else ""


def _place_of(record: logging.LogRecord) -> str:
    return f"{record.module}:{record.lineno} {record.funcName}"
