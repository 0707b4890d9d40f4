"""Registration: one study, no duplicates and nothing lost, in any order and from several registrars at once."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from tests.support.database import BOTH, facts_of, fresh_site, model_facts, refused, scored
from tests.support.processes import processes
from worker.db.filing.bulk import register_all
from worker.db.filing.registry import add_refusals, push_ready, release_studies
from worker.db.identity.arrivals import Received
from worker.db.models.bundles import upsert_model
from worker.db.schema.engine import in_transaction, make_engine, session_factory
from worker.db.schema.states import StudyState
from worker.errors import ModelMismatch

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def test_an_object_becomes_a_study_an_image_and_a_task(site):
    entry = site.receive(patient_id="P1", accession_number="A1", study_date=date(2026, 1, 2), quiet_ms=60_000)
    assert (entry.is_new_image, entry.is_duplicate, entry.revision) == (True, False, 1)
    row = site.entry()
    assert (row["ai_status"], row["label"], row["n_images"], row["n_scored"]) == ("RECEIVING", None, 1, 0)
    assert (row["patient_id"], row["accession_number"], row["study_date"]) == ("P1", "A1", date(2026, 1, 2))
    assert site.value("SELECT idem_key FROM task") == f"score:{entry.image_id}:{site.model_id}"


def test_the_same_bytes_again_are_counted_and_make_no_work(site):
    first = site.receive(content="same")
    again = site.receive(content="same")
    assert again.is_duplicate
    assert (again.image_id, again.task_id, again.revision) == (first.image_id, first.task_id, 1)
    assert site.rows("SELECT rx_count FROM image") == [{"rx_count": 2}]
    assert site.value("SELECT count(*) FROM task") == 1


def test_an_object_registered_again_after_a_crash_was_received_once(site):
    """The registrar died between its commit and the removal of the spool's entry: the entry comes back as it was."""
    first = site.receive(content="same", store_key="a")
    again = site.receive(content="same", store_key="a")
    assert (again.is_duplicate, again.store_key) == (True, "a")
    assert site.rows("SELECT rx_count, store_key FROM image") == [{"rx_count": 1, "store_key": "a"}]
    other = site.receive(content="same", store_key="b")
    assert (other.image_id, other.store_key) == (first.image_id, "a")
    assert site.rows("SELECT rx_count, store_key FROM image") == [{"rx_count": 2, "store_key": "a"}]


def test_the_same_bytes_again_leave_a_finished_study_alone(site):
    site.finish(site.receive(content="same").task_id, scored(0.1))
    before = site.entry()
    site.receive(content="same", quiet_ms=60_000)
    after = site.entry()
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"last_received_at", "updated_at", "change_id"}
    assert before["ai_status"] == "FINAL"


def test_other_bytes_of_one_sop_uid_are_both_kept_and_the_newest_counts(site):
    first = site.receive(content="old")
    site.finish(first.task_id, scored(0.9))
    second = site.receive(content="new", quiet_ms=60_000)
    assert second.revision == 2
    assert site.rows("SELECT id, is_current, revision FROM image ORDER BY id") == [
        {"id": first.image_id, "is_current": False, "revision": 1},
        {"id": second.image_id, "is_current": True, "revision": 2},
    ]
    row = site.entry()
    assert (row["ai_status"], row["revision"], row["n_images"], row["n_scored"]) == ("RECEIVING", 2, 1, 0)
    assert row["finished_at"] is None
    # Until the new bytes are judged the finding of the old ones stands, flagged.
    assert (row["label"], row["flags"]) == ("PNEUMONIA", ["CORRECTION_PENDING"])
    site.change("UPDATE study SET ready_at_ms = 0")
    site.finish(second.task_id, scored(0.1))
    row = site.entry()
    assert (row["label"], row["flags"]) == ("NORMAL", ["ANSWER_LOWERED"])


def test_other_bytes_begin_a_revision_even_while_the_study_is_received(site):
    site.receive(content="old", quiet_ms=60_000)
    assert site.receive(content="new", quiet_ms=60_000).revision == 2


