"""Rejection notes in SQL: what they withdraw, what they do not, and what is left of it when they are revoked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from dicom_io.header.rejection import NoteDefect, RejectionDocument, RejectionTitle
from tests.support.database import BOTH, fresh_site, scored
from tests.support.rejections import LISTED, NOTE_FACTS, PACS, rejecting
from worker.addresses import listed_sources
from worker.db.audit.record import Actor
from worker.db.batches.selection import Selector, matching, matching_or_error
from worker.db.filing import note_decisions
from worker.db.identity.rejections import RejectionPolicy, SentAgain
from worker.db.read import queries
from worker.db.read.images import judged_images
from worker.db.retention.conditions import kept_because
from worker.db.retention.rules import FileRule, Kept
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import TERMINAL_STATES, HeldFile, NoteEffect
from worker.db.schema.study import Image, Study
from worker.db.schema.types import now_utc
from worker.errors import UsageError

pytestmark = pytest.mark.integration

ILL, WELL = 0.9, 0.1
FILM, OTHER, NOTE = "1.2.3.1", "1.2.3.2", "1.2.3.99"


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, getattr(request, "param", "sqlite"))


#: Tests whose statements or locks differ between the databases.
every_site = pytest.mark.parametrize("site", BOTH, indirect=True)


def take(site, sop: str = FILM, probability: float = ILL, **others: Any) -> Any:
    """Receive a film and judge it."""
    sent = {"patient_id": "ANN", "content": f"{sop} {probability}", "policy": LISTED, **PACS, **others}
    entry = site.receive(sop=sop, **sent)
    if not entry.is_duplicate:
        site.finish(entry.task_id, scored(probability))
    return entry


def reject(site, *sop_uids: str, note: str = NOTE, **others: Any) -> Any:
    """Receive a rejection note; the gate refuses the document itself."""
    named = {name: others.pop(name) for name in ("study", "title", "series", "sop_class") if name in others}
    document = others.pop("document", None) or rejecting(*sop_uids, **named)
    sent = {"patient_id": "ANN", "content": f"{note} {document}", "policy": LISTED, **PACS, **NOTE_FACTS, **others}
    entry = site.receive(sop=note, rejection=document, study=named.get("study", "1.2.3"), **sent)
    site.change(f"UPDATE task SET state = 'CANCELLED' WHERE image_id = {entry.image_id} AND state = 'PENDING'")
    site.change(f"DELETE FROM result WHERE image_id = {entry.image_id}")
    _refuse(site, entry.image_id)
    return entry


def _refuse(site, image_id: int) -> None:
    """Write the gate's result for a document."""
    task = site.value(f"SELECT max(id) AS id FROM task WHERE image_id = {image_id}")
    site.change(
        "INSERT INTO result (task_id, image_id, model_id, outcome, reason_code, flags, is_current, created_at) "
        f"SELECT id, image_id, model_id, 'NOT_APPLICABLE', 'NOT_A_RADIOGRAPH', '[]', true, created_at "
        f"FROM task WHERE id = {task}"
    )


def says(site, study: str = "1.2.3", side: int = 0) -> tuple[Any, ...]:
    """Status, label, reason and flags of a row."""
    site.settle()
    (row,) = [item for item in site.worklist([study]) if item["side"] == side]
    return row["ai_status"], row["label"], row["reason"], tuple(row["flags"])


WITHHELD = ("WITHHELD", None, "WITHDRAWN", ("ANSWER_LOWERED", "WITHDRAWN"))


def states(site) -> list[tuple[str, str | None]]:
    return [(row["state"], row["reason"]) for row in site.rows("SELECT * FROM withdrawals ORDER BY note_id, sop_uid")]


@pytest.mark.parametrize("title", [RejectionTitle.PATIENT_SAFETY, RejectionTitle.WORKLIST_ENTRY])
def test_a_withdrawn_film_stops_counting_and_the_study_says_why(site, title):
    take(site)
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")
    reject(site, FILM, title=title)
    assert says(site) == WITHHELD
    assert site.value("SELECT count(*) AS n FROM result_history WHERE label = 'PNEUMONIA'") == 1
    assert states(site) == [("APPLIED", None)]
    assert site.rows("SELECT * FROM conflicts") == []
    acts = [row["act"] for row in site.rows("SELECT act FROM audit ORDER BY event_id")]
    assert acts[-2:] == ["REJECTION_NOTE_RECEIVED", "STUDY_WITHDRAWN"]


