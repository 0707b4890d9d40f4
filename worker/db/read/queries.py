"""Rows for people and programs, from the public views, as plain dictionaries ready for JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import ScalarSelect, func, select

from worker.db.filing import disputes, note_decisions
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.read.naming import is_meant
from worker.db.read.worklist import plain
from worker.db.schema.sql import chunks
from worker.db.schema.states import OPEN_STATES, StudyState, TaskState
from worker.db.schema.study import Correction, Image, Result, Study, Task
from worker.db.schema.views import BATCH_PROGRESS, REFUSED, RESULT_HISTORY, WORKLIST, Row
from worker.db.tasks.queue import settle_studies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

_SETTLE_LIMIT = 500


def study_detail(session: Session, key: str) -> list[Row]:
    """The studies of this Study Instance UID, accession number or Patient ID, each with `results`, the newest first.

    A Patient ID that was merged into another one stands for that one.
    """
    named = select(WORKLIST).where(is_meant(session, WORKLIST.c, key))
    studies = plain(session.execute(named.order_by(WORKLIST.c.received_at, WORKLIST.c.side)).mappings())
    for study in studies:
        row = select(Study.id).where(Study.study_uid == study["study_uid"], Study.side == study["side"])
        study["results"] = _results(session, row.scalar_subquery())
        study["corrections"] = _corrections(session, row.scalar_subquery())
        study["conflicts"] = disputes.of_study(session, study["study_uid"], study["side"])
        study["withdrawals"] = note_decisions.withdrawals(session, study_uids=(study["study_uid"],))
    return studies


def _results(session: Session, study_id: ScalarSelect[int]) -> list[Row]:
    of_row = select(Result.id).join(Image, Image.id == Result.image_id).where(Image.study_id == study_id)
    # By their numbers and not by a subquery: the view joins so many tables that PostgreSQL would read each of its rows.
    ids = session.scalars(of_row.order_by(Result.id.desc())).all()
    withdrawn = set(session.scalars(of_row.where(is_withdrawn())))
    rows: list[Row] = []
    for some in chunks(ids):
        results = select(RESULT_HISTORY).where(RESULT_HISTORY.c.result_id.in_(some))
        rows += plain(session.execute(results.order_by(RESULT_HISTORY.c.result_id.desc())).mappings())
    return [_result(row) | {"is_withdrawn": row["result_id"] in withdrawn} for row in rows]


def _corrections(session: Session, study_id: ScalarSelect[int]) -> list[Row]:
    columns = (
        Correction.at,
        Correction.source,
        Correction.column_name,
        Correction.old_value,
        Correction.new_value,
        Image.sop_uid,
    )
    rows = select(*columns).outerjoin(Image, Image.id == Correction.image_id).where(Correction.study_id == study_id)
    return plain(session.execute(rows.order_by(Correction.id.desc())).mappings())


def _result(row: Row) -> Row:
    left_out = ("study_uid", "accession_number", "model_name", "model_version", "supersedes_result_id")
    kept = {name: value for name, value in row.items() if name not in left_out}
    return kept | {"model": _label(row), "supersedes_id": row["supersedes_result_id"]}


def refused(session: Session, *, limit: int | None = None, source: str | None = None) -> list[Row]:
    """What the listener (`door`) or the gate refused, the newest first."""
    statement = select(REFUSED).order_by(REFUSED.c.at.desc()).limit(limit)
    if source:
        statement = statement.where(REFUSED.c.source == source)
    return plain(session.execute(statement).mappings())


def batches(session: Session, limit: int) -> list[Row]:
    """The newest re-runs with their progress."""
    statement = select(BATCH_PROGRESS).order_by(BATCH_PROGRESS.c.batch_id.desc()).limit(limit)
    return [_batch(row) for row in plain(session.execute(statement).mappings())]


def batch(session: Session, batch_id: int) -> Row | None:
    """One re-run with its progress; None for an unknown number."""
    statement = select(BATCH_PROGRESS).where(BATCH_PROGRESS.c.batch_id == batch_id)
    found = plain(session.execute(statement).mappings())
    return _batch(found[0]) if found else None


def _batch(row: Row) -> Row:
    return {"batch_id": row["batch_id"], "model": _label(row)} | {
        name: value for name, value in row.items() if name not in ("model_name", "model_version")
    }


def _label(row: Row) -> str:
    return f"{row['model_name']}-{row['model_version']}"


def states_of(session: Session, study_uids: Sequence[str]) -> dict[str, StudyState]:
    """The state of each known study of these; of one with several patients that of an open row, if any."""
    states: dict[str, StudyState] = {}
    for some in chunks(study_uids):
        rows = session.execute(
            select(Study.study_uid, Study.state).where(Study.study_uid.in_(some), Study.merged_into_id.is_(None))
        ).all()
        states.update((uid, state) for uid, state in sorted(rows, key=lambda row: row[1].is_terminal, reverse=True))
    return states


def open_among(session: Session, task_ids: Sequence[int]) -> list[int]:
    """Those of these tasks that have not ended, in order."""
    still: list[int] = []
    for some in chunks(task_ids):
        rows = select(Task.id).where(Task.id.in_(some), Task.state.in_((TaskState.PENDING, TaskState.CLAIMED)))
        still.extend(session.execute(rows).scalars())
    return sorted(still)


def outcomes_of_tasks(session: Session, task_ids: Sequence[int]) -> list[Row]:
    """How these tasks ended: outcome, reason and how many, sorted."""
    counted: Counter[tuple[str, str | None]] = Counter()
    for some in chunks(task_ids):
        rows = session.execute(select(Result.outcome, Result.reason_code).where(Result.task_id.in_(some))).all()
        counted.update((outcome.value, reason) for outcome, reason in rows)
    ordered = sorted(counted.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [{"outcome": outcome, "reason": reason, "n": n} for (outcome, reason), n in ordered]


def open_studies(session: Session, study_ids: Sequence[int]) -> int:
    """How many of these studies are still open."""
    counts = (
        session.execute(
            select(func.count()).select_from(Study).where(Study.id.in_(some), Study.state.in_(OPEN_STATES))
        ).scalar_one()
        for some in chunks(study_ids)
    )
    return sum(counts)


def settle(session: Session) -> None:
    """Settle every study that is due, however many there are."""
    while settle_studies(session, _SETTLE_LIMIT):
        pass
