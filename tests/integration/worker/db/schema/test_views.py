"""The public views: their columns are a contract, and both databases show the same rows for the same history."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, date, datetime

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from benchmarks.sql.load import fill
from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from tests.support.database import BOTH, MOVING, any_film, fresh_site, refused, scored
from tests.support.plans import statements, what_is_read
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.filing.registry import add_refusals
from worker.db.read import figures, probes, queries, worklist
from worker.db.read.reading_order import Place
from worker.db.schema.migrate import ROLES
from worker.db.schema.views import VIEW_NAMES
from worker.errors import UsageError

pytestmark = pytest.mark.integration

CONTRACT = {
    **dict.fromkeys(
        ("worklist", "worklist_v3"),
        "study_uid accession_number patient_id study_date ai_status label probability threshold reason flags model_name "
        "model_version revision n_images n_scored received_at finished_at waiting_s priority_rank notice band side "
        "completeness n_expected finding finding_status n_failed last_received_at completed_at first_finished_at updated_at "
        "turnaround_s change_id requested_priority previous_label read_at reader_label verdict manufacturer device_model "
        "station_name institution calling_aet priority_reason",
    ),
    "worklist_names": "study_uid side accession_number patient_id issuer_of_patient_id patient_name patient_birth_date "
    "patient_sex study_date study_description",
    "changes": "change_id study_uid side changed_at is_shown",
    "films": "study_uid side accession_number series_uid sop_uid outcome reason label probability threshold band flags "
    "model_name model_version manufacturer device_model station_name institution calling_aet received_at judged_at result_id "
    "notice",
    "assessments": "assessment_id at study_uid side accession_number reader verdict label blinded airai_code is_latest "
    "revision answer_state answer_label probability threshold band model_name model_version manufacturer device_model "
    "station_name institution notice",
    "model_daily": "day source model_name model_version manufacturer device_model station_name calling_aet n_films n_judged "
    "n_positive positive_rate n_refused reasons probability_p10 probability_p50 probability_p90 mean_grey contrast dark_share "
    "bright_share sharpness unlikeness histograms counted_at notice",
    "agreement": "by_what model_name model_version day manufacturer device_model station_name band n n_agree share "
    "share_low share_high n_pneumonia_denied n_normal_denied notice",
    "health": "source probe level value sentence at age_s",
    "conflicts": "conflict_id kind opened_at closed_at resolution who why sop_uid held_study_uid held_side held_patient_id "
    "held_issuer_of_patient_id held_accession_number held_ai_status held_label held_probability claim_study_uid claim_side "
    "claim_patient_id claim_issuer_of_patient_id claim_accession_number claim_ai_status claim_label claim_probability "
    "claim_calling_aet notice note_id",
    "result_history": "result_id study_uid accession_number series_uid sop_uid image_sha256 image_is_current outcome "
    "reason flags label probability logit threshold model_name model_version engine film_sha256 film_version attempts "
    "batch_id batch_who batch_why is_current supersedes_result_id previous_result_id previous_outcome previous_label "
    "previous_probability previous_model_name previous_model_version decode_ms inference_ms created_at "
    "band unlikeness decoder is_in_doubt taken_from_result_id side manufacturer device_model station_name institution "
    "calling_aet",
    "refused": "source at kind reason study_uid sop_uid calling_aet called_aet peer times",
    "batch_progress": "batch_id who why selector model_name model_version keep_current created_at closed_at n_tasks "
    "n_done n_failed n_cancelled n_open kind state",
    "shadow_comparison": "batch_id study_uid sop_uid active_model_name active_model_version active_outcome active_reason "
    "active_label active_probability active_band active_unlikeness shadow_model_name shadow_model_version shadow_outcome "
    "shadow_reason shadow_label shadow_probability shadow_band shadow_unlikeness disagrees difference created_at notice",
    "retention": "study_uid side series_uid sop_uid image_sha256 image_is_current received_at original original_purged_at "
    "film film_purged_at committed_until",
    "purges": "purge_id kind who why rules started_at finished_at ended_how n_studies n_originals n_films n_records "
    "freed_bytes files_left",
    "deliveries": "delivery_id study_uid side destination kind number action state reason attempts next_try_s report_uid "
    "created_at delivered_at finished_at is_last",
    "withdrawals": "note_id note_sop_uid title effect state reason study_uid sop_uid side accession_number patient_id "
    "ai_status label source peer received_at accepted_by accepted_why revoked_at revoked_by revoked_why notice certificate",
    "corrections": "correction_id at study_uid side accession_number column_name old_value new_value source sop_uid "
    "merged_into_study_uid merged_into_side kind old_issuer new_issuer who why",
    "audit": "event_id at act event_code event_type_code action outcome who from_where study_uid side patient_id "
    "issuer_of_patient_id patient_key sop_uid detail",
    "audit_objects": "event_id at act who study_uid side patient_id issuer_of_patient_id patient_key",
    "queue_health": "live_pending batch_pending claimed live_oldest_s stale_leases live_workers silent_workers "
    "failed_24h open_studies failed_studies urgent_pending urgent_oldest_s rerun_pending rerun_oldest_s shadow_pending "
    "shadow_oldest_s timed_out_24h worker_lost_24h too_large_24h interrupted",
}
MOVES = MOVING | {"created_at", "closed_at", "live_oldest_s", "rerun_oldest_s", "shadow_oldest_s", "at"}


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def live_through(site) -> None:
    """A history with something of everything."""
    site.finish(
        site.receive("1.1", "1.1.1", accession_number="A1", patient_id="P1").task_id,
        scored(0.1, flags=(Reason.AGE_UNKNOWN,)),
    )
    site.finish(site.receive("1.2", "1.2.1", study_date=date(2026, 1, 2), content="old").task_id, scored(0.7))
    site.finish(site.receive("1.2", "1.2.1", study_date=date(2026, 1, 2), content="new").task_id, scored(0.8))
    site.finish(site.receive("1.3", "1.3.1").task_id, scored(0.9))
    site.finish(site.receive("1.4", "1.4.1").task_id, refused(Reason.LATERAL_VIEW))
    site.finish(site.receive("1.5", "1.5.1").task_id, refused(Reason.DECODE_FAILED))
    site.receive("1.6", "1.6.1", quiet_ms=600_000)
    site.finish(site.receive("1.6", "1.6.2", quiet_ms=600_000).task_id, scored(0.2))
    site.claimed(site.receive("1.7", "1.7.1").task_id)
    with site.sessions.begin() as session:
        at = "2026-01-01T10:00:00+00:00"
        record = RefusalRecord("a", at, RefusalKind.OBJECT, Reason.INVALID_SOP_UID, "PACS", "AUSCULT", "10.0.0.1")
        add_refusals(session, [record])
    model_id = site.add_model("2", threshold=0.6)
    with site.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=Selector(states=("FINAL",)),
            model_id=model_id,
            who="ada",
            why="newer",
            keep_current=False,
        )
        tasks = reruns.pending_ids(session, batch.batch_id, 10)
    site.finish(tasks[0], scored(0.65, 0.6))
    site.finish(tasks[1], refused(Reason.TIMED_OUT))
    site.settle()


def everything(site) -> dict[str, list[dict]]:
    """All rows of all views but for what depends on the moment."""
    with site.sessions() as session:
        found = {
            "worklist": worklist.worklist(session),
            "refused": queries.refused(session),
            "batch_progress": queries.batches(session, 10),
            "queue_health": [probes.queue_health(session)],
            "result_history": [
                result
                for study in worklist.worklist(session)
                for detail in queries.study_detail(session, study["study_uid"])
                for result in detail["results"]
            ],
        }
    return {
        view: [{name: value for name, value in row.items() if name not in MOVES} for row in rows]
        for view, rows in found.items()
    }


@pytest.mark.parametrize("view", sorted(CONTRACT))
def test_the_columns_of_a_view_are_its_contract(site, view):
    with site.engine.connect() as connection:
        assert list(connection.execute(text(f"SELECT * FROM {view}")).keys()) == CONTRACT[view].split()


def test_every_view_is_under_contract():
    assert set(VIEW_NAMES) == set(CONTRACT)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_one_history_reads_the_same_on_both_databases(site, request, tmp_path_factory):
    with contextmanager(fresh_site)(request, tmp_path_factory.mktemp("other"), "sqlite") as other:
        live_through(site)
        live_through(other)
        assert everything(site) == everything(other)


def test_the_worklist_reads_findings_first_then_what_was_not_judged_each_by_age(site):
    live_through(site)
    rows = site.worklist()
    assert [
        (row["priority_reason"], row["study_uid"], row["ai_status"], row["label"], row["probability"]) for row in rows
    ] == [
        ("PNEUMONIA: due 3600 s after it came", "1.1", "FINAL", "PNEUMONIA", 0.65),
        ("PNEUMONIA: due 3600 s after it came", "1.2", "FINAL", "PNEUMONIA", 0.8),
        ("PNEUMONIA: due 3600 s after it came", "1.3", "FINAL", "PNEUMONIA", 0.9),
        ("failed: due 10800 s after it came", "1.5", "FAILED", None, None),
        ("unfinished: due 14400 s after it came", "1.6", "PROVISIONAL", None, None),
        ("unfinished: due 14400 s after it came", "1.7", "QUEUED", None, None),
        ("not applicable: due 28800 s after it came", "1.4", "NOT_APPLICABLE", None, None),
    ]
    assert {row["notice"] for row in rows} == {"Not a medical device. Not for diagnosis."}
    assert all((row["waiting_s"] is None) == (row["finished_at"] is not None) for row in rows)


def test_urgent_studies_come_first_in_their_band_and_go_back_when_the_order_is_taken_back(site):
    for uid, word in (("1.1", ""), ("1.2", "STAT")):
        site.finish(site.receive(uid, f"{uid}.1", requested_priority=word, pixels=uid).task_id, scored(0.9))
    site.finish(site.receive("1.0", "1.0.1", requested_priority="STAT").task_id, scored(0.1))
    site.settle()
    assert [row["study_uid"] for row in site.worklist()] == ["1.2", "1.1", "1.0"]
    site.receive("1.2", "1.2.1", requested_priority="ROUTINE", pixels="1.2")
    assert [row["study_uid"] for row in site.worklist()] == ["1.1", "1.2", "1.0"]


def test_the_rank_of_a_study_is_the_moment_it_is_due_in_milliseconds(site):
    site.receive(received_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))
    assert site.entry()["priority_rank"] == 1_767_323_045_678 + 14_400_000
    site.change("UPDATE study SET priority = -1")
    assert site.entry()["priority_rank"] == 1_767_323_045_678 + 12_600_000
    site.change("INSERT INTO assessments (study_uid, reader) VALUES ('1.2.3', 'lee')")
    assert site.entry()["priority_rank"] == 10**14 + 1_767_323_045_678 + 12_600_000


def test_pages_of_the_worklist_are_the_whole_of_it(site):
    live_through(site)
    same = datetime(2026, 1, 2, tzinfo=UTC)
    for number in range(5):
        site.receive(f"1.9{number}", f"1.9{number}.1", received_at=same)
    whole = site.worklist()
    assert len({row["priority_rank"] for row in whole}) < len(whole), "some came in the same millisecond"
    pages, place = [], None
    with site.sessions() as session:
        while page := worklist.worklist(session, limit=2, after=place):
            pages += page
            place = Place.parse(str(Place.of(page[-1])))
    assert [row["study_uid"] for row in pages] == [row["study_uid"] for row in whole]


@pytest.mark.parametrize("text", ["", "1", "1/1.2", "x/1.2/0", "1/1.2/-1", "1//0", "9999999999999999999/1.2/0"])
def test_a_place_that_no_page_named_is_refused(text):
    with pytest.raises(UsageError, match="RANK/STUDY_UID/SIDE"):
        Place.parse(text)


#: A question to a view, and the index that answers it.
ANSWERED_BY = (
    ("SELECT * FROM worklist ORDER BY priority_rank LIMIT 50", "ix_study_reading_order"),
    ("SELECT * FROM worklist WHERE study_uid = '1.2' ORDER BY priority_rank", "uq_study_study_uid_side"),
    ("SELECT * FROM worklist WHERE accession_number = 'A'", "ix_study_accession_number"),
    ("SELECT count(*) FROM worklist WHERE received_at > '2026-01-01'", "ix_study_first_rx_at"),
    ("SELECT failed_24h FROM queue_health", "ix_result_not_ok"),
    ("SELECT failed_studies FROM queue_health", "ix_study_unanswered"),
    ("SELECT interrupted FROM queue_health", "ix_task_interrupted"),
    ("SELECT * FROM refused WHERE at > '2026-01-01'", "ix_refusal_at"),
    ("SELECT * FROM refused WHERE at > '2026-01-01'", "ix_result_not_ok"),
    ("SELECT n_done FROM batch_progress WHERE batch_id = 1", "ix_task_batch_id_state"),
)


def test_a_question_to_a_view_reads_the_rows_it_is_about(site):
    """Not all rows of a table: what is asked, and in which order, must reach the index."""
    live_through(site)
    copies_of_the_first_study(site, 3000)
    wrong = [(question, plan) for question, index in ANSWERED_BY if index not in (plan := plan_of(site, question))]
    assert wrong == []


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_page_of_one_label_or_state_is_read_in_order_and_not_sorted_after_analyze(site):
    fill(site.engine, 3000)
    with statements(site.engine) as seen, site.sessions() as session:
        worklist.worklist(session, limit=50, labels=["NORMAL"])
        worklist.worklist(session, limit=50, states=["FINAL"])
    pages = [one for one in seen if "FROM worklist" in one[0]]
    assert len(pages) == 2
    for statement, parameters in pages:
        assert "ix_study_reading_order" in "\n".join(what_is_read(site.engine, statement, parameters))


def test_the_newest_refusals_of_door_and_gate_are_merged_and_not_sorted(site):
    live_through(site)
    plan = plan_of(site, "SELECT * FROM refused ORDER BY at DESC LIMIT 50", off=("seqscan", "sort"))
    assert "Merge Append" in plan or "MERGE (UNION ALL)" in plan
    assert "ix_refusal_at" in plan
    assert "ix_result_not_ok" in plan
    assert "Sort\n" not in plan
    assert "TEMP B-TREE" not in plan


def plan_of(site, question: str, off: tuple[str, ...] = ("seqscan",)) -> str:
    """What the database reads for a query, in one text."""
    with site.engine.connect() as connection:
        if site.engine.dialect.name == "postgresql":
            # It reads small tables whole. What it is to show is whether it could do otherwise.
            for name in off:
                connection.execute(text(f"SET LOCAL enable_{name} = off"))
            plan = connection.execute(text(f"EXPLAIN (COSTS OFF) {question}")).scalars().all()
        else:
            plan = [row[-1] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {question}"))]
    return "\n".join(map(str, plan)).replace("sqlite_autoindex_study_1", "uq_study_study_uid_side")


def copies_of_the_first_study(site, number: int) -> None:
    """Add rows like the first one, with a Study Instance UID, accession number and moment of their own."""
    with site.engine.connect() as connection:
        names = list(connection.execute(text("SELECT * FROM study LIMIT 0")).keys())
    own = {"id": "1000 + i", "study_uid": "'9.' || i", "accession_number": "'B' || i"}
    is_sqlite = site.engine.dialect.name == "sqlite"
    moment = "'2025-01-01 00:00:00.000000'" if is_sqlite else "TIMESTAMPTZ '2025-01-01' + make_interval(secs => i)"
    own["first_rx_at"] = moment
    values = {name: own.get(name, f"study.{name}") for name in names if name != "priority_rank"}
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})"
    site.change(
        f"INSERT INTO study ({', '.join(values)}) {numbers} SELECT {', '.join(values.values())} FROM n, study "
        "WHERE study.id = 1"
    )
    if not is_sqlite:
        site.change("ANALYZE")


def test_counts_of_what_only_grows_end_at_ten_thousand(site):
    site.finish(site.receive("1.1", "1.1.1").task_id, refused(Reason.TIMED_OUT))
    site.settle()
    copies_of_the_first_study(site, 10_001)
    assert site.value("SELECT count(*) FROM worklist WHERE ai_status = 'FAILED'") == 10_002
    with site.sessions() as session:
        assert probes.queue_health(session)["failed_studies"] == figures.COUNTED == 10_000
        assert figures.work(session, 1000).failed_studies == figures.COUNTED


def test_no_row_of_the_worklist_is_normal_unless_it_is_final(site):
    live_through(site)
    assert all(row["ai_status"] == "FINAL" for row in site.worklist() if row["label"] == "NORMAL")


def test_the_views_name_no_patient(site):
    site.finish(
        site.receive(patient_name="MARKED", patient_birth_date=date(1901, 2, 3), study_description="MARKED").task_id,
        refused(Reason.NOT_CHEST),
    )
    shown = json.dumps(everything(site), default=str)
    assert "MARKED" not in shown
    assert "1901" not in shown


def test_why_a_label_flipped_is_one_query(site):
    live_through(site)
    (row,) = site.rows(
        "SELECT previous_label, previous_probability, previous_model_version, label, probability, model_version, "
        "batch_who, batch_why FROM result_history WHERE study_uid = '1.1' AND is_current"
    )
    assert row == {
        "previous_label": "NORMAL",
        "previous_probability": 0.1,
        "previous_model_version": "1",
        "label": "PNEUMONIA",
        "probability": 0.65,
        "model_version": "2",
        "batch_who": "ada",
        "batch_why": "newer",
    }


def test_refusals_of_door_and_gate_stand_side_by_side(site):
    live_through(site)
    with site.sessions() as session:
        rows = queries.refused(session)
        door = queries.refused(session, source="door")
    found = sorted((row["source"], row["reason"], row["sop_uid"]) for row in rows)
    assert found == [
        ("door", "INVALID_SOP_UID", ""),
        ("gate", "DECODE_FAILED", "1.5.1"),
        ("gate", "LATERAL_VIEW", "1.4.1"),
    ]
    assert [row["at"] for row in door] == [datetime(2026, 1, 1, 10, tzinfo=UTC)]


def test_door_and_gate_write_a_peers_address_alike(site):
    film = site.receive("1.2", "1.2.1", calling_aet="PACS", peer="dicom://10.0.0.1")
    site.finish(film.task_id, refused(Reason.NOT_CHEST))
    with site.sessions.begin() as session:
        record = RefusalRecord(
            "a", "2026-01-01T10:00:00+00:00", RefusalKind.OBJECT, Reason.INVALID_SOP_UID, "PACS", "", "10.0.0.1"
        )
        add_refusals(session, [record])
    with site.sessions() as session:
        assert [row["peer"] for row in queries.refused(session)] == ["10.0.0.1"] * 2


def test_a_refusal_tells_how_often_it_was_repeated(site):
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    often = RefusalRecord("b", at, RefusalKind.ASSOCIATION, Reason.CALLING_AE_NOT_ALLOWED, "EVIL", count=41)
    with site.sessions.begin() as session:
        add_refusals(session, [often])
    with site.sessions() as session:
        assert [row["times"] for row in queries.refused(session)] == [41]


def test_the_history_names_the_decoder_of_each_film(site):
    site.finish(site.receive("1.1", "1.1.1").task_id, scored(0.1, film=any_film(decoder="OpenJPEG")))
    assert [row["decoder"] for row in site.rows("SELECT decoder FROM result_history")] == ["OpenJPEG"]


def test_the_health_of_the_queue(site):
    live_through(site)
    site.change("UPDATE task SET lease_until_ms = 1 WHERE state = 'CLAIMED'")
    with site.sessions() as session:
        health = probes.queue_health(session)
    assert health.pop("live_oldest_s") >= 0
    assert health.pop("rerun_oldest_s") >= 0
    assert health == {
        "live_pending": 1,
        "batch_pending": 1,
        "claimed": 1,
        "stale_leases": 1,
        "live_workers": 0,
        "silent_workers": 0,
        "failed_24h": 1,
        "open_studies": 2,
        "failed_studies": 1,
        "urgent_pending": 0,
        "urgent_oldest_s": None,
        "rerun_pending": 1,
        "shadow_pending": 0,
        "shadow_oldest_s": None,
        "timed_out_24h": 1,
        "worker_lost_24h": 0,
        "too_large_24h": 0,
        "interrupted": 0,
    }


def test_a_study_is_found_by_its_uid_and_by_its_accession_number(site):
    live_through(site)
    with site.sessions() as session:
        by_uid = queries.study_detail(session, "1.1")
        by_accession = queries.study_detail(session, "A1")
        nothing = queries.study_detail(session, "A9")
    assert by_uid == by_accession
    assert nothing == []
    results = by_uid[0]["results"]
    assert [(row["model"], row["is_current"]) for row in results] == [("test-2", True), ("test-1", False)]
    assert results[0]["supersedes_id"] == results[1]["result_id"]
    assert results[1]["flags"] == ["AGE_UNKNOWN"]


def test_the_worklist_is_filtered_by_state_and_label(site):
    live_through(site)
    with site.sessions() as session:
        assert {row["study_uid"] for row in worklist.worklist(session, states=["FAILED", "QUEUED"])} == {"1.5", "1.7"}
        assert len(worklist.worklist(session, labels=["PNEUMONIA"], limit=2)) == 2
        with pytest.raises(UsageError, match="unknown StudyState: LOST"):
            worklist.worklist(session, states=["LOST"])


def test_small_questions_of_the_command_line(site):
    live_through(site)
    tasks = [row["id"] for row in site.rows("SELECT id FROM task ORDER BY id")]
    with site.sessions() as session:
        assert queries.states_of(session, ["1.1", "1.5", "9.9"]) == {"1.1": "FINAL", "1.5": "FAILED"}
        still = queries.open_among(session, [*tasks, 4711])
        outcomes = queries.outcomes_of_tasks(session, tasks)
    open_rows = site.rows("SELECT id FROM task WHERE state IN ('PENDING', 'CLAIMED') ORDER BY id")
    assert still == [row["id"] for row in open_rows]
    assert outcomes == [
        {"outcome": "BAD_INPUT", "reason": "DECODE_FAILED", "n": 1},
        {"outcome": "FAILED", "reason": "TIMED_OUT", "n": 1},
        {"outcome": "NOT_APPLICABLE", "reason": "LATERAL_VIEW", "n": 1},
        {"outcome": "OK", "reason": None, "n": 6},
    ]


@pytest.mark.parametrize("role", sorted(ROLES))
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_role_reads_its_views_no_other_view_and_no_table(site, role):
    live_through(site)
    tables = [row["tablename"] for row in site.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert "study" in tables
    with site.engine.connect() as connection:
        connection.execute(text(f"SET ROLE {role}"))
        connection.commit()
        for view in ROLES[role]:
            connection.execute(text(f"SELECT * FROM {view}")).all()
        connection.commit()
        for name in [*tables, *(view for view in VIEW_NAMES if view not in ROLES[role])]:
            with pytest.raises(ProgrammingError) as caught:
                connection.execute(text(f"SELECT * FROM {name}"))
            assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
            connection.rollback()
        connection.invalidate()


def test_every_view_is_granted_to_one_role():
    assert sorted(view for views in ROLES.values() for view in views) == sorted(VIEW_NAMES)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_every_table_and_column_has_a_comment(site):
    bare = site.rows(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum >= 0 AND NOT a.attisdropped "
        "AND c.relname <> 'alembic_version' AND col_description(c.oid, a.attnum) IS NULL"
    )
    assert bare == []
    assert site.value("SELECT obj_description('study'::regclass)") == "a study as received, and its answer"


def test_the_counts_of_a_study_are_those_of_its_images(site):
    live_through(site)
    counted = site.rows(
        "SELECT study.study_uid, count(image.id) AS n_images, count(result.id) AS n_scored FROM study "
        "LEFT JOIN image ON image.study_id = study.id AND image.is_current "
        "LEFT JOIN result ON result.image_id = image.id AND result.is_current AND result.outcome = 'OK' "
        "GROUP BY study.study_uid ORDER BY study.study_uid"
    )
    assert counted == site.rows("SELECT study_uid, n_images, n_scored FROM worklist ORDER BY study_uid")
