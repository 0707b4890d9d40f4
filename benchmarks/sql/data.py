"""A site with as many studies as are asked for, made by the database itself.

5,000 studies a day, one film each, up to now. Whatever the size, the newest 400 are open: 200 wait to be judged and 200 to
be settled. Of the others 1 % failed, 1 % are withheld, 8 % were refused by the gate and 15 % are PNEUMONIA.
"""

from __future__ import annotations

PER_DAY = 5_000
OPEN = 400
_TO_SETTLE = 200

#: What differs between the databases: numbers from 1 to :studies, a moment some seconds ago, digests, and the clock in ms.
_WORDS = {
    "postgresql": {
        "numbers": "generate_series(1, :studies) AS n(i)",
        "ago": "now() - make_interval(secs => {seconds})",
        "digest": "encode(sha256(CAST(({text}) AS bytea)), 'hex')",
        "clock": "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)",
    },
    "sqlite": {
        "numbers": "(WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :studies) SELECT i FROM c) AS n",
        "ago": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || ({seconds}) || ' seconds')",
        "digest": "printf('%064d', {text})",
        "clock": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    },
}
_UID = "'1.2.826.0.1.3680043.8.498.1010101010.' || i"
_STATE = (
    f"CASE WHEN i > :studies - {_TO_SETTLE} THEN 'PROVISIONAL' WHEN i > :studies - {OPEN} THEN 'QUEUED' "
    "WHEN i % 100 = 0 THEN 'FAILED' WHEN i % 100 = 1 THEN 'WITHHELD' WHEN i % 100 < 10 THEN 'NOT_APPLICABLE' "
    "ELSE 'FINAL' END"
)
_IS_FINAL = f"(i <= :studies - {OPEN} AND i % 100 >= 10)"
_IS_JUDGED = f"(i > :studies - {_TO_SETTLE} OR i % 100 = 1 OR i % 100 >= 10)"
_IS_WAITING = f"(i > :studies - {OPEN} AND i <= :studies - {_TO_SETTLE})"
_PROBABILITY = "CASE WHEN i % 100 BETWEEN 10 AND 24 THEN 0.9 ELSE 0.1 END"
_LABEL = "CASE WHEN i % 100 BETWEEN 10 AND 24 THEN 'PNEUMONIA' ELSE 'NORMAL' END"
_BAND = (
    "CASE WHEN i % 100 BETWEEN 10 AND 12 THEN 'HIGH' WHEN i % 100 BETWEEN 13 AND 24 THEN 'INTERMEDIATE' ELSE 'LOW' END"
)
_OUTCOME = f"CASE WHEN {_IS_JUDGED} THEN 'OK' WHEN i % 100 = 0 THEN 'FAILED' ELSE 'NOT_APPLICABLE' END"
_REASON = f"CASE WHEN {_IS_JUDGED} THEN NULL WHEN i % 100 = 0 THEN 'TIMED_OUT' ELSE 'LATERAL_VIEW' END"

