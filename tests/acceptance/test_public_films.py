"""The public chest films: pushed by dcmtk's storescu, and the sixteen validation films pushed by the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation

from dicom_io.create.wrap import wrap_picture
from model.labels import Label
from tests.support.running import DEFAULT_MODEL
from tests.support.sites import new_site, new_stack, push

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.data]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A film and the only result it has."""

    result: Mapping[str, Any]
    study: Mapping[str, Any]


@pytest.fixture(scope="module")
def pushed(test_data: Path, dcmtk: Peers) -> Iterator[dict[str, Pushed]]:
    """The public films by the distinguishing part of their names, once Auscult is done with them."""
    films = sorted((test_data / "dicom" / "chest_xray").rglob("*.dcm"))
    headers = {path: dcmread(path, stop_before_pixels=True) for path in films}
    with new_stack(model=DEFAULT_MODEL) as stack:
        for path, header in headers.items():
            push(dcmtk, stack.port, [path], header.file_meta.TransferSyntaxUID)
        studies = stack.site.wait_terminal(len({header.StudyInstanceUID for header in headers.values()}))
        results = {row["sop_uid"]: row for row in stack.site.query("SELECT * FROM result_history")}
        assert len(results) == len(films)
        yield {
            path.name: Pushed(results[header.SOPInstanceUID], studies[header.StudyInstanceUID])
            for path, header in headers.items()
        }


@pytest.mark.parametrize("name", ["201.850819.dcm", "252582267888.dcm"], ids=["62 years", "81 years"])
def test_the_film_of_an_old_patient_is_refused_for_its_age(pushed: dict[str, Pushed], name: str) -> None:
    (film,) = (film for path, film in pushed.items() if path.endswith(name))
    assert (film.result["outcome"], film.result["reason"]) == ("NOT_APPLICABLE", "AGE_OUT_OF_RANGE")
    assert (film.study["ai_status"], film.study["label"]) == ("NOT_APPLICABLE", None)
    assert film.study["reason"] == "AGE_OUT_OF_RANGE"


@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "966_fixed.dcm"])
def test_the_film_of_a_patient_of_unknown_age_is_judged_and_flagged(pushed: dict[str, Pushed], name: str) -> None:
    (film,) = (film for path, film in pushed.items() if path.endswith(name))
    assert (film.result["outcome"], film.result["reason"]) == ("OK", None)
    assert film.study["ai_status"] == "FINAL"
    assert film.study["label"] in set(Label)
    assert "AGE_UNKNOWN" in film.study["flags"]
    assert film.result["decoder"] == "OpenJPEG"


def test_all_validation_films_are_judged_and_at_least_thirteen_of_sixteen_rightly(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = test_data / "chest_xray" / "val"
    truth = {str(wrap_picture(path).StudyInstanceUID): path.parent.name for path in folder.glob("*/*.jpeg")}
    assert len(truth) == 16
    with new_site(model=DEFAULT_MODEL, gate_policy="") as site:
        site.run("demo", "--films", folder, "--once", "--at-site")
        results = site.query("SELECT study_uid, outcome, flags FROM result_history")
        labels = {uid: row["label"] for uid, row in site.worklist().items()}
    right = sum(labels[uid] == label for uid, label in truth.items())
    with capsys.disabled():
        print(f"\nvalidation films judged rightly: {right} of {len(truth)}")  # noqa: T201 - the figure is the point
    assert [row["outcome"] for row in results] == ["OK"] * 16
    assert {row["study_uid"] for row in results} == set(truth)
    assert right >= 13


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RG3_J2KR.dcm", "UNLIKE_TRAINING"),
        ("US1_J2KI.dcm", "TEST_PATTERN"),
        ("MR2_J2KI.dcm", "UNLIKE_TRAINING"),
        ("CT2_J2KR", "UNLIKE_TRAINING"),
    ],
)
def test_what_is_no_chest_is_refused_for_its_looks_when_its_header_calls_it_one(
    test_data: Path, tmp_path: Path, name: str, reason: str
) -> None:
    (path,) = (path for path in (test_data / "dicom").rglob("*") if path.name.endswith(name))
    header = dcmread(path)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    header.Modality, header.BodyPartExamined, header.ViewPosition, header.PatientAge = "DX", "CHEST", "AP", "003Y"
    header.PresentationIntentType, header.ImageType = "FOR PRESENTATION", ["ORIGINAL", "PRIMARY"]
    for keyword in ("StudyDescription", "SeriesDescription", "ProtocolName", "PatientBirthDate", "NumberOfFrames"):
        if keyword in header:
            delattr(header, keyword)
    header.save_as(tmp_path / "blanked.dcm", enforce_file_format=True)
    with new_site(model=DEFAULT_MODEL, gate_policy="") as site:
        (answer,) = site.json("classify", tmp_path / "blanked.dcm")
    assert (answer["outcome"], answer["reason"], answer["probability"]) == ("NOT_APPLICABLE", reason, None)
    assert reason == "TEST_PATTERN" or answer["unlikeness"] > 1
