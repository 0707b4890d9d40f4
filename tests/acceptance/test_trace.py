"""`auscult trace` by its command line: the document, its exit codes and its event in the audit trail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from dicom_io.create.phantom import demo_studies
from model.notice import NOTICE
from tests.support.sites import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site() as site:
        site.env |= {"AUSCULT_MODEL": "auscult-2", "AUSCULT_QUIET_S": "0", "AUSCULT_GATE_POLICY": ""}
        path = site.home.parent / "film.dcm"
        demo_studies()[0].dataset.save_as(path, enforce_file_format=True)
        site.run("ingest", path)
        yield site


def traced(site: Site, *options: str, check: int = 0) -> list[dict[str, Any]]:
    study = site.query("SELECT study_uid FROM study")[0]["study_uid"]
    found: list[dict[str, Any]] = json.loads(site.run("trace", study, *options, check=check).stdout)
    return found


def test_a_trace_is_one_document_a_result_and_an_event_of_the_trail(site: Site) -> None:
    (told,) = traced(site)
    assert told["notice"] == NOTICE
    assert told["again"] is None
    events = site.query("SELECT detail, study_uid FROM audit WHERE act = 'STUDIES_EXPORTED'")
    assert events[-1]["study_uid"] == told["study"]["study_uid"]
    assert json.loads(events[-1]["detail"])["command"] == "trace"


def test_the_exit_code_says_whether_the_scores_are_those_on_record(site: Site) -> None:
    (told,) = traced(site, "--again", "--all")
    assert told["again"]["reproduced"] is True
    engine = create_engine(site.database_url)
    for by, code in (("+ 1", 1), ("- 1", 0)):
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE result SET logit = logit {by}"))
        (told,) = traced(site, "--again", check=code)
        assert told["again"]["is_within_rounding"] is (code == 0)
    engine.dispose()


def test_an_unknown_study_is_wrong_usage_and_no_event(site: Site) -> None:
    before = len(site.query("SELECT 1 FROM audit WHERE act = 'STUDIES_EXPORTED'"))
    done = site.run("trace", "1.2.3.4", check=2)
    assert "no study matches 1.2.3.4" in done.stderr
    assert done.stdout == ""
    assert len(site.query("SELECT 1 FROM audit WHERE act = 'STUDIES_EXPORTED'")) == before
