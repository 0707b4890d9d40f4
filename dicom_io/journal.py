"""What was turned away at the door: a file of JSON lines that the registrar turns into rows.

The listener needs no database, so it cannot write rows itself; a refusal waits here as an object waits in the spool.
A refusal is news, not evidence: it is not synced to the disk, and the file is bounded.
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

#: Beyond this the registrar has been away for very long, or someone is hammering at the door.
MAX_JOURNAL_BYTES = 8 << 20
_UID = re.compile(r"[0-9a-f]{32}")
#: Longer than any AE title, address or UID; and the largest number that a column holds.
_LONGEST_TEXT = 64
_TEXTS = ("calling_aet", "called_aet", "peer", "study_uid", "sop_uid")
_MOST_REPEATS = 2**31 - 1


class RefusalKind(StrEnum):
    """What was refused."""

    ASSOCIATION = "association"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class RefusalRecord:
    """One refusal at the door. No field holds anything of a patient."""

    #: Random, 32 hexadecimal digits: makes a replay of the journal harmless.
    uid: str
    #: When, ISO 8601 in UTC.
    at: str
    kind: RefusalKind
    reason: Reason
    calling_aet: str = ""
    called_aet: str = ""
    #: Address of the sender, without a port.
    peer: str = ""
    #: Only ever a valid UID, else "": what a sender puts in a UI element may be a name.
    study_uid: str = ""
    sop_uid: str = ""
    #: How often the same was refused since the last record of it, this time included.
    count: int = 1


@dataclass(frozen=True, slots=True)
class Drained:
    """Records taken from the journal, and the files that go once the records are committed."""

    records: tuple[RefusalRecord, ...]
    files: tuple[Path, ...]


class Stamp(TypedDict):
    """What makes a record one of its own."""

    uid: str
    at: str


def now_and_uid() -> Stamp:
    """Return the fields ``uid`` and ``at`` of a record that is made now."""
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
        """Take every record written so far. They come again at each call until `ack` is told they are committed.

        A broken line is left out, and a file that cannot be read set aside: the records beside it must not suffer.

        Returns
        -------
        Drained
            The records, oldest first; a record may come twice across a crash, with the same ``uid``.

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
                    # The time, not a counter: a name must never come back, or an `ack` could remove news.
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
        """Forget what `drain` returned, now that it is committed.

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
        """Keep a writer from adding to a file that has just been taken and read."""
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
        # Another registrar on the same spool has committed these and removed the file.
        return []
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records.append(_record_of(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # A crash in the middle of a write leaves half a line; the records after it must not suffer.
            logger.warning(
                "Skipped a broken line of the journal", extra={"action": "journal_line_broken", "line": number}
            )
    return records


def _record_of(fields: dict[str, Any]) -> RefusalRecord:
    """Return the record a line holds, with texts that a database takes; raises ValueError or its like for any other."""
    kind, reason, count = RefusalKind(fields.pop("kind")), Reason(fields.pop("reason")), fields.get("count", 1)
    if type(count) is not int or not 0 < count <= _MOST_REPEATS:
        raise ValueError("not a count of ours")
    record = RefusalRecord(kind=kind, reason=reason, **fields)
    datetime.fromisoformat(record.at)
    if not _UID.fullmatch(record.uid):
        raise ValueError("not an identifier of ours")
    texts: dict[str, Any] = {name: _storable(getattr(record, name)) for name in _TEXTS}
    return replace(record, **texts)


def _storable(text: str) -> str:
    """Return the text without what no database takes: zero bytes, halves of surrogate pairs, more than a column holds."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
