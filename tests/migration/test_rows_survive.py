"""Rows that a revision holds survive the upgrade to the next one, and the way back."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tests.support.migrations import ROWS_OF_0001, config, fill_0001, held, rows_of, with_rows
from worker.db.schema.migrate import migrate

pytestmark = pytest.mark.integration

REFUSAL_OF_0001 = (
    "INSERT INTO refusal (uid, at, kind, reason_code, calling_aet, called_aet, peer, study_uid, sop_uid) VALUES "
    "('u', '2026-01-01 00:00:00', 'association', 'CALLING_AE_NOT_ALLOWED', 'EVIL', 'AUSCULT', '10.0.0.1', '', '')"
)


def test_what_0001_held_survives_0002_there_back_and_there_again(engine):
    fill_0001(engine)
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0002")
        after = held(engine)
        spelt = [{**row, "state": row["state"].upper()} for row in before["model"]]
        assert after["model"] == spelt
        assert after["batch"] == [{**row, "kind": "RERUN"} for row in before["batch"]]
        assert after["study"] == [{**row, "band": None} for row in before["study"]]
        assert after["result"] == [{**row, "band": None, "unlikeness": None} for row in before["result"]]
        assert (after["image"], after["task"]) == (before["image"], before["task"])
        assert [(row["model_id"], row["event"], row["who"]) for row in rows_of(engine, "model_event")] == [
            (1, "ACTIVATED", "auscult migrate")
        ]
        assert [row["model_version"] for row in rows_of(engine, "worklist")] == ["2"]
        assert len(rows_of(engine, "result_history")) == 2
        _use_what_is_new(engine)
        with_rows(engine, command.downgrade, "0001")
        assert held(engine) == before
    migrate(engine)
    if engine.dialect.name == "sqlite":
        assert rows_of(engine, "pragma_foreign_key_check") == []


def test_what_0002_held_survives_0003_there_back_and_there_again(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in (*ROWS_OF_0001, REFUSAL_OF_0001):
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0002")
    before, refusals = held(engine), rows_of(engine, "refusal")
    for _ in range(2):
        with_rows(engine, command.upgrade, "0003")
        assert rows_of(engine, "refusal") == [{**row, "times": 1} for row in refusals]
        assert held(engine)["result"] == [{**row, "decoder": None} for row in before["result"]]
        assert [row["times"] for row in rows_of(engine, "refused")] == [1]
        assert [row["decoder"] for row in rows_of(engine, "result_history")] == [None, None]
        with_rows(engine, command.downgrade, "0002")
        assert (held(engine), rows_of(engine, "refusal")) == (before, refusals)


def test_what_0003_held_survives_0004_there_back_and_there_again_but_words_that_nobody_knows(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0003")
    before = held(engine)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE image SET modality = 'SMITH', body_part = 'SMITH JOHN', view_position = 'JOHN'")
        )
    facts = {"species": "", "derivation": "", "is_test_object": 0, "burned_in_annotation": 0, "polarity_in_doubt": 0}
    kept = {"modality": "OT", "body_part": "OTHER", "view_position": ""}
    for _ in range(2):
        with_rows(engine, command.upgrade, "0004")
        assert held(engine)["image"] == [{**row, **kept, **facts} for row in before["image"]]
        with engine.begin() as connection:
            connection.execute(text("UPDATE image SET species = 'ANIMAL', derivation = 'BONE', is_test_object = true"))
        with_rows(engine, command.downgrade, "0003")
        assert held(engine)["image"] == [{**row, **kept} for row in before["image"]]


NEW_OF_0005: dict[str, dict[str, object]] = {
    "study": {
        "side": 0,
        "issuer_of_patient_id": "",
        "columns_at_ms": 0,
        "quiet_ms": 30000,
        "max_wait_ms": 900000,
        "n_expected": None,
        "merged_into_id": None,
    },
    "image": {"patient_key": "", "issuer_of_patient_id": "", "pixel_sha256": ""},
}


def test_what_0004_held_survives_0005_there_back_and_there_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0004")
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0005")
        after = held(engine)
        for table, new in NEW_OF_0005.items():
            assert after[table] == [{**row, **new} for row in before[table]]
        assert [(row["image_id"], row["source"], row["last_key"]) for row in rows_of(engine, "receipt")] == [
            (1, "PACS", "key")
        ]
        assert rows_of(engine, "receipt")[0]["first_at_ms"] == 1767225600000
        with_rows(engine, command.downgrade, "0004")
        assert held(engine) == before


def test_a_film_that_the_release_before_moved_to_another_study_counts_in_both_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0004")
    columns = {table: list(held(engine)[table][0]) for table in ("study", "image")}
    with engine.begin() as connection:
        for table, changes in (
            ("study", {"id": 2, "study_uid": "'1.3'"}),
            ("image", {"id": 2, "study_id": 2, "sha256": "'other'"}),
        ):
            names = columns[table]
            values = ", ".join(str(changes.get(name, name)) for name in names)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}"))
            if table == "study":
                connection.execute(text("UPDATE image SET is_current = false"))
        connection.execute(text("UPDATE image SET is_current = true WHERE id = 2"))
    with_rows(engine, command.upgrade, "0005")
    assert [
        (row["study_id"], bool(row["is_current"]))
        for row in sorted(rows_of(engine, "image"), key=lambda row: row["id"])
    ] == [(1, True), (2, True)]
    assert [(row["held_study_id"], row["claim_study_id"], row["kind"]) for row in rows_of(engine, "conflict")] == [
        (1, 2, "SOP_INSTANCE")
    ]
    assert [(row["ai_status"], row["label"]) for row in rows_of(engine, "worklist")] == [("PROVISIONAL", None)] * 2


def test_a_withheld_study_and_another_patient_of_a_study_survive_the_way_back_from_0005(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0005")
    columns = "study_uid, patient_id, patient_name, patient_sex, accession_number, study_description, first_rx_at, "
    columns += "last_rx_at, revision_at, ready_at_ms, force_at_ms, revision, state, reason, flags, n_images, n_scored, priority"
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO study (id, {columns}, side, issuer_of_patient_id, columns_at_ms, quiet_ms, max_wait_ms) "
                "SELECT 2, study_uid, 'Q', patient_name, patient_sex, accession_number, study_description, first_rx_at, "
                "last_rx_at, revision_at, 1, 2, 1, 'WITHHELD', 'IDENTITY_CONFLICT', flags, 1, 1, 0, 1, '', 0, 1, 2 FROM study"
            )
        )
    with_rows(engine, command.downgrade, "0004")
    assert [(row["study_uid"], row["state"], row["label"]) for row in held(engine)["study"]] == [
        ("1.2", "FINAL", "PNEUMONIA"),
        ("1.2#2", "FAILED", None),
    ]


def test_a_suspended_model_survives_0007_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0006")
    events = rows_of(engine, "model_event")
    for _ in range(2):
        before = held(engine)
        with_rows(engine, command.upgrade, "0007")
        assert held(engine) == before
        assert rows_of(engine, "model_event") == [{**row, "detail": None} for row in events]
        assert [bool(row["is_in_doubt"]) for row in rows_of(engine, "result_history")] == [False, False]
        with engine.begin() as connection:
            for statement in ROWS_OF_0007:
                connection.execute(text(statement))
        assert sorted(bool(row["is_in_doubt"]) for row in rows_of(engine, "result_history")) == [False, True]
        with_rows(engine, command.downgrade, "0006")
        assert rows_of(engine, "model_event") == events
        (study,) = held(engine)["study"]
        kept = {"flags": '["AGE_UNKNOWN","VIEW_UNKNOWN"]', "state": "FAILED", "reason": "INTERNAL_ERROR"}
        assert {name: study[name] for name in kept} == kept


ROWS_OF_0007 = (
    "INSERT INTO suspension VALUES (1, 2, '2026-01-05 00:00:00', '2026-01-01 00:00:00', 'ada', 'w', NULL, NULL, 1, NULL, NULL)",
    "INSERT INTO model_event VALUES (9, 2, 'SUSPENDED', 'ada', 'wrong', '2026-01-05 00:00:00', '{}')",
    (
        "UPDATE study SET state = 'WITHHELD', label = NULL, probability = NULL, threshold = NULL, band = NULL, "
        """reason = 'MODEL_SUSPENDED', flags = '["AGE_UNKNOWN","MODEL_SUSPENDED","VIEW_UNKNOWN"]'"""
    ),
)


def test_what_0007_held_survives_0008_there_back_and_there_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0007")
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0008")
        assert held(engine) == before
        with engine.begin() as connection:
            connection.execute(text(EVENT_OF_0008))
        assert [(row["event_id"], row["patient_id"]) for row in rows_of(engine, "audit")] == [(1, "P")]
        with_rows(engine, command.downgrade, "0007")
        assert held(engine) == before


def test_what_0011_held_survives_0012_there_back_and_there_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0011")
    before, health = held(engine), rows_of(engine, "queue_health")
    for _ in range(2):
        with_rows(engine, command.upgrade, "0012")
        assert held(engine) == {**before, "task": [{**row, "interruptions": 0} for row in before["task"]]}
        (new,) = rows_of(engine, "queue_health")
        assert {**health[0], **new} == new
        assert (new["urgent_pending"], new["rerun_pending"], new["timed_out_24h"], new["interrupted"]) == (0, 0, 0, 0)
        with engine.begin() as connection:
            connection.execute(text("UPDATE task SET interruptions = 2"))
        with_rows(engine, command.downgrade, "0011")
        assert held(engine) == before


NOTE_OF_0009 = (
    "INSERT INTO rejection_note (image_id, title, effect, verdict, study_uid, patient_key, issuer_of_patient_id, source, "
    "peer, received_at, at_ms, until_ms) SELECT min(id), '113037', 'WITHDRAWS', 'APPLIED', '1.2', '', '', 'PACS', "
    "'10.0.0.1', '2026-01-01 00:00:00', 1, 2 FROM image"
)


def test_what_the_release_before_held_survives_0015_there_back_and_there_again(engine):
    before_objects = str(ScriptDirectory.from_config(config()).get_revision("0015").down_revision)
    fill_0001(engine)
    with_rows(engine, command.upgrade, before_objects)
    with engine.begin() as connection:
        connection.execute(text(EVENT_OF_0008))
        connection.execute(text(NOTE_OF_0009))
    before, notes = held(engine), rows_of(engine, "rejection_note")
    for _ in range(2):
        with_rows(engine, command.upgrade, "0015")
        assert held(engine) == before
        assert rows_of(engine, "audit_object") == []
        assert rows_of(engine, "rejection_note") == [{**row, "certificate": ""} for row in notes]
        assert [row["certificate"] for row in rows_of(engine, "withdrawals")] == [""]
        (named,) = rows_of(engine, "audit_objects")
        assert (named["act"], named["study_uid"], named["patient_id"]) == ("STUDY_RECEIVED", "1.2", "P")
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO audit_object (event_id, study_uid, side, patient_key) SELECT id, '9', 0, 'k' FROM audit_event"
                )
            )
        assert [row["study_uid"] for row in rows_of(engine, "audit_objects")] in (["1.2", "9"], ["9", "1.2"])
        with_rows(engine, command.downgrade, before_objects)
        assert (held(engine), rows_of(engine, "rejection_note")) == (before, notes)


def test_what_is_held_survives_0016_there_back_and_there_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, BEFORE_PRIORITIES)
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0016")
        assert held(engine) == {**before, "study": [{**row, "requested_priority": ""} for row in before["study"]]}
        with engine.begin() as connection:
            connection.execute(text("UPDATE study SET requested_priority = 'STAT'"))
        with_rows(engine, command.downgrade, BEFORE_PRIORITIES)
        assert held(engine) == before


def test_what_0016_held_survives_0017_and_is_read_in_the_same_order(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0016")
    columns = ", ".join(name for name in rows_of(engine, "study")[0] if name not in OTHER_STUDIES[0])
    with engine.begin() as connection:
        for changes in OTHER_STUDIES:
            names, values = ", ".join(changes), ", ".join(changes.values())
            connection.execute(
                text(f"INSERT INTO study ({names}, {columns}) SELECT {values}, {columns} FROM study WHERE id = 1")
            )
    before, views = held(engine), ("queue_health", "refused", "batch_progress", "health", "withdrawals")
    seen = {view: rows_of(engine, view) for view in views}
    order = _in_reading_order(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0017")
        (study, *_) = rows = held(engine)["study"]
        assert study["priority_rank"] == 10**14 + 10**13 + 1_767_225_600_000
        assert [{name: row[name] for name in row if name != "priority_rank"} for row in rows] == before["study"]
        assert _in_reading_order(engine) == order
        assert {view: _still(rows_of(engine, view)) for view in views} == {view: _still(seen[view]) for view in views}
        with engine.begin() as connection:
            connection.execute(text("UPDATE study SET state = 'FAILED', label = NULL, band = NULL WHERE id = 1"))
        assert _in_reading_order(engine)[-1] == "1.2", "the rank follows the row"
        with engine.begin() as connection:
            connection.execute(text("UPDATE study SET state = 'FINAL', label = 'PNEUMONIA' WHERE id = 1"))
        with_rows(engine, command.downgrade, "0016")
        assert held(engine) == before


#: Studies beside that of `ROWS_OF_0001`: by their key and what they differ in.
OTHER_STUDIES = tuple(
    {
        "id": number,
        "study_uid": f"'1.{number}'",
        "first_rx_at": f"'2025-12-{number} 00:00:00'",
        "band": band,
        "priority": "0",
    }
    for number, band in (("10", "NULL"), ("11", "'HIGH'"), ("12", "'HIGH'"))
)


def _in_reading_order(engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT study_uid FROM worklist ORDER BY priority_rank")).scalars())


def _still(rows) -> list[dict]:
    """Rows without what moves with the clock."""
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in rows]


def test_what_0012_held_survives_0013_there_back_and_there_again(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0012")
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0013")
        assert held(engine) == before
        with_rows(engine, command.downgrade, "0012")
        assert held(engine) == before


EVENT_OF_0008 = (
    "INSERT INTO audit_event (at, act, event_code, event_type_code, action, outcome, who, origin, study_uid, side, "
    "patient_key, sop_uid, detail) VALUES ('2026-01-01 00:00:00', 'STUDY_RECEIVED', '110104', '', 'C', 0, 'PACS', "
    "'10.0.0.1', '1.2', 0, '', '', '{}')"
)


def test_what_is_held_survives_0011_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, BEFORE_RETENTION)
    before = held(engine)
    new = {"original_purged_at": None, "film_purged_at": None}
    for _ in range(2):
        with_rows(engine, command.upgrade, RETENTION)
        assert held(engine)["image"] == [{**row, **new} for row in before["image"]]
        assert [(row["original"], row["film"], row["committed_until"]) for row in rows_of(engine, "retention")] == [
            ("HELD", "NONE", None)
        ]
        with engine.begin() as connection:
            for statement in ROWS_OF_0011:
                connection.execute(text(statement))
        assert [(row["original"], str(row["committed_until"])[:10]) for row in rows_of(engine, "retention")] == [
            ("PURGED", "2026-03-01")
        ]
        assert [(row["n_films"], row["files_left"]) for row in rows_of(engine, "purges")] == [(0, 1)]
        with_rows(engine, command.downgrade, BEFORE_RETENTION)
        assert held(engine) == before


def test_what_is_held_survives_0018_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0017")
    before = held(engine)
    device = dict.fromkeys(("manufacturer", "device_model", "station_name", "institution"), "")
    moments = dict.fromkeys(
        ("updated_at", "first_finished_at", "completed_at", "read_at", "reader_label", "verdict"), None
    )
    for _ in range(2):
        with_rows(engine, command.upgrade, "0018")
        after = held(engine)
        assert after["image"] == [{**row, **device} for row in before["image"]]
        assert after["study"] == [{**row, **moments, "change_id": 0} for row in before["study"]]
        (row,) = rows_of(engine, "worklist_v3")
        assert row["completed_at"] == row["first_finished_at"] == row["updated_at"] == row["finished_at"]
        assert (row["change_id"], row["previous_label"]) == (0, row["label"])
        assert rows_of(engine, "changes") == []
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO assessments (study_uid, reader, verdict) VALUES ('1.2', 'lee', 'AGREE')")
            )
        (row,) = rows_of(engine, "worklist_v3")
        assert row["verdict"] == "AGREE"
        assert row["first_finished_at"] == row["finished_at"], "an older row keeps the moment that it had"
        assert len(rows_of(engine, "changes")) == 1
        with_rows(engine, command.downgrade, "0017")
        assert held(engine) == before


def test_what_is_held_survives_0019_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0018")
    before = held(engine)
    for _ in range(2):
        (earlier,) = held(engine)["study"]
        with_rows(engine, command.upgrade, "0019")
        (study,) = held(engine)["study"]
        assert study["priority_rank"] == 1_767_225_600_000 + 3_600_000
        assert study["change_id"] == earlier["change_id"], "a new order is no change of the row"
        (row,) = rows_of(engine, "worklist")
        assert row["priority_reason"] == "PNEUMONIA: due 3600 s after it came"
        with engine.begin() as connection:
            connection.execute(text("UPDATE study SET band = 'HIGH'"))
        assert held(engine)["study"][0]["priority_rank"] == 1_767_225_600_000 + 900_000
        with engine.begin() as connection:
            connection.execute(text("UPDATE study SET band = NULL"))
        with_rows(engine, command.downgrade, "0018")
        kept = {"change_id", "updated_at", "first_finished_at", "completed_at"}
        assert [{k: v for k, v in row.items() if k not in kept} for row in held(engine)["study"]] == [
            {k: v for k, v in row.items() if k not in kept} for row in before["study"]
        ]


def test_what_is_held_survives_0022_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0021")
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0022")
        assert held(engine) == {
            **before,
            "task": [{**row, "claimed_at_ms": None} for row in before["task"]],
            "result": [{**row, "worker_process_id": None} for row in before["result"]],
            "model": [{**row, "litert_sha256": None} for row in before["model"]],
        }
        with engine.begin() as connection:
            connection.execute(text(PROCESS_OF_0022))
            connection.execute(text("UPDATE result SET worker_process_id = 1"))
            connection.execute(text("UPDATE task SET claimed_at_ms = 5"))
        with_rows(engine, command.downgrade, "0021")
        assert held(engine) == before


def test_digests_of_pixels_survive_0024_there_and_back(engine):
    fill_0001(engine)
    with_rows(engine, command.upgrade, "0023")
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE image SET pixel_sha256 = '{'a' * 64}'"))
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0024")
        assert held(engine) == before
        with_rows(engine, command.downgrade, "0023")
        assert held(engine) == before


PROCESS_OF_0022 = (
    "INSERT INTO worker_process (id, name, host, pid, auscult, python, libraries, began_at) "
    "VALUES (1, 'here:7:a', 'here', 7, '1', '3', '{}', '2026-02-01 00:00:00')"
)
RETENTION, BEFORE_RETENTION = "0011", "0010"
BEFORE_PRIORITIES = "0015"
ROWS_OF_0011 = (
    "UPDATE image SET original_purged_at = '2026-02-01 00:00:00'",
    (
        "INSERT INTO purge (id, kind, who, why, rules, started_at, running, lease_until_ms) "
        "VALUES (1, 'PIXELS', 'ada', '', '{}', '2026-02-01 00:00:00', 1, 5)"
    ),
    "INSERT INTO removal (id, purge_id, kind, key) VALUES (1, 1, 'ORIGINAL', 'key')",
    (
        "INSERT INTO commitment (id, image_id, requester, transaction_uid, at, until) "
        "VALUES (1, 1, 'CT', '1.9', '2026-01-01 00:00:00', '2026-03-01 00:00:00')"
    ),
)


def _use_what_is_new(engine) -> None:
    """Values that the revision before has no place for."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE result SET band = 'HIGH', unlikeness = 0.4"))
        connection.execute(text("UPDATE study SET band = 'HIGH'"))
        connection.execute(text("UPDATE model SET state = 'RETIRED' WHERE id = 2"))
