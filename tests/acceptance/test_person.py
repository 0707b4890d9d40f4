"""A person asks for their data and wants them gone, on a system at work; later what is old goes by the site's floor."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.client.send import send
from tests.support.sites import LOCAL, make_study, new_site
from worker.db.schema.study import Base
from worker.db.schema.views import VIEW_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PATIENT = "ZQPERSON-0815"
TRACES = ("zqperson", "19310709", "1931-07-09")


def traces(site: Site) -> list[str]:
    """The tables, views and files of a site in which something of the person stands."""
    tables = (*Base.metadata.tables, *VIEW_NAMES)
    found = [name for name in tables if is_named(str(site.query(f"SELECT * FROM {name}")))]
    files = [path for path in site.home.rglob("*") if path.is_file()]
    return found + [path.name for path in files if is_named(path.read_bytes().decode("latin-1"))]


def is_named(text: str) -> bool:
    return any(trace in text.lower() for trace in TRACES)


def test_a_person_gets_their_data_and_nothing_is_left_of_them_on_a_system_at_work(tmp_path: Path) -> None:
    person: dict[str, Any] = {"PatientID": PATIENT, "PatientName": "Zqperson^Anna", "PatientBirthDate": "19310709"}
    with new_site(keep_years="0", keep_until_birthday="0") as site, site.running("up") as stack:
        for name in ("theirs", "other"):
            (tmp_path / name).mkdir()
        theirs = make_study(tmp_path / "theirs", **person)
        other = make_study(tmp_path / "other", PatientID="4711", PatientName="Other^Bob")
        for study in (theirs, other):
            assert {done.status for done in send(study.files, LOCAL, stack.port)} == {0}
        site.wait_terminal(2)
        out = tmp_path / "person.zip"
        told = site.run("patient", "export", PATIENT, "--out", out, "--originals")
        assert "Not a medical device" in told.stderr
        with zipfile.ZipFile(out) as archive:
            document = json.loads(archive.read("patient.json"))
            assert len(archive.namelist()) == 2
        assert [row["study_uid"] for row in document["tables"]["study"]] == [theirs.uid]
        why = ("--why", "asked for on paper")
        looked = site.json("patient", "erase", PATIENT, *why, "--dry-run")
        assert [row["study_uid"] for row in looked["studies"]] == [theirs.uid]
        assert site.run("patient", "erase", PATIENT, *why, check=2).stderr.count("--yes")
        done = site.json("patient", "erase", PATIENT, *why, "--yes")
        assert (done["studies"], done["originals"], done["stays"], done["database_overwritten"]) == (1, 1, [], True)
        assert traces(site) == []
        assert [row["patient_id"] for row in site.json("worklist")] == ["4711"]
        assert site.json("fsck")["left"] == 0
        # What is sent again starts anew.
        assert {done.status for done in send(theirs.files, LOCAL, stack.port)} == {0}
        again = site.wait_terminal(2)[theirs.uid]
        assert (again["revision"], again["n_images"]) == (1, 1)
        # Everything is beyond a floor of no years.
        assert site.json("purge", "--records", "--dry-run")["studies"] == 2
        assert site.json("purge", "--records", "--yes")["studies"] == 2
        assert site.json("fsck") == {"images": 0, "originals": 0, "films": 0, "studies": 0, "left": 0, "findings": []}
        acts = {event["act"] for event in site.json("audit", "list", "--limit", "1000")}
        assert acts >= {"PATIENT_EXPORTED", "PATIENT_ERASED", "RECORDS_PURGED", "STUDY_PURGED"}
        assert site.json("audit", "purge", "--dry-run")["events"] == 0
        gone = site.json("audit", "purge", "--below-floor", "--before", "2999-01-01", "--why", "a test", "--yes")
        assert gone["events"] > len(acts)
        (event,) = site.query("SELECT act, detail FROM audit WHERE act = 'AUDIT_PURGED'")
        assert json.loads(event["detail"])["below_floor"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("purge", "--records"), "AUSCULT_KEEP_YEARS"),
        (("purge", "--records", "--below-floor", "--study", "1.2.3"), "--why"),
        (("purge", "--records", "--below-floor", "--why", "x"), "--study"),
        (("purge", "--below-floor"), "--records"),
        (("purge", "--records", "--films-days", "3"), "--records"),
        (("audit", "purge"), "AUSCULT_KEEP_YEARS"),
        (("audit", "purge", "--below-floor", "--why", "x"), "--before"),
        (("patient", "erase", "0815", "--why", "of 0815"), "Patient ID"),
        (("patient", "erase", "0815", "--why", " "), "--why"),
        (("patient", "erase", "0815", "--why", "asked"), "nothing is held"),
        (("patient", "export", "0815", "--out", "/nowhere/file.json"), "/nowhere"),
    ],
)
def test_nothing_is_removed_without_the_words_that_it_needs(
    site_of_nobody: Site, arguments: tuple[str, ...], said: str
):
    done = site_of_nobody.run(*arguments, check=2)
    assert said in done.stderr


@pytest.fixture(scope="module")
def site_of_nobody():
    with new_site() as site:
        yield site