def test_a_further_film_of_an_unfinished_study_is_part_of_the_same_revision(site):
    site.receive(sop="1.2.3.1", quiet_ms=60_000)
    assert site.receive(sop="1.2.3.2", quiet_ms=60_000).revision == 1


def test_a_late_film_takes_normal_back_until_it_is_judged(site):
    site.finish(site.receive(sop="1.2.3.1").task_id, scored(0.1))
    assert site.entry()["label"] == "NORMAL"
    late = site.receive(sop="1.2.3.2", quiet_ms=60_000)
    row = site.entry()
    assert (row["ai_status"], row["revision"], row["label"], row["probability"]) == ("RECEIVING", 2, None, None)
    site.finish(late.task_id, scored(0.2))
    assert site.entry()["ai_status"] == "PROVISIONAL"


def test_a_late_film_does_not_hide_an_earlier_finding(site):
    site.finish(site.receive(sop="1.2.3.1").task_id, scored(0.9))
    site.receive(sop="1.2.3.2", quiet_ms=60_000)
    row = site.entry()
    assert (row["ai_status"], row["label"], row["probability"], row["finished_at"]) == (
        "RECEIVING",
        "PNEUMONIA",
        0.9,
        None,
    )


def test_a_sop_uid_in_another_study_takes_nothing_away_from_the_first(site):
    """A device that repeats UIDs, or a stranger: both films are judged, and neither study says NORMAL in this doubt."""
    first = site.receive(study="1.2.3", sop="1.5", content="first patient", patient_id="P1")
    site.finish(first.task_id, scored(0.9))
    site.finish(site.receive(study="1.2.4", sop="1.5", content="other", patient_id="P2").task_id, scored(0.1))
    held, claim = site.entry("1.2.3"), site.entry("1.2.4")
    assert (held["ai_status"], held["label"], held["probability"], held["n_images"]) == ("FINAL", "PNEUMONIA", 0.9, 1)
    assert held["flags"] == ["IDENTITY_CONFLICT"]
    assert (claim["ai_status"], claim["label"], claim["reason"]) == ("WITHHELD", None, "IDENTITY_CONFLICT")
    (conflict,) = site.rows("SELECT * FROM conflicts")
    assert (conflict["kind"], conflict["sop_uid"], conflict["closed_at"]) == ("SOP_INSTANCE", "1.5", None)
    assert (conflict["held_patient_id"], conflict["claim_patient_id"]) == ("P1", "P2")


def test_every_object_pushes_the_quiet_time_up_to_the_longest_wait(site):
    site.receive(sop="1.2.3.1", quiet_ms=1_000)
    first = site.study()
    site.receive(sop="1.2.3.2", quiet_ms=60_000)
    second = site.study()
    assert second.ready_at_ms > first.ready_at_ms + 50_000
    assert second.force_at_ms == first.force_at_ms
    site.receive(sop="1.2.3.3", quiet_ms=10_000_000)
    assert site.study().ready_at_ms == first.force_at_ms


def test_an_open_association_keeps_its_study_waiting_and_no_other(site):
    site.receive(study="1.2.3", sop="1.3.1", quiet_ms=60_000)
    site.receive(study="1.2.4", sop="1.4.1")
    before = site.study("1.2.4").ready_at_ms
    with site.sessions.begin() as session:
        session.execute(
            text("UPDATE study SET ready_at_ms = ready_at_ms - 60000, state = 'QUEUED' WHERE study_uid = '1.2.3'")
        )
        push_ready(session, ["1.2.3", "1.9.9"])
    assert site.study("1.2.3").ready_at_ms >= before + 50_000
    assert (site.entry("1.2.3")["ai_status"], site.entry("1.2.4")["ai_status"]) == ("RECEIVING", "QUEUED")


def test_a_released_study_is_complete_at_once(site):
    entry = site.receive(quiet_ms=600_000)
    with site.sessions.begin() as session:
        release_studies(session, [entry.study_id])
    site.finish(entry.task_id, scored(0.1))
    assert site.entry()["ai_status"] == "FINAL"


