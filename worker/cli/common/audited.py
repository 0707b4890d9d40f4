"""Audit events of commands that show patients or hand data out; written before anything is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.database import readable_database
from worker.db.audit.codes import Act
from worker.db.audit.objects import name_batch, name_studies, patient_of
from worker.db.audit.record import Actor, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.database import Database
    from worker.settings import Settings


def audit_shown(
    database: Database, command: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool = False, as_csv: bool = False
) -> None:
    """Record that a command shows studies with their patients, or hands them out as a document.

    One event for all rows; of several it names each. `rows`: one for each study, with its `study_uid` and `side`; without
    any there is nothing to record.
    """
    if not rows:
        return
    detail = {"command": command, "studies": len(rows), "form": _form(as_json=as_json, as_csv=as_csv)}
    studies = _studies_in(rows)
    act = Act.STUDIES_EXPORTED if as_json or as_csv else Act.PATIENT_SHOWN if len(studies) == 1 else Act.WORKLIST_SHOWN
    _audit_studies(database, act, studies, detail)


def audit_report(database: Database, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record that a page about studies is written into a file; `rows`: those that it names, which may be none."""
    detail = {"command": "report", "studies": len(rows), "form": "html"}
    _audit_studies(database, Act.STUDIES_EXPORTED, _studies_in(rows), detail)


def _studies_in(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((str(row["study_uid"]), int(row["side"])) for row in rows))


def _audit_studies(database: Database, act: Act, studies: Sequence[tuple[str, int]], detail: Mapping[str, Any]) -> None:
    with database.sessions.begin() as session:
        if len(studies) == 1:
            ((study_uid, side),) = studies
            key = patient_of(session, study_uid, side)
            record(session, act, Actor.user(), study_uid=study_uid, side=side, patient_key=key, detail=detail)
        else:
            name_studies(session, record(session, act, Actor.user(), detail=detail), studies)


def audit_picture(database: Database, study_uid: str, sop_uid: str) -> None:
    """Record that a picture of a film is written."""
    with database.sessions.begin() as session:
        record(session, Act.PICTURE_EXPORTED, Actor.user(), study_uid=study_uid, sop_uid=sop_uid)


def audit_objects(database: Database, study: tuple[str, int], sop_uid: str, kinds: Sequence[str]) -> None:
    """Record that objects of a study's result are written into files; `sop_uid`: of the report."""
    study_uid, side = study
    with database.sessions.begin() as session:
        key = patient_of(session, study_uid, side)
        record(
            session,
            Act.RESULT_OBJECTS_EXPORTED,
            Actor.user(),
            study_uid=study_uid,
            side=side,
            patient_key=key,
            sop_uid=sop_uid,
            detail={"kinds": list(kinds)},
        )


def audit_bundle(settings: Settings, act: Act, label: str) -> None:
    """Record that a bundle came or is written out; before the first start there is no database, and nothing to record in."""
    with readable_database(settings) as database:
        if database is not None:
            audit_export(database, act, model=label)


def audit_export(database: Database, act: Act, **detail: object) -> None:
    """Record that a command hands data out that belong to no study."""
    with database.sessions.begin() as session:
        record(session, act, Actor.user(), detail=detail)


def audit_batch(database: Database, batch_id: int, study_uids: Sequence[str], **detail: object) -> None:
    """Record that a command hands out results of a batch, and of which of its studies."""
    with database.sessions.begin() as session:
        event_id = record(session, Act.RESULTS_EXPORTED, Actor.user(), detail={**detail, "batch": batch_id})
        name_batch(session, event_id, batch_id, study_uids)


def _form(*, as_json: bool, as_csv: bool) -> str:
    return "json" if as_json else "csv" if as_csv else "table"
