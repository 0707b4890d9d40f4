"""Log lines: human text on a terminal, JSON elsewhere, and never a value from a film's header.

An exception is shown by its class and our own frames. Its text is left out: pydicom and the database drivers quote
the values they stumble over, and those may be a patient's (promise 6 of ARCHITECTURE.md).
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from dicom_io.clean import clean_text

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: pydicom and similar libraries quote header values, so only their errors pass; Celery logs each message, so its warnings.
LIBRARY_LEVELS = {
    "pydicom": logging.ERROR,
    "pynetdicom": logging.ERROR,
    "highdicom": logging.ERROR,
    "PIL": logging.ERROR,
    "alembic": logging.ERROR,
    "kombu": logging.ERROR,
    "sqlalchemy": logging.ERROR,
    "celery": logging.WARNING,
}


def configure_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Send every log record of this process, ours and the libraries', to one handler."""
    out = stream or sys.stderr
    as_text = log_format == "text" or (log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(as_text=as_text, colors=out.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    threading.excepthook = _log_thread_death
    for name, least in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(least)


class _Formatter(logging.Formatter):
    """structlog's formatter, made for the first line: most commands log nothing, and it loads slowly."""

    def __init__(self, *, as_text: bool, colors: bool) -> None:
        super().__init__()
        self._as_text, self._colors = as_text, colors
        self._made: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        if self._made is None:
            self._made = _structlog_formatter(as_text=self._as_text, colors=self._colors)
        return self._made.format(record)


def _structlog_formatter(*, as_text: bool, colors: bool) -> logging.Formatter:
    import structlog

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _frames_only,
        _one_line,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer(colors=colors) if as_text else structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _one_line(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Clean all texts, so that a text from a peer, such as its AE title, cannot move the cursor or add a line."""
    for key, value in event.items():
        event[key] = _cleaned(value)
    return event


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value, len(value))
    return [_cleaned(item) for item in value] if isinstance(value, list | tuple | set | frozenset) else value


def _log_thread_death(died: threading.ExceptHookArgs) -> None:
    """Python's own hook would print the error's text."""
    name = died.thread.name if died.thread else "?"
    logging.getLogger(__name__).error("thread %s died", name, extra={"action": "thread_died"}, exc_info=died.exc_value)


def error_class(error: BaseException) -> str:
    """The name of an exception's class, the only part of an exception that is stored or logged."""
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _frames_only(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = error_class(error)
        event["frames"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return event