def test_a_finished_study_is_not_reopened_by_an_open_association(site):
    site.finish(site.receive().task_id, scored(0.1))
    ready_at_ms = site.study().ready_at_ms
    with site.sessions.begin() as session:
        push_ready(session, ["1.2.3"])
    assert site.study().ready_at_ms == ready_at_ms


def test_columns_follow_the_newest_object_which_blanks_nothing_and_fills_blanks(site):
    site.receive(sop="1.1", patient_id="", accession_number="A1", patient_name="N^N")
    site.receive(sop="1.2", patient_id="P1", accession_number="A2", patient_name="")
    study = site.study()
    assert (study.patient_id, study.accession_number, study.patient_name) == ("P1", "A2", "N^N")
    assert site.rows("SELECT column_name, old_value, new_value FROM correction") == [
        {"column_name": "accession_number", "old_value": "A1", "new_value": "A2"}
    ]


def test_texts_longer_than_their_column_are_cut_and_not_refused(site):
    site.receive(patient_name="N" * 5000, patient_id="I" * 5000, body_part="CHEST " * 100)
    assert len(site.study().patient_name) == 512


def test_the_time_of_receipt_may_lie_in_the_past_and_come_in_any_order(site):
    moments = [datetime(2026, 3, day, tzinfo=UTC) for day in (2, 1, 3)]
    for number, moment in enumerate(moments):
        with site.sessions.begin() as session:
            register_all(
                session,
                [
                    Received(
                        facts=facts_of(sop=f"1.{number}"),
                        sha256=str(number) * 64,
                        store_key=str(number),
                        quiet_ms=0,
                        max_wait_ms=1000,
                        received_at=moment,
                    )
                ],
            )
    study = site.study()
    assert (study.first_rx_at, study.last_rx_at) == (min(moments), max(moments))


def test_a_time_without_a_zone_is_refused(site):
    with pytest.raises(StatementError, match="without a zone"), site.sessions.begin() as session:
        register_all(
            session,
            [
                Received(
                    facts=facts_of(),
                    sha256="0" * 64,
                    store_key="0",
                    quiet_ms=0,
                    max_wait_ms=0,
                    received_at=datetime(2026, 1, 1),  # noqa: DTZ001 - the point of the test
                )
            ],
        )


def test_times_come_back_in_utc(site):
    east = datetime(2026, 1, 1, 12, tzinfo=UTC).astimezone(tz=None)
    with site.sessions.begin() as session:
        add_refusals(session, [_refusal("a", at=(east + timedelta(hours=1)).isoformat())])
    stored = site.rows("SELECT at FROM refusal")[0]["at"]
    assert "13:00:00" in str(stored if isinstance(stored, str) else stored.astimezone(UTC))


def _arrive(url: str, objects: list[tuple[str, str]]) -> list[tuple[int, int, bool]]:
    """Register objects on connections of one's own, as one registrar among several does."""
    engine = make_engine(url)
    sessions = session_factory(engine)
    found = []
    for sop, content in objects:
        facts = facts_of(sop=sop)

        def work(session, facts=facts, content=content):
            return register_all(
                session,
                [Received(facts=facts, sha256=content * 64, store_key=uuid.uuid4().hex, quiet_ms=0, max_wait_ms=1000)],
            )[0]

        entry = in_transaction(sessions, work)
        found.append((entry.study_id, entry.image_id, entry.is_duplicate))
    engine.dispose()
    return found


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_four_registrars_of_one_study_make_one_study_and_lose_nothing(site, kind):
    objects = [(f"1.2.3.{number}", str(number)) for number in range(8)]
    orders = [random.sample(objects, len(objects)) for _ in range(4)]
    if kind == "threads":
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(_arrive, [site.url] * 4, orders))
    else:
        with processes(4) as pool:
            found = pool.starmap(_arrive, [(site.url, order) for order in orders])
    assert len({study for registrar in found for study, _, _ in registrar}) == 1
    assert sum(not is_duplicate for registrar in found for *_, is_duplicate in registrar) == len(objects)
    assert site.rows("SELECT sop_uid, rx_count FROM image ORDER BY sop_uid") == [
        {"sop_uid": sop, "rx_count": 4} for sop, _ in objects
    ]
    assert site.value("SELECT count(*) FROM study") == 1
    assert site.value("SELECT count(*) FROM task") == len(objects)
    assert site.study().revision == 1


