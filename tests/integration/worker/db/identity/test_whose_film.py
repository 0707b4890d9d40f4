"""Corrections and conflicts in SQL: whose film it is, what an answer says meanwhile, and how each conflict ends."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, facts_of, fresh_site, refused, scored
from worker.cli.show import RESULT_COLUMNS, show_studies
from worker.db.answers import inboxes
from worker.db.filing import disputes
from worker.db.filing.bulk import register_all
from worker.db.filing.registry import restore_original
from worker.db.identity.arrivals import Received
from worker.db.read import queries
from worker.db.schema.engine import in_transaction, make_engine, session_factory
from worker.db.schema.states import ConflictEnd
from worker.errors import UsageError

pytestmark = pytest.mark.integration

ILL, WELL = 0.9, 0.1


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, "sqlite")


def take(site, patient: str, probability: float, sop: str = "1.1", **others: Any) -> Any:
    """Receive a film and judge it; its pixels follow from its probability unless they are given."""
    sent = {"pixels": f"{probability}", "content": f"{patient} {probability} {sop}", "source": "PACS", **others}
    entry = site.receive(sop=sop, patient_id=patient, **sent)
    if not entry.is_duplicate:
        site.finish(entry.task_id, scored(probability))
    return entry


def says(site, side: int = 0, study: str = "1.2.3") -> tuple[Any, ...]:
    """Patient, status, label and flags of a row."""
    site.settle()
    (row,) = [item for item in site.worklist([study]) if item["side"] == side]
    return row["patient_id"], row["ai_status"], row["label"], tuple(row["flags"])


def ended(site) -> list[str | None]:
    return [row["resolution"] for row in site.rows("SELECT resolution FROM conflict ORDER BY id")]


def resolve(site, end: ConflictEnd, number: int = 1) -> None:
    with site.sessions.begin() as session:
        disputes.resolve(session, number, end, who="me", why="asked the ward")


CONFLICT = ("IDENTITY_CONFLICT",)


def test_a_corrected_patient_reaches_the_worklist_with_an_event_that_keeps_both(site):
    take(site, "OLD", ILL, accession_number="A1")
    take(site, "NEW", ILL, accession_number="A2", source="ARCHIVE")
    assert says(site) == ("NEW", "FINAL", "PNEUMONIA", ())
    assert site.rows("SELECT column_name, old_value, new_value, source FROM correction ORDER BY column_name") == [
        {"column_name": "accession_number", "old_value": "A1", "new_value": "A2", "source": "ARCHIVE"},
        {"column_name": "patient_id", "old_value": "OLD", "new_value": "NEW", "source": "ARCHIVE"},
    ]
    assert ended(site) == []


def test_one_result_of_a_corrected_film_is_shown_as_the_current_one(site, capsys):
    take(site, "OLD", WELL, content="as sent first")
    take(site, "NEW", WELL)
    site.settle()
    with site.sessions() as session:
        show_studies(queries.study_detail(session, "NEW"))
    shown = capsys.readouterr().out
    assert RESULT_COLUMNS["is_current"] in shown
    assert (shown.count("True"), shown.count("False")) == (3, 2), (
        "the other False is is_in_doubt of the one that counts"
    )


def test_a_value_that_was_wrong_and_is_blank_now_is_blank_in_the_row(site):
    take(site, "P", WELL, accession_number="WRONG")
    take(site, "P", WELL, accession_number="", content="corrected")
    assert site.study().accession_number == ""
    assert site.value("SELECT old_value FROM correction") == "WRONG"


def test_a_stale_retry_by_another_source_undoes_no_correction_and_the_corrector_itself_may(site):
    take(site, "OLD", ILL, source="MODALITY")
    take(site, "NEW", ILL, source="ARCHIVE")
    take(site, "OLD", ILL, source="MODALITY")
    assert says(site)[0] == "NEW"
    take(site, "OLD", ILL, source="ARCHIVE")
    assert says(site)[0] == "OLD"


def test_a_version_sent_again_by_its_source_counts_again(site):
    for content, probability in (("v1", ILL), ("v2", WELL), ("v1", ILL)):
        take(site, "P", probability, content=content)
    assert says(site) == ("P", "FINAL", "PNEUMONIA", ())
    assert site.study().revision == 3


def test_films_of_two_patients_under_one_study_uid_are_two_rows(site):
    take(site, "A", WELL, sop="1.1")
    assert says(site) == ("A", "FINAL", "NORMAL", ())
    take(site, "B", ILL, sop="1.2")
    assert says(site) == ("A", "WITHHELD", None, CONFLICT)
    assert says(site, 1) == ("B", "FINAL", "PNEUMONIA", CONFLICT)


@pytest.mark.parametrize(("issuer", "rows"), [("", 1), ("X", 1), ("Y", 2)])
def test_the_issuer_of_a_patient_id_tells_equal_ids_apart(site, issuer, rows):
    take(site, "7", WELL, sop="1.1", issuer_of_patient_id="X")
    take(site, "7", WELL, sop="1.2", issuer_of_patient_id=issuer)
    assert len(site.worklist()) == rows
    assert site.study().issuer_of_patient_id == "X"


def test_a_study_corrected_film_by_film_is_in_doubt_until_the_last_and_one_row_then(site):
    take(site, "OLD", WELL, sop="1.1")
    take(site, "OLD", ILL, sop="1.2")
    take(site, "NEW", WELL, sop="1.1")
    assert [row["label"] for row in site.worklist()] == ["PNEUMONIA", None]
    assert [row["flags"] for row in site.worklist()] == [[*CONFLICT]] * 2
    take(site, "NEW", ILL, sop="1.2")
    assert says(site) == ("NEW", "FINAL", "PNEUMONIA", ())
    assert len(site.worklist()) == 1
    assert ended(site) == ["SAME"]
    assert site.study().n_images == 2


def test_a_film_that_turns_out_to_be_another_patients_lowers_the_answer_it_leaves_visibly(site):
    take(site, "A", WELL, sop="1.1")
    take(site, "A", ILL, sop="1.2")
    take(site, "B", ILL, sop="1.2")
    assert says(site) == ("A", "WITHHELD", None, ("ANSWER_LOWERED", "IDENTITY_CONFLICT"))
    assert says(site, 1) == ("B", "FINAL", "PNEUMONIA", CONFLICT)
    resolve(site, ConflictEnd.BOTH)
    assert says(site) == ("A", "FINAL", "NORMAL", ("ANSWER_LOWERED",))


def test_other_pixels_under_a_known_uid_need_the_same_patient(site):
    take(site, "A", ILL)
    take(site, "B", WELL)
    take(site, "", WELL, content="nobody", pixels="nobody")
    assert says(site) == ("A", "FINAL", "PNEUMONIA", CONFLICT)
    assert [row["label"] for row in site.worklist() if row["side"]] == [None, None]


def test_a_new_film_without_a_patient_id_contradicts_nobody(site):
    take(site, "", WELL, sop="1.1")
    take(site, "A", WELL, sop="1.2")
    take(site, "", WELL, sop="1.3")
    assert says(site) == ("A", "FINAL", "NORMAL", ())


def test_a_film_that_fails_after_its_correction_leaves_the_finding_before_flagged(site):
    take(site, "P", ILL, content="v1")
    again = site.receive(sop="1.1", patient_id="P", content="v2", pixels="v2", source="PACS")
    site.finish(again.task_id, refused(Reason.WORKER_LOST))
    assert says(site) == ("P", "FINAL", "PNEUMONIA", ("CORRECTION_PENDING",))


def test_the_sender_that_contradicted_takes_it_back_by_sending_what_was_there_first(site):
    take(site, "A", WELL, study="1.2.3", source="PACS")
    take(site, "B", WELL, study="1.2.4", source="OTHER", content="b")
    take(site, "A", WELL, study="1.2.3", source="PACS")
    assert ended(site) == [None]
    take(site, "A", WELL, study="1.2.3", source="OTHER")
    assert ended(site) == ["WITHDRAWN"]
    assert says(site) == ("A", "FINAL", "NORMAL", ())
    # A film that somebody took is not normal because its UID belongs to another one.
    assert says(site, study="1.2.4") == ("B", "WITHHELD", None, CONFLICT)
    take(site, "B", WELL, study="1.2.4", source="OTHER", content="b")
    assert ended(site) == [None]
    assert says(site)[1] == "WITHHELD"


@pytest.mark.parametrize(
    ("end", "held", "claim"),
    [
        (ConflictEnd.HELD, ("A", "FINAL", "NORMAL", ()), ("B", "NOT_APPLICABLE", None, ("ANSWER_LOWERED",))),
        (ConflictEnd.CLAIM, ("A", "NOT_APPLICABLE", None, ()), ("B", "FINAL", "PNEUMONIA", ())),
        (ConflictEnd.BOTH, ("A", "FINAL", "NORMAL", ()), ("B", "FINAL", "PNEUMONIA", ())),
    ],
)
def test_a_conflict_is_decided_by_command_and_the_same_bytes_do_not_undo_it(site, end, held, claim):
    take(site, "A", WELL, study="1.2.3")
    take(site, "B", ILL, study="1.2.4", source="OTHER")
    resolve(site, end)
    for _ in range(2):
        assert (says(site), says(site, study="1.2.4")) == (held, claim)
        take(site, "A", WELL, study="1.2.3")
        take(site, "B", ILL, study="1.2.4", source="OTHER")
    assert ended(site) == [end]
    take(site, "B", ILL, study="1.2.4", source="OTHER", content="never seen")
    assert ended(site) == ([end] if end is ConflictEnd.CLAIM else [end, None])


def test_a_decision_is_changed_by_another_one_and_what_counted_counts_again(site):
    take(site, "A", WELL, sop="1.1")
    take(site, "B", ILL, sop="1.2")
    resolve(site, ConflictEnd.HELD)
    assert says(site, 1)[1] == "NOT_APPLICABLE"
    resolve(site, ConflictEnd.BOTH)
    assert says(site, 1) == ("B", "FINAL", "PNEUMONIA", ())
    assert "before: HELD by me" in site.value("SELECT why FROM conflict")


def test_two_ids_of_one_patient_become_one_row(site):
    take(site, "A", WELL, sop="1.1")
    take(site, "B", ILL, sop="1.2")
    resolve(site, ConflictEnd.SAME)
    assert len(site.worklist()) == 1
    assert says(site) == ("A", "FINAL", "PNEUMONIA", ())
    with pytest.raises(UsageError, match="is over"):
        resolve(site, ConflictEnd.HELD)


@pytest.mark.parametrize("first", [ConflictEnd.HELD, ConflictEnd.CLAIM, ConflictEnd.BOTH])
def test_one_patient_after_all_has_every_film_of_both(site, first):
    take(site, "A", WELL, sop="1.1")
    take(site, "B", ILL, sop="1.2")
    resolve(site, first)
    resolve(site, ConflictEnd.SAME)
    assert says(site) == ("A", "FINAL", "PNEUMONIA", ())
    assert site.value("SELECT count(*) FROM image WHERE is_current") == 2


@pytest.mark.parametrize("end", [ConflictEnd.SAME, ConflictEnd.BOTH])
def test_a_later_decision_about_the_same_two_patients_takes_the_earlier_one_back(site, end):
    take(site, "A", WELL, sop="1.1")
    take(site, "B", ILL, sop="1.2")
    resolve(site, ConflictEnd.HELD)
    take(site, "B", WELL, sop="1.3")
    resolve(site, end, 2)
    assert "PNEUMONIA" in {row["label"] for row in site.worklist()}
    assert site.value("SELECT count(*) FROM image WHERE is_current") == 3


@pytest.mark.parametrize(
    "senders",
    [
        [("A", "", ILL), ("", "", ILL), ("", "", WELL)],
        [("1", "A", ILL), ("1", "", ILL), ("1", "B", WELL)],
    ],
    ids=["no Patient ID", "no issuer"],
)
def test_an_object_of_nobody_is_no_bridge_to_other_pixels(site, senders):
    for number, (patient, issuer, probability) in enumerate(senders):
        take(site, patient, probability, content=f"version {number}", issuer_of_patient_id=issuer)
    site.settle()
    assert "PNEUMONIA" in {row["label"] for row in site.worklist()}


def test_same_is_not_said_of_two_studies(site):
    take(site, "A", WELL, study="1.2.3")
    take(site, "B", WELL, study="1.2.4")
    with pytest.raises(UsageError, match="two patients under one"):
        resolve(site, ConflictEnd.SAME)
    with pytest.raises(UsageError, match="no conflict 9"):
        resolve(site, ConflictEnd.HELD, 9)


def test_a_result_that_comes_after_its_film_went_to_another_row_counts_there(site):
    take(site, "OLD", WELL, sop="1.1")
    late = site.receive(sop="1.2", patient_id="OLD", pixels="2", content="v1")
    claim = site.claimed(late.task_id)
    moved = site.receive(sop="1.2", patient_id="NEW", pixels="2", content="v2")
    site.finish(moved.task_id, scored(WELL))

    assert site.ended(claim, scored(ILL))
    assert site.value(f"SELECT study_id FROM image WHERE id = {late.image_id}") == moved.study_id
    assert moved.study_id != late.study_id


def test_an_image_that_lacked_its_original_is_judged_again_when_it_comes_again(site):
    entry = site.receive(content="same")
    site.finish(entry.task_id, refused(Reason.ORIGINAL_MISSING))
    again = site.receive(content="same", store_key="k" * 32)
    assert again.lacked_original
    with site.sessions.begin() as session:
        task_id = restore_original(session, entry.image_id, "k" * 32, "k" * 32)
    with site.sessions.begin() as session:
        assert restore_original(session, entry.image_id, "k" * 32, "k" * 32) == task_id
    site.finish(task_id, scored(ILL))
    assert says(site)[2] == "PNEUMONIA"


def _arrive(url: str, patient: str) -> None:
    engine = make_engine(url)
    digest = hashlib.sha256(patient.encode()).hexdigest()
    in_transaction(
        session_factory(engine),
        lambda session: register_all(
            session,
            [
                Received(
                    facts=facts_of(sop=f"1.{patient}", patient_id=patient),
                    sha256=digest,
                    store_key=digest[:32],
                    quiet_ms=0,
                    max_wait_ms=1000,
                )
            ],
        )[0],
    )
    engine.dispose()


@pytest.mark.parametrize("every_site", BOTH, indirect=True)
def test_patients_that_arrive_at_once_under_one_study_uid_have_a_row_each(every_site):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_arrive, [every_site.url] * 4, "1234"))
    rows = every_site.worklist()
    assert sorted(row["patient_id"] for row in rows) == ["1", "2", "3", "4"]
    assert all("IDENTITY_CONFLICT" in row["flags"] for row in rows)


@pytest.fixture
def every_site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def test_a_third_patient_of_a_study_contradicts_each_of_the_others(site) -> None:
    site.finish(site.receive("1.1", "1.1.1", patient_id="ANN").task_id, scored(0.1))
    site.finish(site.receive("1.1", "1.1.2", patient_id="BEN").task_id, scored(0.1))
    with site.sessions.begin() as session:
        disputes.resolve(session, 1, ConflictEnd.BOTH, who="ada", why="two children")
    site.finish(site.receive("1.1", "1.1.3", patient_id="CAT").task_id, scored(0.9))
    site.settle()
    assert [(row["patient_id"], row["ai_status"]) for row in sorted(site.worklist(), key=lambda row: row["side"])] == [
        ("ANN", "WITHHELD"),
        ("BEN", "WITHHELD"),
        ("CAT", "FINAL"),
    ]


def test_a_decision_does_not_bring_back_what_another_decision_took_out(site) -> None:
    site.finish(site.receive("1.1", "1.9", patient_id="ANN").task_id, scored(0.1))
    site.finish(site.receive("1.1", "1.1.2", patient_id="ANN").task_id, scored(0.1))
    site.finish(site.receive("1.2", "1.9", patient_id="ANN").task_id, scored(0.9))
    with site.sessions.begin() as session:
        disputes.resolve(session, 1, ConflictEnd.CLAIM, who="ada", why="it is of 1.2")
    site.finish(site.receive("1.1", "1.1.3", patient_id="BEN").task_id, scored(0.1))
    with site.sessions.begin() as session:
        disputes.resolve(session, 2, ConflictEnd.CLAIM, who="ada", why="BEN")
        disputes.resolve(session, 2, ConflictEnd.BOTH, who="ada", why="two children")
    counting = site.rows("SELECT sop_uid FROM image WHERE is_current AND study_id = 1")
    assert counting == [{"sop_uid": "1.1.2"}]


def test_a_version_registered_late_does_not_shorten_the_wait(site) -> None:
    with site.sessions.begin() as session:
        now = inboxes.clock(session)
    sent = {"patient_id": "1", "source": "PACS", "quiet_ms": 30_000}
    site.receive("1.1", "1.1.1", content="a", arrived_ms=now - 20_000, **sent)
    site.receive("1.1", "1.1.2", content="b", arrived_ms=now, **sent)
    site.receive("1.1", "1.1.1", content="a2", arrived_ms=now - 15_000, **sent)
    assert site.study("1.1").ready_at_ms == now + 30_000


def test_the_view_of_corrections_tells_old_and_new_values_in_the_order_they_came(site):
    take(site, "OLD", ILL, accession_number="A1")
    take(site, "NEW", ILL, accession_number="A2", source="ARCHIVE")
    rows = site.rows("SELECT * FROM corrections ORDER BY correction_id")
    told = {row["column_name"]: (row["old_value"], row["new_value"]) for row in rows}
    assert told == {"patient_id": ("OLD", "NEW"), "accession_number": ("A1", "A2")}
    assert {(row["study_uid"], row["side"], row["source"]) for row in rows} == {("1.2.3", 0, "ARCHIVE")}
