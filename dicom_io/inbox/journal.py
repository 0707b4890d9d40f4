"""The journal of refusals: a file of JSON lines that the registrar turns into rows.

The listener has no database, so a refusal waits here as an object waits in the spool. Losing a refusal in a power cut is
acceptable, so the file is not synced; its size is bounded.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import stat
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

from dicom_io.durable import make_folder, spool_error, write_all
from dicom_io.errors import SpoolError
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Largest size of the journal, bytes. It is only reached if the registrar is away for long, or a peer floods the listener.
MAX_JOURNAL_BYTES = 8 << 20
_UID = re.compile(r"[0-9a-f]{32}")
#: Longest text of a record: no AE title, address or UID is longer.
_LONGEST_TEXT = 64
_TEXTS = ("calling_aet", "called_aet", "peer", "study_uid", "sop_uid")
#: The largest number that a column holds.
_MOST_REPEATS = 2**31 - 1


class RefusalKind(StrEnum):
    """The kind of thing that was refused."""

    ASSOCIATION = "association"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class RefusalRecord:
    """One refusal. No field holds patient data."""

    #: Random, 32 hexadecimal digits; a record that is read twice is recognised by it.
    uid: str
    #: Time of the refusal, ISO 8601 in UTC.
    at: str
    kind: RefusalKind
    reason: Reason
    calling_aet: str = ""
    called_aet: str = ""
    #: Address of the sender, without a port.
    peer: str = ""
    #: A valid UID or "": a sender may put a name into a UI element.
    study_uid: str = ""
    sop_uid: str = ""
    #: How often the same was refused since the last record of it, including this time.
    count: int = 1


@dataclass(frozen=True, slots=True)
class Drained:
    """Records taken from the journal, and the files to remove once the records are committed."""

    records: tuple[RefusalRecord, ...]
    files: tuple[Path, ...]


class Stamp(TypedDict):
    """The fields that identify a record."""

    uid: str
    at: str


def now_and_uid() -> Stamp:
    """Return the fields ``uid`` and ``at`` of a new record."""
    return {"uid": uuid4().hex, "at": datetime.now(UTC).isoformat()}


class Journal:
    """The refusals that wait to become rows; safe to use from several threads and processes at once.

    Parameters
    ----------
    root : Path
        Folder of the spool, made if it is missing.

    Raises
    ------
    SpoolError
        If the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / "journal.jsonl"
        try:
            make_folder(root)
        except OSError as exc:
            raise spool_error(exc) from exc

    def append(self, record: RefusalRecord) -> None:
        """Add a record.

        Raises
        ------
        SpoolFull
            If there is no space left.
        SpoolError
            If the record cannot be written, or the journal has reached `MAX_JOURNAL_BYTES`.
        """
        line = json.dumps(asdict(record), ensure_ascii=True) + "\n"
        try:
            with self._locked():
                descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    _append_whole(descriptor, line.encode("ascii"))
                finally:
                    os.close(descriptor)
        except OSError as exc:
            raise spool_error(exc) from exc

    def drain(self) -> Drained:
        """Take every record written so far. Each call returns them again until `ack` confirms that they are committed.

        A broken line is left out, and a file that cannot be read is set aside; the other records are kept.

        Returns
        -------
        Drained
            The records, oldest first; after a crash a record may be returned twice, with the same ``uid``.

        Raises
        ------
        SpoolError
            If the journal's folder cannot be read or written.
        """
        records: list[RefusalRecord] = []
        files: list[Path] = []
        try:
            with self._locked():
                if self._file.exists():
                    # The time, not a counter: if a name were used again, an `ack` could remove newer records.
                    self._file.rename(self._root / f"journal.{time.time_ns():020d}.taken")
                taken = self._taken()
            for file in taken:
                try:
                    records += _records_of(file)
                    files.append(file)
                except OSError as exc:
                    logger.error(
                        "A file of the journal cannot be read and is set aside",
                        extra={"action": "journal_file_broken", "error": type(exc).__name__},
                    )
                    file.rename(file.with_suffix(".broken"))
        except OSError as exc:
            raise spool_error(exc) from exc
        return Drained(tuple(records), tuple(files))

    def ack(self, drained: Drained) -> None:
        """Remove what `drain` returned, after it was committed.

        Raises
        ------
        SpoolError
            If a file cannot be removed.
        """
        try:
            for file in drained.files:
                file.unlink(missing_ok=True)
        except OSError as exc:
            raise spool_error(exc) from exc

    def _taken(self) -> list[Path]:
        return sorted(self._root.glob("journal.*.taken"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep writers from adding to a file that has just been taken and read."""
        descriptor = os.open(self._root / "journal.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _append_whole(descriptor: int, line: bytes) -> None:
    """Append the line or nothing: half a line would spoil the next one too."""
    size = os.fstat(descriptor).st_size
    if size > MAX_JOURNAL_BYTES:
        raise SpoolError("The journal of refusals is full; is the registrar running?")
    try:
        write_all(descriptor, line)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _records_of(file: Path) -> list[RefusalRecord]:
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise OSError("not a file")
        text = file.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        # Another registrar at the same spool has committed these records and removed the file.
        return []
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records.append(_record_of(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # A crash during a write leaves half a line; the records after it are kept.
            logger.warning(
                "Skipped a broken line of the journal", extra={"action": "journal_line_broken", "line": number}
            )
    return records


def _record_of(fields: dict[str, Any]) -> RefusalRecord:
    """Return the record of a line, with texts that a database accepts; raises ValueError and others if it is invalid."""
    kind, reason, count = RefusalKind(fields.pop("kind")), Reason(fields.pop("reason")), fields.get("count", 1)
    if type(count) is not int or not 0 < count <= _MOST_REPEATS:
        raise ValueError("not a valid count")
    record = RefusalRecord(kind=kind, reason=reason, **fields)
    datetime.fromisoformat(record.at)
    if not _UID.fullmatch(record.uid):
        raise ValueError("not a valid identifier")
    texts: dict[str, Any] = {name: _storable(getattr(record, name)) for name in _TEXTS}
    return replace(record, **texts)


def _storable(text: str) -> str:
    """Return the text in a form that every database accepts: no NUL, no lone surrogates, at most 64 characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
