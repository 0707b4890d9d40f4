"""``auscult patient export``: everything held of one person, as one JSON document, or as a ZIP with the originals."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dicom_io.durable import create_locked, durable_file, write_whole
from model.notice import NOTICE
from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.retention import files, people, records
from worker.db.schema.engine import in_transaction
from worker.errors import UsageError
from worker.retention.held_files import held_files
from worker.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.db.audit.record import Actor
    from worker.db.retention.people import Person
    from worker.db.retention.rules import RecordRule
    from worker.retention.held_files import HeldFile
    from worker.settings import Settings

DOCUMENT = "auscult-patient-export"
#: Counts up when a key changes its meaning; since 2 `recipients` is a list.
VERSION = 2
LAW = (
    "Regulation (EU) 2016/679 (GDPR), article 15 (right of access by the data subject) "
    "and article 20 (right to data portability)"
)
#: Name of the document in a ZIP.
JSON_NAME = "patient.json"


@dataclass(frozen=True, slots=True)
class PatientExport:
    """What was written."""

    studies: int
    images: int
    results: int
    events: int
    #: Originals in the ZIP, and those that are on record but could not be copied.
    originals: int
    missing: int
    bytes: int

    def as_dict(self) -> dict[str, int]:
        """For a JSON document."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Whose data are wanted, into which file, and where objects without rows may lie."""

    patient_id: str
    issuer: str | None
    out: Path
    with_originals: bool
    rule: RecordRule
    spools: Mapping[str, Path]


def export_patient(settings: Settings, database: Database, request: ExportRequest, actor: Actor) -> PatientExport:
    """Write what is held of a person; the audit event is written in the transaction that reads it.

    Raises UsageError where nothing is held or the file exists, and OSError.
    """
    if request.out.exists():
        msg = f"{request.out} exists: name a new file, so that no other document is replaced"
        raise UsageError(msg)
    with database.reads() as session:
        person = people.find(session, request.patient_id, request.issuer)
    held = held_files(request.spools, person)
    document, keys = in_transaction(database.sessions, lambda session: _read(session, request, held, actor))
    originals = _Originals(settings, keys if request.with_originals else {})
    for row in document["tables"].get("image", []):
        row["exported_as"] = originals.name(row["store_key"])
    if request.with_originals:
        _write_zip(request.out, document, originals)
    else:
        write_whole(request.out, [_bytes(document)])
    tables = document["tables"]
    return PatientExport(
        studies=len(tables.get("study", [])),
        images=len(tables.get("image", [])),
        results=len(tables.get("result", [])),
        events=len(document["audit_events"]),
        originals=len(originals.names),
        missing=originals.missing,
        bytes=request.out.stat().st_size,
    )


def _read(
    session: Session, request: ExportRequest, held: Sequence[HeldFile], actor: Actor
) -> tuple[dict[str, Any], dict[str, int]]:
    """The document, and the number of each original that is held by its key in the store."""
    person = people.find(session, request.patient_id, request.issuer)
    files.lock_studies(session, person.study_ids)
    tables = people.rows_about(session, person)
    if not (tables.get("study") or tables.get("image") or held):
        msg = "nothing is held of this Patient ID"
        raise UsageError(msg)
    counts = {name: len(rows) for name, rows in tables.items()}
    detail = {"rows": counts, "quarantined_or_waiting": len(held), "with_originals": request.with_originals}
    record(session, Act.PATIENT_EXPORTED, actor, patient_key=person.key, detail=detail)
    now = files.clock(session)
    document = {
        "document": DOCUMENT,
        "version": VERSION,
        "notice": NOTICE,
        "law": LAW,
        "made_at": now,
        "made_by": f"auscult {version('auscult')}",
        "patient": _patient(person, tables),
        "kept": [
            {
                "study_uid": each.study_uid,
                "side": each.side,
                "floor": each.floor,
                "reasons": [hold.as_dict() for hold in each.holds],
            }
            for each in records.records(session, person.study_ids, request.rule, now)
        ],
        "recipients": people.recipients(session, person),
        "tables": tables,
        "columns": people.explained([name for name, rows in tables.items() if rows]),
        "quarantined_or_waiting": [each.as_dict() for each in held],
        "audit_events": people.events_about(session, person),
    }
    keys = [row["store_key"] for row in tables.get("image", []) if row["original_purged_at"] is None]
    return document, {key: number for number, key in enumerate(keys, start=1)}


def _patient(person: Person, tables: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    rows = [row for row in tables.get("study", []) if row["patient_id"] == person.patient_id]

    def values(column: str) -> list[Any]:
        return sorted({row[column] for row in rows if row[column]}, key=str)

    return {
        "patient_id": person.patient_id,
        "issuers_of_patient_id": [issuer for issuer in person.issuers if issuer],
        "names": values("patient_name"),
        "birth_dates": values("patient_birth_date"),
        "sexes": values("patient_sex"),
    }


class _Originals:
    """The originals that go into a ZIP, under numbers: no UID becomes a name."""

    def __init__(self, settings: Settings, keys: Mapping[str, int]) -> None:
        self._store = store_of(settings, known=True) if keys else None
        if self._store is not None:
            self._store.check()
        self.names = {key: f"originals/{number:06}.dcm" for key, number in keys.items() if self._exists(key)}
        self.missing = len(keys) - len(self.names)

    def _exists(self, key: str) -> bool:
        return self._store is not None and self._store.exists(key)

    def name(self, key: str) -> str | None:
        """The name of an original in the ZIP; None where it is not in it."""
        return self.names.get(key)

    def write(self, archive: zipfile.ZipFile) -> None:
        """Copy the originals into an archive; raises OSError where one has gone since."""
        for key, name in self.names.items():
            assert self._store is not None
            archive.write(self._store.path(key), name)


def _write_zip(out: Path, document: dict[str, Any], originals: _Originals) -> None:
    through = out.with_name(f".{out.name}.part")
    with (
        durable_file(out, through, create_locked) as descriptor,
        os.fdopen(os.dup(descriptor), "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive,
    ):
        archive.writestr(JSON_NAME, _bytes(document))
        originals.write(archive)


def _bytes(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    return text.encode("utf-8", "backslashreplace")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
