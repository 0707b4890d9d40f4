"""Patient merges and their end in SQL: two IDs are one person, nothing is lost, and each act is on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dicom_io.header.rejection import Reference, RejectionDocument, RejectionTitle
from dicom_io.reasons import Reason
from tests.integration.worker.db.identity.test_whose_film import CONFLICT, ILL, WELL, ended, resolve, says, take
from tests.support.database import BOTH, fresh_site, refused
from tests.support.rejections import LISTED, NOTE_FACTS
from worker.db.audit.record import Actor
from worker.db.filing.merges import PatientName, merge_patients, unmerge_patient
from worker.db.read import queries
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ConflictEnd, MergeKind
from worker.errors import UsageError

pytestmark = pytest.mark.integration

ME = Actor("ada", "desk")


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, "sqlite")


@pytest.fixture(params=BOTH)
def any_site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def merge(site, old: str, new: str, issuer: str = "", new_issuer: str | None = None, **others: Any) -> Any:
    names = PatientName(old, issuer), PatientName(new, issuer if new_issuer is None else new_issuer)
    return in_transaction(site.sessions, lambda session: merge_patients(session, *names, ME, "one person", **others))


def unmerge(site, old: str, issuer: str = "") -> Any:
    return in_transaction(site.sessions, lambda session: unmerge_patient(session, PatientName(old, issuer), ME, "no"))


def patients(site) -> list[tuple[Any, ...]]:
    site.settle()
    return sorted((row["patient_id"], row["ai_status"], row["label"]) for row in site.worklist())


def test_a_merge_ends_the_conflict_of_two_ids_and_its_end_brings_all_back(any_site):
    site = any_site
    take(site, "OLD", WELL, sop="1.1", accession_number="A1", patient_name="Old^Name")
    take(site, "NEW", ILL, sop="1.2", accession_number="A2", patient_name="New^Name")
    before = site.worklist()
    assert says(site)[3] == CONFLICT
    merged = merge(site, "OLD", "NEW")
    assert (merged.is_new, merged.studies) == (True, 1)
    assert says(site) == ("NEW", "FINAL", "PNEUMONIA", ())
    assert (len(site.worklist()), ended(site), site.entry()["n_images"]) == (1, ["SAME"], 2)
    take(site, "OLD", WELL, sop="1.3", accession_number="A1")
    assert says(site) == ("NEW", "FINAL", "PNEUMONIA", ())
    with site.sessions() as session:
        assert [row["patient_id"] for row in queries.study_detail(session, "OLD")] == ["NEW"]
    unmerge(site, "OLD")
    assert says(site) == ("OLD", "WITHHELD", None, ("ANSWER_LOWERED", *CONFLICT))
    assert says(site, 1) == ("NEW", "FINAL", "PNEUMONIA", CONFLICT)
    shown = ("patient_id", "accession_number", "side")
    assert [[row[name] for name in shown] for row in site.worklist()] == [[row[n] for n in shown] for row in before]
    assert [study.patient_name for study in (site.study(), site.study(side=1))] == ["Old^Name", "New^Name"]
    assert [study.n_images for study in (site.study(), site.study(side=1))] == [2, 1]
    assert ended(site) == ["SAME", None]


def test_the_row_of_another_patient_that_the_end_of_a_merge_makes_was_read_by_nobody(any_site):
    site = any_site
    merge(site, "OLD", "NEW")
    take(site, "NEW", ILL, sop="1.1")
    take(site, "OLD", ILL, sop="1.2")
    site.settle()
    site.change("INSERT INTO assessments (study_uid, reader, verdict) SELECT study_uid, 'lee', 'AGREE' FROM worklist")
    unmerge(site, "OLD")
    site.settle()
    assert [(row["read_at"], row["reader_label"], row["verdict"]) for row in site.worklist()] == [
        (None, None, None)
    ] * 2


def test_each_act_is_one_event_and_one_correction_with_both_ids(site):
    take(site, "OLD", WELL)
    merge(site, "OLD", "NEW", issuer="H")
    merge(site, "OLD", "NEW", issuer="H")
    unmerge(site, "OLD", issuer="H")
    merge(site, "NEW", "OLD", issuer="H", kind=MergeKind.RENAME)
    acts = [row["act"] for row in site.rows("SELECT act FROM audit WHERE act LIKE 'PATIENT%' ORDER BY event_id")]
    assert acts == ["PATIENT_MERGED", "PATIENT_UNMERGED", "PATIENT_MERGED"]
    detail = site.rows("SELECT detail, patient_key FROM audit WHERE act LIKE 'PATIENT%' ORDER BY event_id")[0]
    assert "OLD" not in detail["detail"]
    assert len(detail["patient_key"]) == 64
    columns = "kind, column_name, old_value, new_value, old_issuer, new_issuer, who, why"
    rows = site.rows(f"SELECT {columns} FROM corrections ORDER BY correction_id DESC")
    assert [tuple(row.values()) for row in rows] == [
        ("PATIENT_MERGE", "patient_id", "OLD", "NEW", "H", "H", "ada", "one person"),
        ("PATIENT_UNMERGE", "patient_id", "NEW", "OLD", "H", "H", "ada", "no"),
        ("PATIENT_RENAME", "patient_id", "NEW", "OLD", "H", "H", "ada", "one person"),
    ]


def test_an_act_that_fails_leaves_neither_event_nor_row(site):
    take(site, "OLD", WELL)

    def fail(session):
        merge_patients(session, PatientName("OLD"), PatientName("NEW"), ME, "why")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_transaction(site.sessions, fail)
    assert site.value("SELECT count(*) FROM audit WHERE act = 'PATIENT_MERGED'") == 0
    assert site.value("SELECT count(*) FROM patient_merge") == 0
    assert says(site)[0] == "OLD"


def test_the_message_may_come_before_the_films_and_chains_are_followed(site):
    merge(site, "B", "C")
    merge(site, "A", "B")
    for number, patient in enumerate("ABC"):
        take(site, patient, WELL, sop=f"1.{number}")
    assert patients(site) == [("C", "FINAL", "NORMAL")]
    unmerge(site, "B")
    assert patients(site) == [("B", "WITHHELD", None), ("C", "WITHHELD", None)]
    unmerge(site, "A")
    assert patients(site) == [(name, "WITHHELD", None) for name in "ABC"]
    assert site.value("SELECT count(*) FROM study_header") == 0


def test_what_was_kept_for_one_merge_is_not_taken_for_another(site):
    merge(site, "OLD", "NEW")
    take(site, "NEW", WELL, accession_number="A1")
    unmerge(site, "OLD")
    take(site, "NEW", WELL, content="corrected", accession_number="A2")
    merge(site, "THIRD", "NEW")
    take(site, "THIRD", WELL, sop="1.2", accession_number="A3")
    unmerge(site, "THIRD")
    assert [row["accession_number"] for row in site.worklist()] == ["A2", "A3"]


@pytest.mark.parametrize(
    ("before", "act", "sentence"),
    [
        ([("A", "B")], ("B", "A"), "become itself"),
        ([("A", "B"), ("B", "C")], ("C", "A"), "become itself"),
        ([("A", "B")], ("A", "C"), "into another one already"),
        ([], ("A", "A"), "the same"),
        ([], (" ", "A"), "old Patient ID is empty"),
        ([], ("A", ""), "new Patient ID is empty"),
        ([], ("A", "B" * 129), "longer than"),
    ],
)
def test_what_cannot_be_is_refused_without_naming_a_patient(site, before, act, sentence):
    for old, new in before:
        merge(site, old, new)
    with pytest.raises(UsageError, match=sentence) as refused:
        merge(site, *act)
    assert "B" * 129 not in str(refused.value)
    assert site.value("SELECT count(*) FROM patient_merge") == len(before)
    with pytest.raises(UsageError, match="not merged"):
        unmerge(site, "Z")


@pytest.mark.parametrize(
    ("issuer", "films", "rows"),
    [
        ("", [("OLD", "H"), ("NEW", "H")], 1),
        ("H", [("OLD", "H"), ("NEW", "H")], 1),
        ("H", [("OLD", "K"), ("NEW", "K")], 2),
        ("H", [("OLD", ""), ("NEW", "H")], 1),
        ("", [("OLD", ""), ("NEW", "H")], 1),
    ],
)
def test_a_merge_holds_for_the_issuer_that_it_names(site, issuer, films, rows):
    take(site, films[0][0], WELL, sop="1.1", issuer_of_patient_id=films[0][1])
    merge(site, "OLD", "NEW", issuer=issuer)
    take(site, films[1][0], WELL, sop="1.2", issuer_of_patient_id=films[1][1])
    assert len(site.worklist()) == rows


def test_a_changed_issuer_is_a_rename_too(site):
    take(site, "7", WELL, sop="1.1", issuer_of_patient_id="H")
    take(site, "7", WELL, sop="1.2", issuer_of_patient_id="K")
    assert len(site.worklist()) == 2
    merge(site, "7", "7", issuer="H", new_issuer="K", kind=MergeKind.RENAME)
    assert patients(site) == [("7", "FINAL", "NORMAL")]
    assert site.study().issuer_of_patient_id == "K"


def test_two_films_of_one_uid_are_versions_once_their_patients_are_one(site):
    take(site, "OLD", ILL)
    take(site, "NEW", WELL)
    assert says(site)[:3] == ("OLD", "FINAL", "PNEUMONIA")
    merge(site, "OLD", "NEW")
    assert says(site) == ("NEW", "FINAL", "NORMAL", ("ANSWER_LOWERED",))
    assert site.entry()["n_images"] == 1
    unmerge(site, "OLD")
    assert says(site)[:3] == ("OLD", "FINAL", "PNEUMONIA")
    assert says(site, 1)[:3] == ("NEW", "WITHHELD", None)


def test_a_decision_of_a_person_outlives_a_merge_and_its_end(site):
    take(site, "OLD", ILL, sop="1.1")
    take(site, "NEW", WELL, sop="1.1")
    take(site, "NEW", WELL, sop="1.2")
    resolve(site, ConflictEnd.HELD)
    assert says(site, 1)[:2] == ("NEW", "NOT_APPLICABLE") or says(site, 1)[2] is None
    merge(site, "OLD", "NEW")
    assert says(site)[:3] == ("NEW", "FINAL", "PNEUMONIA")
    assert site.entry()["n_images"] == 1
    unmerge(site, "OLD")
    assert says(site)[:3] == ("OLD", "FINAL", "PNEUMONIA")
    assert site.study(side=1).n_images == 0
    assert ended(site) == ["HELD"]


def test_a_note_for_the_old_id_withdraws_a_film_of_the_new_one_while_they_are_one(site):
    take(site, "NEW", ILL, sop="1.1")
    take(site, "NEW", WELL, sop="1.2")
    note = RejectionDocument(RejectionTitle.PATIENT_SAFETY, (Reference("1.1", "1.2.3"),))
    sent = {"calling_aet": "PACS", "source": "PACS", "peer": "dicom://10.1.2.3", "rejection": note, "policy": LISTED}
    entry = site.receive(sop="1.8", patient_id="OLD", **sent, **NOTE_FACTS)
    site.finish(entry.task_id, refused(Reason.NOT_A_RADIOGRAPH))
    states = "SELECT state, reason FROM withdrawals"
    contradicts = [{"state": "CONFLICT", "reason": "PATIENT_DIFFERS"}]
    assert site.rows(states) == contradicts
    merge(site, "OLD", "NEW")
    assert site.rows(states) == [{"state": "APPLIED", "reason": None}]
    assert says(site)[:3] == ("NEW", "FINAL", "NORMAL")
    unmerge(site, "OLD")
    assert site.rows(states) == contradicts


def test_merges_and_films_at_the_same_moment_end_as_one_after_the_other(any_site):
    site = any_site
    for number in range(4):
        take(site, "A", WELL, sop=f"1.{number}.1", study=f"1.{number}")

    def film(number: int) -> None:
        site.receive(study=f"1.{number % 4}", sop=f"1.{number}.2", patient_id="BC"[number % 2], pixels=f"{number}")

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(film, number) for number in range(8)]
        waiting += [
            pool.submit(merge, site, "A", "B"),
            pool.submit(merge, site, "B", "C"),
            pool.submit(merge, site, "A", "B"),
        ]
        for one in waiting:
            one.result(timeout=120)
    site.settle()
    assert {(row["patient_id"], row["side"]) for row in site.worklist()} == {("C", 0)}
    assert len(site.worklist()) == 4
    assert site.value("SELECT count(*) FROM conflict WHERE closed_at IS NULL") == 0
    assert site.value("SELECT count(*) FROM patient_merge") == 2
    assert site.value("SELECT count(*) FROM audit WHERE act = 'PATIENT_MERGED'") == 2
