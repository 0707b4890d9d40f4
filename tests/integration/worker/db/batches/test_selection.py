"""What a selector names, film by film where it is about films, and what is said when it names nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.batches import selection
from worker.db.batches.selection import Matching, Selector
from worker.db.schema.study import Image, Study
from worker.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def full_site(site):
    """1.1 is PNEUMONIA by one film while another failed; 1.2 is NORMAL with a flag; 1.3 was refused; 1.4 waits."""
    site.finish(site.receive("1.1", "1.1.1", calling_aet="ROOM1", patient_id="P1").task_id, scored(0.9))
    site.finish(site.receive("1.1", "1.1.2", calling_aet="ROOM2").task_id, refused(Reason.TIMED_OUT))
    flagged = site.receive("1.2", "1.2.1", calling_aet="ROOM1", patient_id="P2", study_date=date(2026, 1, 2))
    site.finish(flagged.task_id, scored(0.1, flags=(Reason.AGE_UNKNOWN,)))
    site.finish(site.receive("1.3", "1.3.1", accession_number="A3").task_id, refused(Reason.LATERAL_VIEW))
    site.receive("1.4", "1.4.1", accession_number="A4")
    site.settle()
    return site


def films(site, selector: Selector) -> set[str]:
    """SOP Instance UIDs of what a selector names."""
    with site.sessions() as session:
        found = set()
        for conditions in selection.parts(session, selector):
            rows = select(Image.sop_uid).join(Study).where(*conditions)
            found.update(session.execute(rows).scalars())
        return found


NAMED = [
    (Selector(outcomes=("FAILED",)), {"1.1.2"}),
    (Selector(states=("FINAL",), outcomes=("FAILED",)), {"1.1.2"}),
    (Selector(outcomes=("OK", "NOT_APPLICABLE")), {"1.1.1", "1.2.1", "1.3.1"}),
    (Selector(reasons=("TIMED_OUT",)), {"1.1.2"}),
    (Selector(reasons=("LATERAL_VIEW", "TIMED_OUT")), {"1.1.2", "1.3.1"}),
    (Selector(flags=("AGE_UNKNOWN",)), {"1.2.1"}),
    (Selector(patient_ids=("P1",)), {"1.1.1", "1.1.2"}),
    (Selector(senders=("ROOM1",)), {"1.1.1", "1.2.1"}),
    (Selector(senders=("ROOM2",), labels=("PNEUMONIA",)), {"1.1.2"}),
    (Selector(all=True, limit=1), {"1.1.1", "1.1.2"}),
    (Selector(outcomes=("OK",), limit=1), {"1.1.1"}),
    (Selector(all=True, limit=99), {"1.1.1", "1.1.2", "1.2.1", "1.3.1", "1.4.1"}),
]


def test_a_selector_names_the_films_it_says(full_site):
    for selector, expected in NAMED:
        assert films(full_site, selector) == expected, selector


def test_a_reason_or_flag_that_the_study_alone_has_takes_all_its_films(full_site):
    full_site.change("UPDATE study SET reason = 'TEST_PATTERN', flags = '[\"VIEW_UNKNOWN\"]' WHERE study_uid = '1.1'")
    assert films(full_site, Selector(reasons=("TEST_PATTERN",))) == {"1.1.1", "1.1.2"}
    assert films(full_site, Selector(flags=("VIEW_UNKNOWN",))) == {"1.1.1", "1.1.2"}
    full_site.change("UPDATE study SET reason = 'TIMED_OUT' WHERE study_uid = '1.1'")
    assert films(full_site, Selector(reasons=("TIMED_OUT",))) == {"1.1.2"}, "its own film says so"


def test_a_sample_is_whole_studies_and_the_same_for_the_same_seed(site):
    for number in range(12):
        for film in (1, 2):
            site.receive(f"1.{number}", f"1.{number}.{film}")
    drawn = [films(site, Selector(all=True, sample=5, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with site.sessions() as session:
        assert selection.matching(session, Selector(all=True, sample=5, seed=1)) == Matching(5, 10)
        assert selection.matching(session, Selector(all=True, sample=99)) == Matching(12, 24)
        with pytest.raises(UsageError, match="one of the two"):
            selection.matching(session, Selector(all=True, sample=5, limit=5))


NOTHING = [
    (Selector(study_uids=("1.1", "9.9")), "--study matches nothing: 9.9 is not on record"),
    (Selector(accession_numbers=("A3", "A9", "A8")), "--accession matches nothing: A8, A9 is not on record"),
    (Selector(senders=("ROOM9",)), "--sender matches nothing: ROOM9 is not on record"),
    (Selector(patient_ids=("P1", "P9")), "has the second Patient ID given"),
    (Selector(scored_by="other-1"), "no current result is by other-1; there are some by test-1"),
    (Selector(states=("SICK",)), "unknown StudyState: SICK; give one of RECEIVING"),
    (Selector(reasons=("TIRED",)), "unknown Reason: TIRED; give one of .*TIMED_OUT"),
    (Selector(flags=("TIRED",)), "unknown Reason: TIRED; give one of .*AGE_UNKNOWN"),
    (Selector(outcomes=("TIRED",)), "unknown Outcome: TIRED; give one of OK"),
    (Selector(reasons=("NOT_CHEST",)), "nothing matches --reason NOT_CHEST"),
    (Selector(all=True, flags=("VIEW_UNKNOWN",)), "nothing matches --flag VIEW_UNKNOWN"),
    (
        Selector(labels=("NORMAL",), accession_numbers=("A3",)),
        "matches all of --accession A3 --label NORMAL together",
    ),
    (Selector(study_date_from=date(2030, 1, 1)), "nothing matches --study-date-from 2030-01-01"),
    (
        Selector(study_date_from=date(2026, 1, 3), study_date_to=date(2026, 1, 9)),
        "nothing matches --study-date-from 2026-01-03 --study-date-to 2026-01-09",
    ),
    (Selector(study_date_from=date(2026, 1, 3), study_date_to=date(2026, 1, 2)), "that range is empty"),
    (
        Selector(received_from=datetime(2026, 1, 3, tzinfo=UTC), received_to=datetime(2026, 1, 3, tzinfo=UTC)),
        "--received-from is not before --received-to: that range is empty",
    ),
]


def test_what_matches_nothing_is_named_without_a_patient(full_site):
    for selector, words in NOTHING:
        with full_site.sessions() as session, pytest.raises(UsageError, match=words) as raised:
            selection.matching_or_error(session, selector)
        assert "P9" not in str(raised.value)


def test_nothing_on_record_is_said_too(site):
    with site.sessions() as session, pytest.raises(UsageError, match="nothing matches --all"):
        selection.matching_or_error(session, Selector(all=True))


def test_a_batch_s_text_keeps_no_patient_id():
    one, other = (Selector(patient_ids=(name,)).canonical() for name in ("JANE-DOE", "JOHN-DOE"))
    assert "DOE" not in one
    assert one != other


def test_the_models_that_answer_now_are_known(full_site):
    with full_site.sessions() as session:
        assert selection.models_of(session, Selector(all=True)) == ["test-1"]
        assert selection.models_of(session, Selector(accession_numbers=("A4",))) == []