def test_the_withdrawal_holds_before_the_study_is_complete_again(site):
    take(site)
    says(site)
    reject(site, FILM, quiet_ms=60_000)
    row = site.entry()
    assert (row["ai_status"], row["label"]) == ("RECEIVING", None)


@every_site
def test_the_other_films_answer_the_study(site):
    take(site)
    take(site, OTHER, WELL)
    reject(site, FILM)
    assert says(site) == ("FINAL", "NORMAL", None, ("ANSWER_LOWERED", "WITHDRAWN"))


def test_an_open_task_of_a_withdrawn_film_holds_up_nothing_and_its_result_does_not_count(site):
    take(site, OTHER, WELL)
    waiting = site.receive(sop=FILM, patient_id="ANN", policy=LISTED, **PACS)
    reject(site, FILM)
    assert says(site) == ("FINAL", "NORMAL", None, ("WITHDRAWN",))
    site.finish(waiting.task_id, scored(ILL))
    assert says(site) == ("FINAL", "NORMAL", None, ("ANSWER_LOWERED", "WITHDRAWN"))


@every_site
def test_a_pneumonia_rejected_for_quality_stays_until_a_later_film_is_judged(site):
    take(site, arrived_ms=1000)
    reject(site, FILM, title=RejectionTitle.QUALITY, arrived_ms=2000)
    assert says(site) == ("FINAL", "PNEUMONIA", None, ("REJECTED_FOR_QUALITY", "WITHDRAWN"))
    replacement = site.receive(sop=OTHER, patient_id="ANN", arrived_ms=3000, **PACS)
    assert site.entry()["label"] == "PNEUMONIA"
    site.finish(replacement.task_id, scored(WELL))
    assert says(site) == ("FINAL", "NORMAL", None, ("ANSWER_LOWERED", "WITHDRAWN"))


def test_a_film_from_before_the_rejected_one_does_not_replace_it(site):
    take(site, OTHER, WELL, arrived_ms=1000)
    take(site, arrived_ms=2000)
    reject(site, FILM, title=RejectionTitle.QUALITY, arrived_ms=3000)
    assert says(site) == ("FINAL", "PNEUMONIA", None, ("REJECTED_FOR_QUALITY", "WITHDRAWN"))


def test_a_normal_rejected_for_quality_is_withheld(site):
    take(site, FILM, WELL)
    reject(site, FILM, title=RejectionTitle.QUALITY)
    assert says(site) == ("WITHHELD", None, "WITHDRAWN", ("WITHDRAWN",))


@pytest.mark.parametrize(
    ("quality", "answer"),
    [
        (NoteEffect.WITHDRAWS, WITHHELD),
        (NoteEffect.NONE, ("FINAL", "PNEUMONIA", None, ())),
    ],
)
def test_a_site_decides_what_a_rejection_for_quality_does(site, quality, answer):
    take(site)
    reject(site, FILM, title=RejectionTitle.QUALITY, policy=replace(LISTED, quality=quality))
    assert says(site) == answer


@every_site
def test_an_expired_retention_leaves_the_answer_and_marks_the_pixels(site):
    entry = take(site)
    reject(site, FILM, title=RejectionTitle.RETENTION_EXPIRED)
    assert says(site) == ("FINAL", "PNEUMONIA", None, ())
    from sqlalchemy import select

    from worker.db.identity.withdrawals import is_expired
    from worker.db.schema.study import Image

    with site.sessions() as session:
        assert session.scalars(select(Image.id).where(is_expired(Image))).all() == [entry.image_id]


