"""A film sent again with corrected names keeps its result; anything else, and any doubt, makes a new task."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_io.film.film import FILM_VERSION
from dicom_io.reasons import Reason
from tests.support.database import any_film, facts_of, fresh_site, refused, scored
from worker.db.batches.suspensions import suspend
from worker.db.filing.bulk import register_all
from worker.db.identity.arrivals import Received
from worker.db.models.bundles import Order, activate
from worker.db.tasks.shadow import start_shadow

pytestmark = pytest.mark.integration


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, "sqlite")


def send(site, content: str, pixels: str = "p", header: str = "h", source: str = "PACS", **facts: Any) -> Any:
    with site.sessions.begin() as session:
        return register_all(
            session,
            [
                Received(
                    facts=facts_of(**facts),
                    sha256=content * 64,
                    pixel_sha256=pixels * 64 if pixels else "",
                    film_header_sha256=header * 64 if header else "",
                    store_key=content * 32,
                    source=source,
                    quiet_ms=0,
                    max_wait_ms=1000,
                )
            ],
        )[0]


def judged(film_version: int = FILM_VERSION) -> Any:
    return scored(0.9, film=any_film(film_version, decoder="native"), decode_ms=5.0, inference_ms=6.0)


def waiting(site) -> int:
    found: int = site.value("SELECT count(*) FROM task WHERE state <> 'DONE'")
    return found


def test_a_corrected_patient_needs_no_new_task_and_history_says_where_the_result_came_from(site):
    first = send(site, "1", patient_id="OLD")
    site.finish(first.task_id, judged())
    second = send(site, "2", patient_id="NEW", patient_name="New^Name", accession_number="A2")
    assert (waiting(site), site.due()) == (0, [])
    site.settle()
    row = site.entry()
    assert [row[name] for name in ("patient_id", "ai_status", "label", "flags")] == ["NEW", "FINAL", "PNEUMONIA", []]
    newest, oldest = site.rows("SELECT * FROM result_history ORDER BY result_id DESC")
    assert (newest["taken_from_result_id"], oldest["taken_from_result_id"]) == (oldest["result_id"], None)
    assert (newest["decode_ms"], newest["inference_ms"]) == (None, None)
    for name in ("probability", "logit", "threshold", "label", "film_sha256", "film_version", "engine", "decoder"):
        assert newest[name] == oldest[name]
    films = site.rows("SELECT DISTINCT film_key, film_version, film_sha256 FROM image")
    assert len(films) == 1
    third = send(site, "3", patient_id="NEWER")
    assert waiting(site) == 0
    assert site.rows("SELECT taken_from_result_id AS n FROM result_history ORDER BY result_id DESC")[0]["n"] == 1
    assert len({first.image_id, second.image_id, third.image_id}) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"pixels": "q"},
        {"header": "i"},
        {"header": ""},
        {"pixels": ""},
        {"age_months": 30},
        {"age_months": None},
        {"view_position": "LL"},
        {"series_uid": "1.2.3.8"},
        {"species": "ANIMAL"},
        {"burned_in_annotation": True},
        {"transfer_syntax_uid": "1.2.840.10008.1.2"},
        {"sop": "1.2.3.2"},
        {"study": "1.2.4"},
    ],
)
def test_a_film_that_differs_in_anything_else_is_judged(site, other):
    site.finish(send(site, "1").task_id, judged())
    send(site, "2", **other)
    assert waiting(site) == 1


def test_without_a_result_to_trust_it_is_judged(site):
    first = send(site, "1")
    send(site, "2")
    assert waiting(site) == 2
    site.finish(first.task_id, refused(Reason.DECODE_FAILED))
    send(site, "3")
    assert waiting(site) == 2


@pytest.mark.parametrize("judgement", [refused(Reason.AGE_UNKNOWN), judged(FILM_VERSION - 1)])
def test_a_refusal_and_a_film_of_older_code_are_judged(site, judgement):
    site.finish(send(site, "1").task_id, judgement)
    send(site, "2")
    assert waiting(site) == 1


def test_another_model_judges_and_a_result_in_doubt_is_not_taken_over(site):
    site.finish(send(site, "1").task_id, judged())
    with site.sessions.begin() as session:
        suspend(session, site.model_id, Order("ada", "drift"))
    send(site, "2")
    assert waiting(site) == 1
    with site.sessions.begin() as session:
        activate(session, site.add_model("2"), Order("ada", "better"))
    send(site, "3")
    assert waiting(site) == 2


def test_the_shadow_is_not_asked_twice_about_a_film(site):
    with site.sessions.begin() as session:
        start_shadow(session, site.add_model("2"), Order("ada", "try"))
    first = send(site, "1")
    site.finish(first.task_id, judged())
    assert send(site, "2").shadow_task_id is None
    assert waiting(site) == 1