_STUDY = {
    "id": "i",
    "study_uid": _UID,
    "patient_id": "'P' || i",
    "patient_name": "'NAME^' || i",
    "patient_sex": "'F'",
    "accession_number": "'A' || i",
    "study_description": "'CHEST'",
    "first_rx_at": "{ago}",
    "last_rx_at": "{ago}",
    "revision_at": "{ago}",
    "ready_at_ms": "{clock} - 1000",
    "force_at_ms": "{clock}",
    "revision": "1",
    "state": _STATE,
    "label": f"CASE WHEN {_IS_FINAL} THEN {_LABEL} END",
    "probability": f"CASE WHEN {_IS_FINAL} THEN {_PROBABILITY} END",
    "threshold": f"CASE WHEN {_IS_FINAL} THEN 0.5 END",
    "reason": f"CASE WHEN i > :studies - {OPEN} OR i % 100 >= 10 THEN NULL WHEN i % 100 = 0 THEN 'TIMED_OUT' "
    "WHEN i % 100 = 1 THEN 'IDENTITY_CONFLICT' ELSE 'LATERAL_VIEW' END",
    "flags": "'[]'",
    "model_id": f"CASE WHEN {_IS_FINAL} THEN 1 END",
    "n_images": "1",
    "n_scored": f"CASE WHEN {_IS_JUDGED} THEN 1 ELSE 0 END",
    "finished_at": f"CASE WHEN i <= :studies - {OPEN} THEN {{ago}} END",
    "priority": "CASE WHEN i % 50 = 12 THEN -1 ELSE 0 END",
    "band": f"CASE WHEN {_IS_FINAL} THEN {_BAND} END",
    "side": "0",
    "issuer_of_patient_id": "''",
    "columns_at_ms": "{clock}",
    "quiet_ms": "5000",
    "max_wait_ms": "900000",
    # As the trigger would, which is off: it would change the one row of the clock for each study.
    "change_id": "i",
    "updated_at": "{ago}",
    "first_finished_at": f"CASE WHEN i <= :studies - {OPEN} THEN {{ago}} END",
    "completed_at": f"CASE WHEN i <= :studies - {OPEN} THEN {{ago}} END",
}
_IMAGE = {
    "id": "i",
    "study_id": "i",
    "series_uid": _UID + " || '.1'",
    "sop_uid": _UID + " || '.1.1'",
    "sop_class_uid": "'1.2.840.10008.5.1.4.1.1.1.1'",
    "transfer_syntax_uid": "'1.2.840.10008.1.2.1'",
    "sha256": "{digest}",
    "modality": "'DX'",
    "body_part": "'CHEST'",
    "view_position": "'AP'",
    "rows": "2500",
    "columns": "2048",
    "presentation_intent": "'FOR PRESENTATION'",
    "number_of_frames": "1",
    "has_pixel_data": "true",
    "revision": "1",
    "calling_aet": "'PACS'",
    "peer": "'dicom://10.0.0.1'",
    "store_key": "{digest}",
    "rx_count": "1",
    "is_current": "true",
    "received_at": "{ago}",
    "species": "''",
    "derivation": "''",
    "is_test_object": "false",
    "burned_in_annotation": "false",
    "polarity_in_doubt": "false",
    # The digest of the study's Patient ID: a film that names another patient would be a conflict.
    "patient_key": "''",
    "issuer_of_patient_id": "''",
    "pixel_sha256": "{digest}",
    "film_header_sha256": "{digest}",
}
_TASK = {
    "id": "i",
    "kind": "'SCORE'",
    "image_id": "i",
    "model_id": "1",
    "revision": "1",
    "idem_key": r"'score\:' || i || '\:1'",
    "state": f"CASE WHEN {_IS_WAITING} THEN 'PENDING' WHEN {_IS_JUDGED} OR i % 100 > 0 THEN 'DONE' ELSE 'FAILED' END",
    "priority": "CASE WHEN i % 50 = 12 THEN -1 ELSE 0 END",
    "attempts": f"CASE WHEN {_IS_WAITING} THEN 0 ELSE 1 END",
    "not_before_ms": "0",
    "lease_token": f"CASE WHEN {_IS_WAITING} THEN 0 ELSE 1 END",
    "hint_count": "0",
    "created_at": "{ago}",
    "finished_at": f"CASE WHEN {_IS_WAITING} THEN NULL ELSE {{ago}} END",
    "interruptions": "0",
}
_RESULT = {
    "id": "i",
    "task_id": "i",
    "image_id": "i",
    "model_id": "1",
    "outcome": _OUTCOME,
    "reason_code": _REASON,
    "flags": "'[]'",
    "probability": f"CASE WHEN {_IS_JUDGED} THEN {_PROBABILITY} END",
    "logit": f"CASE WHEN {_IS_JUDGED} THEN 1.0 END",
    "threshold": f"CASE WHEN {_IS_JUDGED} THEN 0.5 END",
    "label": f"CASE WHEN {_IS_JUDGED} THEN {_LABEL} END",
    "film_version": "1",
    "decode_ms": "20.0",
    "inference_ms": "5.0",
    "engine": "'litert'",
    "is_current": "true",
    "created_at": "{ago}",
    "band": f"CASE WHEN {_IS_JUDGED} THEN {_BAND} END",
}
_RECEIPT = {
    "image_id": "i",
    "source": "'PACS'",
    "first_at_ms": "{clock} - 86400000",
    "last_at_ms": "{clock} - 86400000",
    "last_key": "{digest}",
}
_AUDIT = {
    "at": "{ago}",
    "act": "'STUDY_RECEIVED'",
    "event_code": "'110104'",
    "event_type_code": "''",
    "action": "'C'",
    "outcome": "0",
    "who": "'PACS'",
    "origin": "'10.0.0.1'",
    "study_uid": _UID,
    "side": "0",
    "patient_key": "{digest}",
    "sop_uid": "''",
    "detail": "'{{}}'",
}
_REFUSAL = {
    "uid": "'r' || i",
    "at": "{ago}",
    "kind": "'object'",
    "reason_code": "'INVALID_SOP_UID'",
    "calling_aet": "'PACS'",
    "called_aet": "'AUSCULT'",
    "peer": "'10.0.0.1'",
    "study_uid": "''",
    "sop_uid": "''",
    "times": "1",
}
_CORRECTION = {
    "study_id": "i",
    "at": "{ago}",
    "source": "'PACS'",
    "column_name": "'patient_name'",
    "old_value": "'NAME^OLD'",
    "new_value": "'NAME^NEW'",
}
_CONFLICT = {
    "kind": "'SOP_INSTANCE'",
    "held_study_id": "i",
    "claim_study_id": "i - 1",
    "sop_uid": _UID + " || '.1.1'",
    "opened_at": "{ago}",
    "closed_at": "{ago}",
    "resolution": "'HELD'",
    "who": "'ada'",
    "why": "'seen'",
}
#: Tables with their columns and which numbers have a row; those that take longest first.
TABLES = (
    ("study", _STUDY, "true"),
    ("image", _IMAGE, "true"),
    ("task", _TASK, "true"),
    ("result", _RESULT, f"NOT {_IS_WAITING}"),
    ("receipt", _RECEIPT, "true"),
    ("audit_event", _AUDIT, "true"),
    ("refusal", _REFUSAL, "i % 50 = 0"),
    ("correction", _CORRECTION, "i % 100 = 0"),
    ("conflict", _CONFLICT, "i % 1000 = 0"),
)


def statement(dialect: str, table: str) -> str:
    """SQL that adds the rows of a table; its parameter is `studies`."""
    columns, which = next((columns, which) for name, columns, which in TABLES if name == table)
    values = ", ".join(_filled(value, dialect) for value in columns.values())
    source = _WORDS[dialect]["numbers"]
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source} WHERE {which} ORDER BY i"


def _filled(value: str, dialect: str) -> str:
    words = _WORDS[dialect]
    seconds = f"(:studies - i) * {86_400 / PER_DAY}"
    digest = words["digest"].format(text="'film' || i" if dialect == "postgresql" else "i")
    return value.format(ago=words["ago"].format(seconds=seconds), digest=digest, clock=words["clock"])
