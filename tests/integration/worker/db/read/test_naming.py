"""A study is named by its Study Instance UID, accession number or Patient ID, and by each verb in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.database import BOTH, Site, fresh_site, scored
from worker.db.audit.record import Actor
from worker.db.filing.merges import PatientName, merge_patients
from worker.db.read import queries
from worker.db.read.answers import answered_studies
from worker.db.read.naming import StudyKey, check_one, meant, named_study
from worker.db.read.trace import traced_results
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def test_a_study_is_named_by_its_patient_where_that_one_has_no_other(site: Site) -> None:
    site.receive("1.1", "1.1.1", patient_id="A")
    site.receive("1.2", "1.2.1", patient_id="B")
    with site.sessions() as session:
        assert named_study(session, "A", 0) == StudyKey("1.1", 0)
    site.receive("1.3", "1.3.1", patient_id="A")
    with site.sessions() as session:
        with pytest.raises(UsageError, match="2 studies match A: give a Study Instance UID"):
            named_study(session, "A", 0)
        with pytest.raises(UsageError, match="no study matches B with side 1: give a Study Instance UID, an accession"):
            named_study(session, "B", 1)


def test_of_several_patients_under_one_study_the_side_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"2 patients have the study 1\.1: say with --side which patient"):
        check_one([StudyKey("1.1", 0), StudyKey("1.1", 1)], "1.1")
    check_one([StudyKey("1.1", 0)], "1.1")


@pytest.mark.parametrize("name", ["1.1", "A1", "NEW", "OLD"])
def test_every_reader_finds_the_study_that_a_name_means_also_by_an_id_that_was_merged(site: Site, name: str) -> None:
    site.finish(site.receive("1.1", "1.1.1", patient_id="OLD", accession_number="A1").task_id, scored(0.9))
    site.receive("1.2", "1.2.1", patient_id="OTHER", accession_number="A2")
    site.settle()
    with site.sessions.begin() as session:
        merge_patients(session, PatientName("OLD"), PatientName("NEW"), Actor("ada"), "A40")
    with site.sessions() as session:
        assert meant(session, name) == [StudyKey("1.1", 0)]
        assert [row["study_uid"] for row in queries.study_detail(session, name)] == ["1.1"]
        assert [row["study_uid"] for row in traced_results(session, name)[0]] == ["1.1"]
        assert [study.study_uid for study in answered_studies(session, name)] == ["1.1"]