REFUSED = [
    pytest.param({"peer": "dicom://192.168.0.1"}, "SOURCE_NOT_LISTED", id="another address"),
    pytest.param({"source": "OTHER", "calling_aet": "OTHER"}, "SOURCE_NOT_LISTED", id="another title"),
    pytest.param({"source": "", "calling_aet": "PACS"}, "SOURCE_NOT_LISTED", id="ingested"),
    pytest.param({"patient_id": "BEN"}, "PATIENT_DIFFERS", id="another patient"),
    pytest.param({"patient_id": ""}, "PATIENT_DIFFERS", id="no patient"),
    pytest.param({"series": "1.2.3.8"}, "SERIES_DIFFERS", id="another series"),
    pytest.param({"sop_class": "1.2.840.10008.5.1.4.1.1.1"}, "CLASS_DIFFERS", id="another class"),
    pytest.param(
        {"document": RejectionDocument(RejectionTitle.PATIENT_SAFETY, defect=NoteDefect.REFERENCES_DIFFER)},
        "REFERENCES_DIFFER",
        id="content and evidence differ",
    ),
]


@pytest.mark.parametrize(("others", "reason"), REFUSED)
def test_another_source_or_a_mismatch_is_a_conflict_without_effect(site, others, reason):
    take(site)
    before = says(site)
    reject(site, FILM, **others)
    assert says(site) == before
    (row,) = site.rows("SELECT * FROM conflicts WHERE kind = 'REJECTION_NOTE'")
    assert (row["why"], row["note_id"], row["conflict_id"]) == (reason, 1, -1)
    assert states(site) == [("CONFLICT", reason)]


@pytest.mark.parametrize("shown", ["cd" * 32, ""], ids=["another certificate", "no TLS"])
def test_a_note_without_the_named_certificate_is_a_conflict_without_effect_until_it_comes_with_it(site, shown):
    policy = RejectionPolicy(sources=listed_sources([f"PACS@10.0.0.0/8+sha256:{'ab' * 32}"]))
    take(site)
    before = says(site)
    reject(site, FILM, policy=policy, certificate=shown)
    assert says(site) == before
    assert site.rows("SELECT why FROM conflicts WHERE kind = 'REJECTION_NOTE'") == [{"why": "SOURCE_NOT_LISTED"}]
    note = site.rows("SELECT state, certificate FROM withdrawals")
    assert note == [{"state": "CONFLICT", "certificate": shown}]
    reject(site, FILM, policy=policy, certificate="ab" * 32)
    assert says(site) == WITHHELD
    assert site.rows("SELECT state, certificate FROM withdrawals") == [{"state": "APPLIED", "certificate": "ab" * 32}]


def test_an_issuer_that_contradicts_is_another_patient(site):
    take(site, issuer_of_patient_id="A")
    reject(site, FILM, issuer_of_patient_id="B")
    assert states(site) == [("CONFLICT", "PATIENT_DIFFERS")]
    reject(site, FILM, note="1.2.3.98")
    assert states(site)[1:] == [("APPLIED", None)]


@every_site
def test_a_note_that_names_a_film_of_another_study_does_not_touch_it(site):
    take(site)
    take(site, "1.5.1", study="1.5")
    document = RejectionDocument(
        RejectionTitle.PATIENT_SAFETY, (*rejecting(FILM).references, *rejecting("1.5.1", study="1.5").references)
    )
    reject(site, document=document)
    assert says(site) == WITHHELD
    assert says(site, "1.5")[:2] == ("FINAL", "PNEUMONIA")
    assert states(site) == [("APPLIED", None), ("CONFLICT", "STUDY_DIFFERS")]


@every_site
def test_the_note_may_come_first(site):
    reject(site, FILM, arrived_ms=1000)
    assert states(site) == [("EXPIRED", None)]
    take(site, arrived_ms=2000)
    assert says(site) == WITHHELD
    assert states(site) == [("APPLIED", None)]


def test_a_film_that_comes_after_the_window_counts(site):
    reject(site, FILM, arrived_ms=1000, policy=replace(LISTED, window_ms=500))
    take(site, arrived_ms=2000)
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")
    assert states(site) == [("EXPIRED", "TOO_LATE")]