def test_versions_of_one_sop_uid_from_several_registrars_are_all_kept_and_one_counts(site):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_arrive, [site.url] * 4, [[("1.2.3.1", content)] for content in "abcd"]))
    assert site.value("SELECT count(*) FROM image") == 4
    assert site.value("SELECT count(*) FROM image WHERE is_current") == 1
    assert site.study().revision == 4


def _arrive_in(url: str, study: str, content: str) -> None:
    engine = make_engine(url)
    facts = facts_of(study, "1.5")
    in_transaction(
        session_factory(engine),
        lambda session: register_all(
            session, [Received(facts=facts, sha256=content * 64, store_key=content, quiet_ms=0, max_wait_ms=1000)]
        )[0],
    )
    engine.dispose()


def test_one_sop_uid_in_several_studies_at_once_is_in_conflict_in_each(site):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_arrive_in, [site.url] * 4, [f"1.2.{number}" for number in range(4)], "abcd"))
    assert site.value("SELECT count(*) FROM study") == 4
    assert site.value("SELECT count(*) FROM image WHERE is_current") == 4
    assert site.value("SELECT count(*) FROM conflict WHERE kind = 'SOP_INSTANCE'") == 6
    assert [row["n_images"] for row in site.worklist()] == [1, 1, 1, 1]
    assert all("IDENTITY_CONFLICT" in row["flags"] for row in site.worklist())


def _refusal(uid: str, at: str = "2026-01-01T00:00:00+00:00") -> RefusalRecord:
    return RefusalRecord(
        uid, at, RefusalKind.ASSOCIATION, Reason.CALLING_AE_NOT_ALLOWED, calling_aet="EVIL", peer="10.0.0.1"
    )


def test_a_refusal_read_twice_is_written_once(site):
    for uids in (["a", "b"], ["b", "c"], []):
        with site.sessions.begin() as session:
            add_refusals(session, [_refusal(uid) for uid in uids])
    assert [row["uid"] for row in site.rows("SELECT uid FROM refusal ORDER BY uid")] == ["a", "b", "c"]


def test_a_bundle_is_known_once(site):
    assert site.add_model("1") == site.model_id
    assert site.value("SELECT count(*) FROM model") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "0" * 64},
        {"litert_sha256": "0" * 64},
        {"digest": "0" * 64},
        {"threshold": 0.6},
        {"max_age_years": 18},
    ],
)
def test_other_contents_under_a_known_name_are_refused(site, change):
    named = rf"test-1 differs .*{next(iter(change))}.* another version"
    with pytest.raises(ModelMismatch, match=named), site.sessions.begin() as session:
        upsert_model(session, model_facts("1", **change))


def test_a_model_of_the_schema_before_gets_the_digest_of_its_litert_file_when_it_is_opened(site):
    site.change("UPDATE model SET litert_sha256 = NULL")
    assert site.add_model("1") == site.model_id
    assert site.value("SELECT litert_sha256 FROM model") == model_facts("1").litert_sha256


def test_rows_print_no_patient_data(site):
    site.receive(patient_name="MARKED^NAME", patient_id="MARKED", accession_number="MARKED", study_description="MARKED")
    study = site.study()
    assert study.patient_name == "MARKED^NAME"
    assert repr(study) == f"<Study {study.id}>"
    assert study.state is StudyState.QUEUED
    image = site.rows("SELECT * FROM image")[0]
    task = site.rows("SELECT * FROM task")[0]
    assert "MARKED" not in f"{image}{task}"
    claim = site.claimed(task["id"])
    assert "MARKED" not in repr(claim)


def test_a_study_without_films_is_not_applicable(site):
    site.finish(site.receive(modality="SR").task_id, refused(Reason.NOT_A_RADIOGRAPH))
    row = site.entry()
    assert (row["ai_status"], row["reason"], row["label"]) == ("NOT_APPLICABLE", "NOT_A_RADIOGRAPH", None)
