"""Programs that others wrote show a result: a viewer its heat map from an archive, and dcmtk its report, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from dicom_io.client.send import send
from model.notice import NOTICE
from tests.support.debian import orthanc_plugin
from tests.support.devtools import browser
from tests.support.npm import OHIF, part_of
from tests.support.orthanc import AET, Orthanc
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, push
from tests.support.viewers import DICOM_WEB, dwv, ohif
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from tests.support.devtools import Tab
    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PLUGIN, PACKAGE = "libOrthancDicomWeb.so", "orthanc-dicomweb"
#: The place where the viewer shows a picture.
VIEWPORT = "document.querySelector('[data-cy=viewport-pane] canvas')"


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
    """Orthanc with DICOMweb, which has received film, report and heat map by C-STORE."""
    plugin = orthanc_plugin(PLUGIN, PACKAGE)
    if plugin is None:
        pytest.skip(f"{PLUGIN}: not to be had from Debian's {PACKAGE}")
    settings = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": DICOM_WEB}}
    with Orthanc(orthanc_program, tmp_path_factory.mktemp("archive"), **settings).running() as started:
        sent = send(list(files.values()), LOCAL, started.port, called_aet=AET)
        assert [result.status for result in sent] == [0, 0, 0]
        yield started


def picture_in(tab: Tab) -> NDArray[np.uint8]:
    """The pixels of the viewer's large picture, without the annotations along its border."""
    x, y, width, height = tab.wait(
        "(box => box.width > 400 && box.height > 400 && [box.x, box.y, box.width, box.height].map(Math.round))"
        f"({VIEWPORT}.getBoundingClientRect())",
        "the place of the picture",
    )
    return tab.shown()[y : y + height, x : x + width][100:-100, 100:-100]


def coloured(pixels: NDArray[np.uint8]) -> float:
    """The share of pixels with a clear colour, of which a film has none."""
    levels = pixels.astype(int)
    return float((levels.max(axis=2) - levels.min(axis=2) > 60).mean())


def wait_for_picture(tab: Tab, look: Callable[[], NDArray[np.uint8]], is_colour_right: Callable[[float], bool]) -> None:
    """Wait for a picture whose share of colour is right.

    A viewer lays what it reads over the picture, and marks of its own that go.
    """
    seen: list[str] = []

    def is_there() -> bool:
        pixels = look()
        share = coloured(pixels)
        seen[:] = [f"{pixels.shape}, spread {pixels.std():.1f}, {share:.5f} of it in colour"]
        return bool(pixels.std() > 20 and is_colour_right(share))

    try:
        wait_until(is_there, 60, "the picture")
    except AssertionError as error:
        raise AssertionError(
            f"{error}; the viewer shows {seen}; the page says {tab.text()!r}, {tab.said[-8:]}"
        ) from error


def opened(tab: Tab, url: str, ds: Dataset, is_colour_right: Callable[[float], bool]) -> None:
    """Ask the viewer for a series of a study, and wait until it shows that."""
    tab.open(f"{url}/viewer?StudyInstanceUIDs={ds.StudyInstanceUID}&initialSeriesInstanceUID={ds.SeriesInstanceUID}")
    tab.wait(f"{VIEWPORT} && document.querySelector('[data-cy=study-browser-thumbnail-no-image]')", "the viewer")
    wait_for_picture(tab, lambda: picture_in(tab), is_colour_right)


def test_the_ohif_viewer_lists_all_three_and_shows_film_and_heat_map_from_an_archive(
    archive: Orthanc, files: dict[str, Path], chromium: Peers, tmp_path: Path
) -> None:
    film, report, heat_map = (dcmread(path) for path in files.values())
    least = 0.2 * coloured(heat_map.pixel_array)
    assert least > 0
    assert all(NOTICE in ds.SeriesDescription for ds in (report, heat_map))
    with ohif(part_of(OHIF), archive.http_port) as url, browser(chromium, tmp_path) as tab:
        # The film is grey; lines and words of the heat map are in colour, as they are in its own pixels.
        opened(tab, url, film, lambda share: share == 0)
        opened(tab, url, heat_map, lambda share: share > least)
        tab.text(*(words for ds in (report, heat_map) for words in (ds.SeriesDescription, f"S:{ds.SeriesNumber}")))


def kept_of(archive: Orthanc, ds: Dataset, folder: Path) -> Path:
    """An object as the archive gives it back."""
    (found,) = archive.rest("tools/lookup", str(ds.SOPInstanceUID).encode())
    kept = folder / "kept.dcm"
    kept.write_bytes(archive.file(found["ID"]))
    return kept


def test_dwv_shows_the_heat_map_that_the_archive_kept_in_its_colours(
    archive: Orthanc, files: dict[str, Path], chromium: Peers, tmp_path: Path
) -> None:
    heat_map = dcmread(files["heat-map"])
    with dwv(tmp_path, kept_of(archive, heat_map, tmp_path)) as url, browser(chromium, tmp_path) as tab:
        tab.open(url, size=(900, 900))
        tab.wait("window.said?.includes('renderend')", "dwv to draw it")
        wait_for_picture(tab, tab.shown, lambda share: share > 0.2 * coloured(heat_map.pixel_array) > 0)
        assert "error" not in tab.run("window.said.join()")


def test_dcmtk_turns_the_report_that_the_archive_kept_into_a_page_that_says_the_finding(
    archive: Orthanc, files: dict[str, Path], dsr2html: Peers, chromium: Peers, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    done = dsr2html.run("dsr2html", "+U8", kept_of(archive, dcmread(files["report"]), tmp_path), page)
    assert done.returncode == 0, done.stderr
    with browser(chromium, tmp_path) as tab:
        tab.open(page.as_uri())
        tab.text("Jane Doe", "Imaging Measurement Report", "Plain X-ray of chest", "Pneumonia", "Lung", "Present")
        tab.text(NOTICE, "UNVERIFIED", "Preliminary")
        wait_until(lambda: (tab.shown() < 128).any(axis=2).sum() > 2000, 60, "dark words on a light page")