@pytest.mark.parametrize("again", list(SentAgain))
def test_a_rejected_film_sent_again_is_rejected_ignored_or_restored(site, again):
    policy = replace(LISTED, sent_again=again)
    take(site, arrived_ms=1000)
    reject(site, FILM, arrived_ms=2000)
    take(site, arrived_ms=3000, policy=policy, store_key="a" * 32)
    take(site, arrived_ms=3000, policy=policy, store_key="a" * 32)
    restored = again is SentAgain.RESTORE
    assert says(site) == (("FINAL", "PNEUMONIA", None, ()) if restored else WITHHELD)
    refusals = [row["reason_code"] for row in site.rows("SELECT * FROM refusal")]
    assert refusals == (["REJECTED_BEFORE"] if again is SentAgain.REJECT else [])


def test_the_first_arrival_after_the_note_is_not_again(site):
    policy = replace(LISTED, sent_again=SentAgain.RESTORE)
    reject(site, FILM, arrived_ms=1000)
    take(site, arrived_ms=2000, policy=policy)
    assert says(site) == WITHHELD
    take(site, arrived_ms=3000, policy=policy)
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")


def test_a_note_that_comes_twice_and_two_notes_for_one_film_withdraw_it_once(site):
    take(site)
    reject(site, FILM)
    reject(site, FILM, store_key="b" * 32)
    assert site.value("SELECT count(*) AS n FROM rejection_note") == 1
    reject(site, FILM, note="1.2.3.98")
    assert says(site) == WITHHELD


def test_the_same_note_from_a_listed_source_is_followed(site):
    take(site)
    reject(site, FILM, source="GATEWAY", calling_aet="GATEWAY")
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")
    reject(site, FILM, store_key="b" * 32)
    assert says(site) == WITHHELD
    assert site.rows("SELECT * FROM conflicts") == []


@every_site
def test_a_note_that_rejects_a_note_revokes_it(site):
    take(site)
    reject(site, FILM)
    reject(site, NOTE, note="1.2.3.98", series="1.2.3.9", sop_class=NOTE_FACTS["sop_class_uid"])
    assert says(site) == ("FINAL", "PNEUMONIA", None, ())
    assert states(site) == [("REVOKED", None), ("APPLIED", None)]


def test_the_revocation_may_come_before_the_note(site):
    take(site)
    reject(site, NOTE, note="1.2.3.98", sop_class=NOTE_FACTS["sop_class_uid"])
    reject(site, FILM)
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")


def test_a_note_that_restores_films_outweighs_earlier_ones(site):
    take(site, arrived_ms=500)
    reject(site, FILM, arrived_ms=1000)
    reject(site, FILM, note="1.2.3.98", title=RejectionTitle.REVOKED, arrived_ms=2000)
    assert says(site) == ("FINAL", "PNEUMONIA", None, ())
    reject(site, FILM, note="1.2.3.97", arrived_ms=3000)
    assert says(site) == WITHHELD


@every_site
def test_a_film_of_the_wrong_patient_that_is_withdrawn_frees_the_right_one(site):
    take(site, FILM, WELL)
    take(site, OTHER, WELL, patient_id="BEN")
    assert says(site)[:2] == ("WITHHELD", None)
    reject(site, OTHER, title=RejectionTitle.WORKLIST_ENTRY, patient_id="BEN")
    assert says(site)[:2] == ("FINAL", "NORMAL")
    assert says(site, side=1)[:3] == ("WITHHELD", None, "WITHDRAWN")


def test_a_film_of_another_patient_contradicts_though_a_note_of_that_patient_came_first(site):
    take(site, FILM, WELL)
    reject(site, FILM, patient_id="BEN")
    assert says(site) == ("FINAL", "NORMAL", None, ())
    take(site, OTHER, WELL, patient_id="BEN")
    assert says(site)[:3] == ("WITHHELD", None, "IDENTITY_CONFLICT")


def test_a_corrected_version_of_another_patient_is_not_withdrawn(site):
    take(site, pixels="same", arrived_ms=1000)
    reject(site, FILM, title=RejectionTitle.WORKLIST_ENTRY, arrived_ms=2000)
    take(site, pixels="same", patient_id="BEN", content="corrected", arrived_ms=3000)
    rows = {row["patient_id"]: row["label"] for row in site.worklist(["1.2.3"])}
    assert rows["BEN"] == "PNEUMONIA"


ADA = Actor("ada", "desk-1")


def decide(site, work):
    in_transaction(site.sessions, work)


