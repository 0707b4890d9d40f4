"""The public views: their columns, and their texts, which are files under migrations/views, one for both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Double, Integer, MetaData, String, Table

from worker.db.schema.types import NOW_MS, CodeList, UtcDateTime

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

#: A row of a view, by column.
Row = dict[str, Any]

# In other metadata than the tables, or Alembic would take the views for missing tables.
_views = MetaData()


def _view(name: str, **columns: TypeEngine[Any]) -> Table:
    return Table(name, _views, *(Column(column, kind) for column, kind in columns.items()))


WORKLIST = _view(
    "worklist",
    study_uid=String(),
    accession_number=String(),
    patient_id=String(),
    study_date=Date(),
    ai_status=String(),
    label=String(),
    probability=Double(),
    threshold=Double(),
    reason=String(),
    flags=CodeList(),
    model_name=String(),
    model_version=String(),
    revision=Integer(),
    n_images=Integer(),
    n_scored=Integer(),
    received_at=UtcDateTime(),
    finished_at=UtcDateTime(),
    waiting_s=BigInteger(),
    priority_rank=BigInteger(),
    notice=String(),
    band=String(),
    side=Integer(),
    completeness=String(),
    n_expected=Integer(),
)
HEALTH = _view(
    "health",
    source=String(),
    probe=String(),
    level=String(),
    value=Double(),
    sentence=String(),
    at=UtcDateTime(),
    age_s=BigInteger(),
)
CONFLICTS = _view(
    "conflicts",
    conflict_id=BigInteger(),
    kind=String(),
    opened_at=UtcDateTime(),
    closed_at=UtcDateTime(),
    resolution=String(),
    who=String(),
    why=String(),
    sop_uid=String(),
    held_study_uid=String(),
    held_side=Integer(),
    held_patient_id=String(),
    held_issuer_of_patient_id=String(),
    held_accession_number=String(),
    held_ai_status=String(),
    held_label=String(),
    held_probability=Double(),
    claim_study_uid=String(),
    claim_side=Integer(),
    claim_patient_id=String(),
    claim_issuer_of_patient_id=String(),
    claim_accession_number=String(),
    claim_ai_status=String(),
    claim_label=String(),
    claim_probability=Double(),
    claim_calling_aet=String(),
    notice=String(),
    note_id=BigInteger(),
)
WITHDRAWALS = _view(
    "withdrawals",
    note_id=BigInteger(),
    note_sop_uid=String(),
    title=String(),
    effect=String(),
    state=String(),
    reason=String(),
    study_uid=String(),
    sop_uid=String(),
    side=Integer(),
    accession_number=String(),
    patient_id=String(),
    ai_status=String(),
    label=String(),
    source=String(),
    peer=String(),
    received_at=UtcDateTime(),
    accepted_by=String(),
    accepted_why=String(),
    revoked_at=UtcDateTime(),
    revoked_by=String(),
    revoked_why=String(),
    notice=String(),
    certificate=String(),
)
CORRECTIONS = _view(
    "corrections",
    correction_id=BigInteger(),
    at=UtcDateTime(),
    study_uid=String(),
    side=Integer(),
    accession_number=String(),
    column_name=String(),
    old_value=String(),
    new_value=String(),
    source=String(),
    sop_uid=String(),
    merged_into_study_uid=String(),
    merged_into_side=Integer(),
    kind=String(),
    old_issuer=String(),
    new_issuer=String(),
    who=String(),
    why=String(),
)
RESULT_HISTORY = _view(
    "result_history",
    result_id=BigInteger(),
    study_uid=String(),
    accession_number=String(),
    series_uid=String(),
    sop_uid=String(),
    image_sha256=String(),
    image_is_current=Boolean(),
    outcome=String(),
    reason=String(),
    flags=CodeList(),
    label=String(),
    probability=Double(),
    logit=Double(),
    threshold=Double(),
    model_name=String(),
    model_version=String(),
    engine=String(),
    film_sha256=String(),
    film_version=Integer(),
    attempts=Integer(),
    batch_id=BigInteger(),
    batch_who=String(),
    batch_why=String(),
    is_current=Boolean(),
    supersedes_result_id=BigInteger(),
    previous_result_id=BigInteger(),
    previous_outcome=String(),
    previous_label=String(),
    previous_probability=Double(),
    previous_model_name=String(),
    previous_model_version=String(),
    decode_ms=Double(),
    inference_ms=Double(),
    created_at=UtcDateTime(),
    band=String(),
    unlikeness=Double(),
    decoder=String(),
    is_in_doubt=Boolean(),
    taken_from_result_id=BigInteger(),
)
REFUSED = _view(
    "refused",
    source=String(),
    at=UtcDateTime(),
    kind=String(),
    reason=String(),
    study_uid=String(),
    sop_uid=String(),
    calling_aet=String(),
    called_aet=String(),
    peer=String(),
    times=BigInteger(),
)
BATCH_PROGRESS = _view(
    "batch_progress",
    batch_id=BigInteger(),
    who=String(),
    why=String(),
    selector=String(),
    model_name=String(),
    model_version=String(),
    keep_current=Boolean(),
    created_at=UtcDateTime(),
    closed_at=UtcDateTime(),
    n_tasks=Integer(),
    n_done=Integer(),
    n_failed=Integer(),
    n_cancelled=Integer(),
    n_open=Integer(),
    kind=String(),
)
QUEUE_HEALTH = _view(
    "queue_health",
    live_pending=BigInteger(),
    batch_pending=BigInteger(),
    claimed=BigInteger(),
    live_oldest_s=BigInteger(),
    stale_leases=BigInteger(),
    live_workers=BigInteger(),
    silent_workers=BigInteger(),
    failed_24h=BigInteger(),
    open_studies=BigInteger(),
    failed_studies=BigInteger(),
    urgent_pending=BigInteger(),
    urgent_oldest_s=BigInteger(),
    rerun_pending=BigInteger(),
    rerun_oldest_s=BigInteger(),
    shadow_pending=BigInteger(),
    shadow_oldest_s=BigInteger(),
    timed_out_24h=BigInteger(),
    worker_lost_24h=BigInteger(),
    too_large_24h=BigInteger(),
    interrupted=BigInteger(),
)
SHADOW_COMPARISON = _view(
    "shadow_comparison",
    batch_id=BigInteger(),
    study_uid=String(),
    sop_uid=String(),
    active_model_name=String(),
    active_model_version=String(),
    active_outcome=String(),
    active_reason=String(),
    active_label=String(),
    active_probability=Double(),
    active_band=String(),
    active_unlikeness=Double(),
    shadow_model_name=String(),
    shadow_model_version=String(),
    shadow_outcome=String(),
    shadow_reason=String(),
    shadow_label=String(),
    shadow_probability=Double(),
    shadow_band=String(),
    shadow_unlikeness=Double(),
    disagrees=Boolean(),
    difference=Double(),
    created_at=UtcDateTime(),
    notice=String(),
)
RETENTION = _view(
    "retention",
    study_uid=String(),
    side=Integer(),
    series_uid=String(),
    sop_uid=String(),
    image_sha256=String(),
    image_is_current=Boolean(),
    received_at=UtcDateTime(),
    original=String(),
    original_purged_at=UtcDateTime(),
    film=String(),
    film_purged_at=UtcDateTime(),
    committed_until=UtcDateTime(),
)
PURGES = _view(
    "purges",
    purge_id=BigInteger(),
    kind=String(),
    who=String(),
    why=String(),
    rules=String(),
    started_at=UtcDateTime(),
    finished_at=UtcDateTime(),
    ended_how=String(),
    n_studies=Integer(),
    n_originals=Integer(),
    n_films=Integer(),
    n_records=Integer(),
    freed_bytes=BigInteger(),
    files_left=BigInteger(),
)

AUDIT = _view(
    "audit",
    event_id=BigInteger(),
    at=UtcDateTime(),
    act=String(),
    event_code=String(),
    event_type_code=String(),
    action=String(),
    outcome=Integer(),
    who=String(),
    from_where=String(),
    study_uid=String(),
    side=Integer(),
    patient_id=String(),
    issuer_of_patient_id=String(),
    patient_key=String(),
    sop_uid=String(),
    detail=String(),
)
AUDIT_OBJECTS = _view(
    "audit_objects",
    event_id=BigInteger(),
    at=UtcDateTime(),
    act=String(),
    who=String(),
    study_uid=String(),
    side=Integer(),
    patient_id=String(),
    issuer_of_patient_id=String(),
    patient_key=String(),
)

#: Every public view; `worker.db.schema.migrate.ROLES` says which role may read which.
VIEW_NAMES = tuple(sorted(_views.tables))


#: The time at which the statement began, unlike that of `types.NOW_MS`: PostgreSQL neither plans a view together with
#: the query around it nor uses an index where a clock could move on from row to row.
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "'now'"}
_NOW_MS = {
    "postgresql": "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS BIGINT)",
    "sqlite": NOW_MS["sqlite"],
}
_DAY_AGO = {
    "postgresql": "statement_timestamp() - INTERVAL '24 hours'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 day')",
}


def seconds_since(moment: str, dialect: str) -> str:
    """SQL for the whole seconds from a stored moment until now."""
    if dialect == "sqlite":
        return f"CAST((julianday({_NOW[dialect]}) - julianday({moment})) * 86400 AS INTEGER)"
    return f"CAST(floor(extract(epoch FROM {_NOW[dialect]} - {moment})) AS BIGINT)"


def render(text: str, dialect: str) -> str:
    """Replace the placeholders of a view's text: {now_ms}, {day_ago}, {seconds_since NAME}."""
    text = text.replace("{now_ms}", _NOW_MS[dialect]).replace("{day_ago}", _DAY_AGO[dialect])
    while "{seconds_since " in text:
        before, _, rest = text.partition("{seconds_since ")
        moment, _, after = rest.partition("}")
        text = before + seconds_since(moment, dialect) + after
    return text


def create_view(connection: Connection, folder: Path, name: str, version: int) -> None:
    """Create one view in one version from its file."""
    text = (folder / f"{name}_{version}.sql").read_text(encoding="utf-8")
    connection.exec_driver_sql(render(text, connection.dialect.name))


def drop_view(connection: Connection, name: str) -> None:
    """Drop one view, as both databases require before a table it reads is changed."""
    connection.exec_driver_sql(f"DROP VIEW {name}")
