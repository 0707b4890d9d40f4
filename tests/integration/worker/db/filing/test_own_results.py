"""Results of our own that come back: kept with a result of their own, and nothing else in SQL changes, on both databases."""

from __future__ import annotations

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, CHEST, fresh_site, refused, scored
from tests.support.rejections import LISTED, NOTE_FACTS, PACS, rejecting

pytestmark = pytest.mark.integration

#: Of the row of a study, what an object of our own may not change.
KEPT = (
    *("state", "label", "probability", "threshold", "reason", "flags", "model_id", "band", "revision", "revision_at"),
    *("first_rx_at", "last_rx_at", "finished_at", "ready_at_ms", "force_at_ms", "n_scored", "priority_rank"),
    *("patient_id", "issuer_of_patient_id", "patient_name", "accession_number", "study_description", "columns_at_ms"),
)


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def kept(site, uid="1.2.3"):
    (row,) = site.rows(f"SELECT {', '.join(KEPT)} FROM study WHERE study_uid = '{uid}'")
    return row


def own(site, sop="1.2.3.9", **others):
    return site.receive(sop=sop, content=others.pop("content", sop), is_own_result=True, has_pixel_data=False, **others)


def results_of(site, image_id):
    return site.rows(
        "SELECT r.outcome, r.reason_code, r.is_current, t.state, t.attempts FROM result r JOIN task t ON t.id = r.task_id "
        f"WHERE r.image_id = {image_id}"
    )


ENDED = {"outcome": "NOT_APPLICABLE", "reason_code": "OWN_RESULT", "is_current": True, "state": "DONE", "attempts": 0}


@pytest.mark.parametrize("probability", [0.1, 0.9])
def test_a_finished_study_stays_as_it_is(site, probability):
    site.finish(site.receive(content="film", patient_id="P1").task_id, scored(probability))
    before = kept(site)
    assert before["state"] == "FINAL"
    entry = own(site, patient_id="P1", quiet_ms=60_000)
    assert entry.is_new_image
    assert kept(site) == before
    assert site.study().n_images == 2
    assert results_of(site, entry.image_id) == [ENDED]


def test_an_open_study_does_not_wait_longer(site):
    site.receive(content="film", quiet_ms=60_000)
    before = kept(site)
    own(site, quiet_ms=600_000)
    after = kept(site)
    assert {name: after[name] for name in KEPT if name != "state"} == {
        name: before[name] for name in KEPT if name != "state"
    }


def test_the_same_object_twice_and_a_changed_copy_of_it_change_nothing(site):
    site.finish(site.receive(content="film").task_id, scored(0.9))
    before = kept(site)
    first, again = own(site, content="report"), own(site, content="report")
    assert again.is_duplicate
    assert again.image_id == first.image_id
    changed = own(site, content="the archive changed its name", patient_name="Else^Somebody")
    assert kept(site) == before
    assert site.study().n_images == 2
    assert results_of(site, changed.image_id) == [ENDED]


@pytest.mark.parametrize("others", [{"patient_id": "P2"}, {"patient_id": ""}, {"patient_id": "P1", "issuer": "X"}])
def test_it_is_no_evidence_of_who_the_patient_is(site, others):
    named = {"patient_id": others["patient_id"], "issuer_of_patient_id": others.get("issuer", "")}
    film = {"patient_id": "P1", "issuer_of_patient_id": "Y"}
    site.finish(site.receive(content="film", **film).task_id, scored(0.1))
    before = kept(site)
    own(site, **named)
    assert kept(site) == before
    assert site.value("SELECT count(*) FROM conflict") == 0
    assert site.value("SELECT count(*) FROM correction") == 0
    assert site.value("SELECT count(*) FROM study") == 1


def test_one_object_in_two_studies_is_no_conflict(site):
    for uid in ("1.2.3", "1.2.4"):
        film = site.receive(uid, f"{uid}.1", content=uid)
        site.finish(film.task_id, scored(0.1))
    before = kept(site), kept(site, "1.2.4")
    own(site, content="here")
    site.receive("1.2.4", "1.2.3.9", content="there", is_own_result=True, has_pixel_data=False)
    assert (kept(site), kept(site, "1.2.4")) == before
    assert site.value("SELECT count(*) FROM conflict") == 0


def test_alone_it_is_a_study_without_an_answer(site):
    own(site)
    site.change("UPDATE study SET ready_at_ms = 0")
    site.settle()
    row = site.entry()
    assert (row["ai_status"], row["label"], row["reason"]) == ("NOT_APPLICABLE", None, "OWN_RESULT")
    film = site.receive(content="film")
    site.finish(film.task_id, scored(0.9))
    assert site.entry()["label"] == "PNEUMONIA"


def test_no_shadow_judges_it(site):
    entry = own(site)
    assert entry.shadow_task_id is None
    assert site.value("SELECT count(*) FROM task") == 1


def test_a_heat_map_that_the_hospital_rejects_leaves_the_answer_as_it_is(site):
    film = site.receive(content="film", patient_id="P1")
    site.finish(film.task_id, scored(0.9))
    before = kept(site)
    heat_map = site.receive(sop="1.2.3.9", content="map", is_own_result=True, patient_id="P1")
    note = rejecting("1.2.3.9", study="1.2.3", sop_class=CHEST["sop_class_uid"])
    facts = {**NOTE_FACTS, **PACS, "patient_id": "P1"}
    document = site.receive(sop="1.2.3.10", content="note", rejection=note, policy=LISTED, **facts)
    assert site.value(f"SELECT verdict FROM withdrawal WHERE image_id = {heat_map.image_id}") == "APPLIED"
    site.finish(document.task_id, refused(Reason.NO_PIXEL_DATA))
    answer = ("state", "label", "probability", "reason", "flags", "n_scored")
    after = kept(site)
    assert {name: after[name] for name in answer} == {name: before[name] for name in answer}
