"""A program that others wrote shows a report that an archive kept, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from dicom_io.client.send import send
from model.notice import NOTICE
from tests.support.devtools import browser
from tests.support.orthanc import AET, Orthanc
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A film, and the report and heat map of its study."""
    folder = tmp_path_factory.mktemp("files")
    named = {name: folder / f"{name}.dcm" for name in ("film", "report", "heat-map")}
    film = chest_film(0.9, PatientID="0815", PatientName="Doe^Jane", StudyDate="20261128", StudyTime="101500")
    film.save_as(named["film"], enforce_file_format=True)
    with new_site() as site, site.running("up") as stack:
        push([named["film"]], stack.port)
        site.wait_terminal(1)
        site.run("result", film.StudyInstanceUID, "--out", named["report"], "--heat-map", named["heat-map"])
    return named


@pytest.fixture(scope="module")
def archive(
    orthanc_program: Peers, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orthanc]:
    """Orthanc, which has received film, report and heat map by C-STORE."""
    with Orthanc(orthanc_program, tmp_path_factory.mktemp("archive")).running() as started:
        sent = send(list(files.values()), LOCAL, started.port, called_aet=AET)
        assert [result.status for result in sent] == [0, 0, 0]
        yield started


def kept_of(archive: Orthanc, ds: Dataset, folder: Path) -> Path:
    """An object as the archive gives it back."""
    (found,) = archive.rest("tools/lookup", str(ds.SOPInstanceUID).encode())
    kept = folder / "kept.dcm"
    kept.write_bytes(archive.file(found["ID"]))
    return kept


def test_dcmtk_turns_the_report_that_the_archive_kept_into_a_page_that_says_the_finding(
    archive: Orthanc, files: dict[str, Path], dsr2html: Peers, chromium: Peers, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    done = dsr2html.run("dsr2html", "+U8", kept_of(archive, dcmread(files["report"]), tmp_path), page)
    assert done.returncode == 0, done.stderr
    with browser(chromium, tmp_path) as tab:
        tab.open(page.as_uri())
        text = tab.text()
        assert (tab.shown() < 128).any(axis=2).sum() > 2000, "dark words on a light page"
    for words in ("Jane Doe", "Imaging Measurement Report", "Plain X-ray of chest", "Pneumonia", "Lung", "Present"):
        assert words in text
    assert NOTICE in text
    assert "UNVERIFIED" in text
    assert "Preliminary" in text
