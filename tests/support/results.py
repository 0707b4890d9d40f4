"""Results made up for tests of the objects that say them, and the programs that look for errors in those."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.header.rejection import Reference
from dicom_io.results.capture import make_capture
from dicom_io.results.objects import file_bytes
from dicom_io.results.rejection_note import WithdrawnResult
from dicom_io.results.report import make_report
from dicom_io.results.result import FindingStatus, JudgedFilm, ResultModel, StudyResult
from dicom_io.results.source_header import source_header_of

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.results.source_header import SourceHeader
    from tests.support.peers import Peers

DX = "1.2.840.10008.5.1.4.1.1.1.1"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
MODEL = ResultModel("auscult", "2", "ab" * 32, "cd" * 32)
FILM = JudgedFilm(DX, f"{STUDY_UID}.1.1", f"{STUDY_UID}.1", 0.9321)
OTHER_FILM = JudgedFilm(DX, f"{STUDY_UID}.1.2", f"{STUDY_UID}.1", 0.1)
RESULT = StudyResult(
    study_uid=STUDY_UID,
    side=0,
    status=FindingStatus.PRESENT,
    films=(FILM,),
    threshold=0.5,
    band="HIGH",
    flags=("AGE_UNKNOWN",),
    model=MODEL,
    analysed_at=datetime(2026, 11, 29, 8, 30, 15, tzinfo=UTC),
)


def a_result(**changes: Any) -> StudyResult:
    """A result, with these fields changed."""
    return replace(RESULT, **changes)


def a_source(**elements: Any) -> SourceHeader:
    """The header of a film, with these elements changed; None leaves one out."""
    values = {
        "SpecificCharacterSet": "ISO_IR 100",
        "StudyDate": "20261128",
        "StudyTime": "231500.5",
        "AccessionNumber": "A-17",
        "ReferringPhysicianName": "House^Gregory",
        "StudyDescription": "CHEST",
        "PatientName": "M\u00fcller^J\u00fcrgen",
        "PatientID": "0815",
        "IssuerOfPatientID": "HOSPITAL",
        "PatientBirthDate": "20230407",
        "PatientSex": "M",
        "PatientAge": "003Y",
        "StudyID": "S1",
        "Manufacturer": "Maker",
        "ManufacturerModelName": "Detector",
        **elements,
    }
    ds = Dataset()
    with warnings.catch_warnings():
        # a test may well write what no header should hold
        warnings.simplefilter("ignore")
        for keyword, value in values.items():
            if value is not None:
                setattr(ds, keyword, value)
    return source_header_of(ds)


def reference_to(ds: Dataset) -> Reference:
    """An object as a rejection note names it."""
    return Reference(str(ds.SOPInstanceUID), str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPClassUID))


def withdrawn(*others: Reference) -> WithdrawnResult:
    """A report and a heat map of `RESULT`, and other objects, that are to be withdrawn."""
    made = [
        make_report(RESULT, a_source()),
        make_capture(np.zeros((4, 4, 3), np.uint8), RESULT, a_source(), "how"),
    ]
    return WithdrawnResult(
        model=MODEL,
        withdrawn_at=datetime(2026, 11, 30, 9, tzinfo=UTC),
        objects=(*map(reference_to, made), *others),
    )


def saved(ds: Dataset, path: Path) -> Path:
    """Write a made object as a file."""
    path.write_bytes(file_bytes(ds))
    return path


def errors_of(dicom3tools: Peers, path: Path) -> list[str]:
    """What `dciodvfy` calls an error."""
    done = dicom3tools.run("dciodvfy", path)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Abort"))]


def warnings_of(dicom3tools: Peers, path: Path) -> list[str]:
    """What `dciodvfy` warns of."""
    done = dicom3tools.run("dciodvfy", path)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Warning")]


def tree_of(dsrdump: Peers, path: Path) -> str:
    """The content tree as `dsrdump` reads it; fails where it finds an error."""
    done = dsrdump.run("dsrdump", "+Pl", "+Pn", path)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("E:", "F:"))]
    return done.stdout