@every_site
def test_a_note_that_is_revoked_by_a_person_has_no_effect_any_more(site):
    take(site)
    reject(site, FILM)
    assert says(site) == WITHHELD
    number = site.value("SELECT note_id FROM withdrawals")
    decide(site, lambda session: note_decisions.revoke(session, number, ADA, "the wrong film"))
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")
    assert states(site) == [("REVOKED", None)]
    (event,) = site.rows("SELECT who, from_where FROM audit WHERE act = 'REJECTION_NOTE_REVOKED'")
    assert (event["who"], event["from_where"]) == ("ada", "desk-1")
    with pytest.raises(UsageError, match="revoked before, by ada"):
        decide(site, lambda session: note_decisions.revoke(session, number, ADA, "again"))
    with pytest.raises(UsageError, match="no rejection note 999"):
        decide(site, lambda session: note_decisions.revoke(session, 999, ADA, "none"))


def test_a_note_of_a_source_that_is_not_listed_is_followed_once_a_person_vouches_for_it(site):
    take(site)
    reject(site, FILM, calling_aet="OTHER", source="OTHER")
    assert says(site)[:2] == ("FINAL", "PNEUMONIA")
    number = site.value("SELECT note_id FROM withdrawals")
    decide(site, lambda session: note_decisions.accept(session, number, ADA, "asked by telephone", restores=False))
    assert says(site) == WITHHELD
    assert states(site) == [("APPLIED", None)]
    with pytest.raises(UsageError, match="nothing to accept"):
        decide(site, lambda session: note_decisions.accept(session, number, ADA, "again", restores=False))


def test_a_re_run_leaves_withdrawn_films_out_unless_told_otherwise(site):
    take(site)
    take(site, OTHER, WELL)
    reject(site, FILM)
    with site.sessions() as session:
        without = matching(session, Selector(study_uids=("1.2.3",))).images
        both = matching(session, Selector(study_uids=("1.2.3",), withdrawn=True)).images
    assert both == without + 1


def test_a_re_run_of_withdrawn_films_alone_says_so(site):
    take(site, calling_aet="CAMERA", source="CAMERA")
    reject(site, FILM)
    with site.sessions() as session, pytest.raises(UsageError, match="--include-withdrawn"):
        matching_or_error(session, Selector(senders=("CAMERA",)))


@every_site
def test_show_and_explain_know_which_films_were_withdrawn(site):
    take(site)
    take(site, OTHER, WELL)
    reject(site, FILM)
    with site.sessions() as session:
        (study,) = queries.study_detail(session, "1.2.3")
        explained = [item.image.sop_uid for item in judged_images(session, ["1.2.3"])]
    marks = {result["sop_uid"]: result["is_withdrawn"] for result in study["results"]}
    assert marks == {FILM: True, OTHER: False, NOTE: False}
    assert [row["state"] for row in study["withdrawals"]] == ["APPLIED"]
    assert (explained[0], explained[-1]) == (OTHER, FILM)


@every_site
def test_a_film_and_its_note_that_arrive_at_once_meet(site):
    film = {"patient_id": "ANN", "content": "film", "policy": LISTED, **PACS}
    note = {"patient_id": "ANN", "content": "note", "policy": LISTED, **PACS, **NOTE_FACTS}
    both = [
        partial(site.receive, sop=FILM, study="1.7", **film),
        partial(site.receive, sop=NOTE, study="1.7", rejection=rejecting(FILM, study="1.7"), **note),
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda arrive: arrive(), both))
    assert states(site) == [("APPLIED", None)]


def test_a_withdrawn_film_is_kept_for_its_period(site):
    rule = FileRule(timedelta(days=0), tuple(TERMINAL_STATES), timedelta(days=30))
    take(site)
    says(site)

    def kept(days: float) -> Any:
        with site.sessions() as session:
            now = session.execute(select(now_utc())).scalar_one() + timedelta(days=days)
            of_film = select(kept_because(HeldFile.ORIGINAL, rule, now)).select_from(Image).join(Study)
            return session.execute(of_film.where(Image.sop_uid == FILM)).scalar_one()

    assert kept(1) is None
    reject(site, FILM)
    says(site)
    assert kept(1) == Kept.WITHDRAWN
    assert kept(31) is None
