"""The objects and requests that this data folder has set aside: shown, put back into their spool, or deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicom_io.errors import DicomIoError
from dicom_io.header.elements import valid_uid
from dicom_io.header.part10 import read_preface
from dicom_io.header.reader import read_facts
from dicom_io.inbox.quarantine import Quarantine, SetAside
from dicom_io.reasons import Reason
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import in_transaction
from worker.errors import UsageError
from worker.intake.commitment import SENTENCES
from worker.intake.folders import COMMITMENT, spools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.settings import Settings

#: Shown where an entry has no note: an earlier release set it aside, or the disk was full.
UNKNOWN = "UNKNOWN"
UNKNOWN_SENTENCE = (
    "No note says why it was set aside; the log of that day does. Release it to try again, or discard it."
)
#: Fewest characters of a key that name an entry.
SHORTEST_KEY = 6
_SOP_UID, _SOURCE_AET = 0x00020003, 0x00020016


@dataclass(frozen=True, slots=True)
class Held:
    """An entry in quarantine: where, why, and what can be read of it."""

    spool: str
    entry: SetAside
    calling_aet: str = ""
    peer: str = ""
    sop_uid: str = ""
    study_uid: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The entry for tables and JSON documents, without patient data."""
        note = self.entry.note
        reason = note.reason if note else UNKNOWN
        return {
            "key": self.entry.key,
            "spool": self.spool,
            "reason": reason,
            "cause": note.cause if note else None,
            "tries": note.tries if note else None,
            "set_aside_at": self.entry.at,
            "size_bytes": self.entry.size if self.entry.is_file else None,
            "calling_aet": self.calling_aet,
            "peer": self.peer,
            "sop_uid": self.sop_uid,
            "study_uid": self.study_uid,
            "sentence": sentence_of(reason),
        }


def sentence_of(reason: str) -> str:
    """What is wrong with an entry, and what to do."""
    if reason in SENTENCES:
        return SENTENCES[reason]
    return Reason(reason).sentence if reason in Reason.__members__ else UNKNOWN_SENTENCE


def held(settings: Settings) -> list[Held]:
    """Every entry in quarantine, the oldest first; raises OSError where a folder cannot be read."""
    found = [_read(name, entry) for name, root in spools(settings).items() for entry in Quarantine(root).entries()]
    return sorted(found, key=lambda each: (each.entry.at, each.entry.key))


def named(settings: Settings, keys: Sequence[str]) -> list[Held]:
    """The entries that keys, or their first characters, name; raises UsageError where one names none or several."""
    found = {}
    there = held(settings)
    for key in keys:
        matching = [each for each in there if each.entry.key.startswith(key)] if len(key) >= SHORTEST_KEY else []
        if len(matching) != 1:
            what = "names several entries: give more of it" if matching else "names no entry in quarantine"
            msg = f"'{key}' {what}; `auscult quarantine list` shows the keys (at least {SHORTEST_KEY} characters)"
            raise UsageError(msg)
        found[matching[0].entry.key] = matching[0]
    return list(found.values())


def release(settings: Settings, database: Database, entry: Held, actor: Actor, why: str) -> None:
    """Put an entry back into its spool under its key; its process tries it again. Raises OSError."""
    _record(database, Act.QUARANTINE_RELEASED, entry, actor, why)
    Quarantine(spools(settings)[entry.spool]).release(entry.entry.key)


def discard(settings: Settings, database: Database, entry: Held, actor: Actor, why: str) -> None:
    """Delete an entry for good; raises OSError.

    The audit event comes first: a crash between the two leaves an entry whose deletion is on record, never the opposite.
    """
    _record(database, Act.QUARANTINE_DISCARDED, entry, actor, why)
    Quarantine(spools(settings)[entry.spool]).discard(entry.entry.key)


def _record(database: Database, act: Act, each: Held, actor: Actor, why: str) -> None:
    facts = each.as_dict()
    detail = {name: facts[name] for name in ("key", "spool", "reason", "cause", "size_bytes")} | {"why": why}

    def write(session: Session) -> None:
        record(session, act, actor, study_uid=each.study_uid, sop_uid=each.sop_uid, detail=detail)

    in_transaction(database.sessions, write)


def _read(spool: str, entry: SetAside) -> Held:
    """Read what an entry says of its sender and itself, as far as that is possible."""
    if not entry.is_file or spool == COMMITMENT:
        return Held(spool, entry)
    try:
        facts = read_facts(entry.path)
    except (DicomIoError, OSError):
        return _read_meta(spool, entry)
    if not facts.sop_uid:
        return _read_meta(spool, entry)
    return Held(spool, entry, facts.calling_aet, facts.peer, facts.sop_uid, facts.study_uid)


def _read_meta(spool: str, entry: SetAside) -> Held:
    """Read the file meta information alone, which the listener wrote."""
    try:
        with entry.path.open("rb") as file:
            meta = read_preface(file).meta
    except (DicomIoError, OSError):
        return Held(spool, entry)
    sop_uid = meta.get(_SOP_UID, b"").decode("latin-1").strip("\0 ")
    title = meta.get(_SOURCE_AET, b"").decode("latin-1").strip()
    return Held(spool, entry, title if title.isascii() else "", sop_uid=sop_uid if valid_uid(sop_uid) else "")
