"""What Auscult makes of a result is read without an error by two validators that others wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_io.header.rejection import RejectionTitle
from dicom_io.results.capture import make_capture
from dicom_io.results.rejection_note import rejection_note
from dicom_io.results.report import make_report
from dicom_io.results.result import FindingStatus, Predecessor, ResultModel
from tests.support.results import (
    OTHER_FILM,
    RESULT,
    a_result,
    a_source,
    errors_of,
    saved,
    tree_of,
    warnings_of,
    withdrawn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration

AT_SITE = ResultModel("auscult", "2.1", "ab" * 32, "cd" * 32, is_site_calibrated=True)
RESULTS: dict[str, dict[str, Any]] = {
    "present": {},
    "absent": {"status": FindingStatus.ABSENT, "films": (*RESULT.films, OTHER_FILM)},
    "indeterminate": {"status": FindingStatus.INDETERMINATE, "band": "INTERMEDIATE"},
    "calibrated at the site": {"model": AT_SITE},
    "other films": {"other_films": (OTHER_FILM,)},
    "more to come": {"is_complete": False},
    "a revision": {"predecessor": Predecessor("1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2", 3)},
    "no bands and no flags": {"band": "", "flags": ()},
}
SOURCES: dict[str, dict[str, Any]] = {
    "Latin 1": {},
    "Japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
    },
    "Chinese": {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"},
    "with a time zone": {"TimezoneOffsetFromUTC": "+0100"},
    "hardly anything": {
        "SpecificCharacterSet": None,
        "PatientName": "",
        "PatientID": "",
        "IssuerOfPatientID": None,
        "AccessionNumber": None,
        "StudyDate": None,
        "StudyTime": None,
        "StudyDescription": None,
        "ReferringPhysicianName": None,
        "PatientBirthDate": None,
        "PatientSex": None,
        "PatientAge": None,
        "StudyID": None,
        "Manufacturer": None,
        "ManufacturerModelName": None,
    },
}
#: dciodvfy of 2022 knows no Device UID within Contributing Equipment, which PS3.3 C.12.1 has; and what a DICOMDIR would need.
KNOWN_WARNINGS = (
    "(0x0018,0x1002) UI Device UID",
    "this is a Standard Extended SOP Class",
    "needed to build DICOMDIR",
)


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_report_has_no_error(dicom3tools: Peers, dsrdump: Peers, tmp_path: Path, result: str, source: str) -> None:
    path = saved(make_report(a_result(**RESULTS[result]), a_source(**SOURCES[source])), tmp_path / "sr.dcm")
    assert errors_of(dicom3tools, path) == []
    tree = tree_of(dsrdump, path)
    assert "Comprehensive 3D SR Document" in tree
    assert '(233604007,SCT,"Pneumonia")' in tree
    new = [line for line in warnings_of(dicom3tools, path) if not any(known in line for known in KNOWN_WARNINGS)]
    assert new == []


@pytest.mark.parametrize("source", SOURCES)
def test_the_report_with_a_heat_map_has_no_error(
    dicom3tools: Peers, dsrdump: Peers, tmp_path: Path, source: str
) -> None:
    header = a_source(**SOURCES[source])
    heat_map = make_capture(np.zeros((64, 48, 3), np.uint8), a_result(), header, "how")
    path = saved(make_report(a_result(), header, heat_map), tmp_path / "sr.dcm")
    assert errors_of(dicom3tools, path) == []
    assert '<contains IMAGE:(,,"Visual explanation")=(SC image,)>' in tree_of(dsrdump, path)
    new = [line for line in warnings_of(dicom3tools, path) if not any(known in line for known in KNOWN_WARNINGS)]
    assert new == []


@pytest.mark.parametrize("source", SOURCES)
def test_the_heat_map_has_no_error(dicom3tools: Peers, tmp_path: Path, source: str) -> None:
    picture = np.zeros((64, 48, 3), np.uint8)
    path = saved(make_capture(picture, a_result(), a_source(**SOURCES[source]), "how"), tmp_path / "sc.dcm")
    assert errors_of(dicom3tools, path) == []
    new = [line for line in warnings_of(dicom3tools, path) if not any(known in line for known in KNOWN_WARNINGS)]
    assert new == []


@pytest.mark.parametrize("title", [title for title in RejectionTitle if title is not RejectionTitle.REVOKED])
@pytest.mark.parametrize("source", SOURCES)
def test_the_rejection_note_has_no_error(
    dicom3tools: Peers, dsrdump: Peers, tmp_path: Path, title: RejectionTitle, source: str
) -> None:
    path = saved(rejection_note(withdrawn(), a_source(**SOURCES[source]), title), tmp_path / "ko.dcm")
    assert errors_of(dicom3tools, path) == []
    tree = tree_of(dsrdump, path)
    assert "Key Object Selection Document" in tree
    assert "This result of Auscult was withdrawn" in tree
    assert tree.count("<contains IMAGE:") == tree.count("<contains COMPOSITE:") == 1
    new = [line for line in warnings_of(dicom3tools, path) if not any(known in line for known in KNOWN_WARNINGS)]
    assert new == []
