"""What the facts say of body part, view, age and sender when headers leave it out or contradict themselves."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.header.reader import read_facts
from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path

MARK = "ZZPATIENTZZ"


@pytest.mark.parametrize(
    ("elements", "body_part"),
    [
        ({"BodyPartExamined": "CHEST"}, "CHEST"),
        ({"BodyPartExamined": "non grid chest"}, "NON GRID CHEST"),
        ({"BodyPartExamined": "Tórax"}, "TORAX"),
        ({"BodyPartExamined": "胸部"}, "CHEST"),
        ({"BodyPartExamined": "Грудная клетка"}, "CHEST"),
        ({"BodyPartExamined": "Колено"}, "OTHER"),
        ({"BodyPartExamined": "Doe^Jane"}, ""),
        ({"BodyPartExamined": "EXTREMETY"}, "EXTREMETY"),
        ({"BodyPartExamined": None}, ""),
        ({"BodyPartExamined": "", "StudyDescription": "THORAX AP"}, "CHEST"),
        ({"BodyPartExamined": "", "SeriesDescription": "Hand links"}, "OTHER"),
        ({"BodyPartExamined": "", "StudyDescription": "Chest and left shoulder"}, "CHEST"),
        ({"BodyPartExamined": "", "StudyDescription": "No Finding"}, ""),
        ({"BodyPartExamined": "", "SeriesDescription": "Hand links", "StudyDescription": "Thorax und Hand"}, "OTHER"),
        ({"BodyPartExamined": "", "SeriesDescription": "Thorax ap", "StudyDescription": "Hand links"}, "CHEST"),
        ({"BodyPartExamined": "Not specified", "SeriesDescription": "Thorax ap"}, "CHEST"),
        ({"BodyPartExamined": "胸椎"}, "OTHER"),
        ({"BodyPartExamined": "", "SeriesDescription": "胸椎"}, "OTHER"),
        ({"BodyPartExamined": "QZX", "SeriesDescription": "CHEST AP"}, "CHEST"),
        ({"BodyPartExamined": "QZX", "StudyDescription": "XR CHEST"}, "CHEST"),
        ({"BodyPartExamined": "QZX", "SeriesDescription": "Hand links"}, "OTHER"),
        ({"BodyPartExamined": "QZX"}, ""),
        ({"BodyPartExamined": "CHESTXRAY"}, "CHEST"),
    ],
)
def test_the_body_part_is_what_the_header_says_of_it(elements: dict[str, Any], body_part: str, tmp_path: Path) -> None:
    ds = film(SpecificCharacterSet="ISO_IR 192", **elements)
    # CS is Latin-1 for pydicom; scanners do not care
    if elements.get("BodyPartExamined"):
        ds["BodyPartExamined"].VR = "LO"
    assert read_facts(save(ds, tmp_path)).body_part == body_part


@pytest.mark.parametrize(
    ("code", "body_part"),
    [
        ("T-D3000", "CHEST"),
        ("51185008", "CHEST"),
        ("T-D8810", "OTHER"),
        ("85562004", "OTHER"),
        ("LOCAL7", ""),
        ("", ""),
    ],
)
def test_the_region_code_replaces_a_missing_body_part(code: str, body_part: str, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = code
    ds = film(BodyPartExamined=None, AnatomicRegionSequence=Sequence([item]))
    assert read_facts(save(ds, tmp_path)).body_part == body_part


@pytest.mark.parametrize(("meaning", "body_part"), [("Brustkorb", "CHEST"), ("Handgelenk", "OTHER"), ("Zone 3", "")])
def test_a_sites_own_region_code_says_what_its_name_says(meaning: str, body_part: str, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "LOCAL7", meaning
    ds = film(BodyPartExamined=None, AnatomicRegionSequence=Sequence([item]))
    assert read_facts(save(ds, tmp_path)).body_part == body_part


def test_a_sites_own_region_code_does_not_outweigh_a_description(tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = "LOCAL7"
    ds = film(BodyPartExamined=None, AnatomicRegionSequence=Sequence([item]), SeriesDescription="Chest AP")
    assert read_facts(save(ds, tmp_path)).body_part == "CHEST"


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "LARGE LATERAL"}, "LARGE LATERAL"),
        ({"ViewPosition": "LL", "PatientOrientation": ["L", "F"]}, "LL"),
        ({"ViewPosition": "AP", "PatientOrientation": ["A", "F"]}, "FRONTAL LATERAL"),
        ({"ViewPosition": "AP", "SeriesDescription": "Thorax lat."}, "FRONTAL LATERAL"),
        ({"ViewPosition": "AP", "SeriesDescription": "Thorax ap/lat"}, "AP"),
        ({"ViewPosition": "", "PatientOrientation": ["L", "F"], "SeriesDescription": "LAT"}, "FRONTAL LATERAL"),
        ({"ViewPosition": "XX", "PatientOrientation": ["L", "F"]}, "FRONTAL"),
        ({"ViewPosition": "", "SeriesDescription": "Thorax p.a."}, "FRONTAL"),
        ({"ViewPosition": "", "SeriesDescription": "Thorax p.a./lat."}, ""),
        ({"ViewPosition": "", "SeriesDescription": "Thorax seitl."}, "LATERAL"),
        ({"ViewPosition": None}, ""),
        ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "LATERAL"),
        ({"ViewPosition": "", "PatientOrientation": ["PR", "FL"]}, "LATERAL"),
        ({"ViewPosition": "", "PatientOrientation": ["L", "F"]}, "FRONTAL"),
        ({"ViewPosition": "", "PatientOrientation": ["L", "P"]}, ""),
        ({"ViewPosition": "", "SeriesDescription": "Chest LAT"}, "LATERAL"),
        ({"ViewPosition": "", "SeriesDescription": "Chest PA and lateral"}, ""),
        ({"ViewPosition": "", "SeriesDescription": "latissimus"}, ""),
        ({"ViewPosition": "", "SeriesDescription": "view: PA"}, "FRONTAL"),
        ({"ViewPosition": "", "StudyDescription": "CHEST LATERAL"}, ""),
        ({"ViewPosition": "", "SeriesDescription": "left lateral decubitus"}, ""),
        ({"ViewPosition": f"{MARK}^lat"}, "LATERAL"),
        ({"ViewPosition": "", "BodyPartExamined": "CHEST LAT"}, "LATERAL"),
        ({"ViewPosition": "AP", "BodyPartExamined": "CHESTLAT"}, "FRONTAL LATERAL"),
        # longer than its column, which would cut off what matters
        ({"ViewPosition": "XR chest portable supine bedside lateral"}, "LATERAL"),
    ],
)
def test_the_view_is_what_the_header_says_of_it(elements: dict[str, Any], view: str, tmp_path: Path) -> None:
    assert read_facts(save(film(**elements), tmp_path)).view_position == view


@pytest.mark.parametrize(
    ("code", "view"), [("R-10236", "LATERAL"), ("399198007", "LATERAL"), ("R-10214", "FRONTAL"), ("X-1", "")]
)
def test_the_view_code_replaces_a_missing_view(code: str, view: str, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = code
    ds = film(ViewPosition="", ViewCodeSequence=Sequence([item]))
    assert read_facts(save(ds, tmp_path)).view_position == view


@pytest.mark.parametrize(
    ("elements", "months"),
    [
        ({"PatientAge": "006Y", "PatientBirthDate": "19400305", "StudyDate": "20240101"}, 72),
        ({"PatientAge": "", "PatientBirthDate": "20200301", "StudyDate": "20240229"}, 47),
        ({"PatientAge": "", "PatientBirthDate": "2020.03.01", "AcquisitionDate": "20240301"}, 48),
        ({"PatientAge": "999Y", "PatientBirthDate": "20200301", "StudyDate": "20240301"}, 48),
        ({"PatientAge": "", "PatientBirthDate": "20200301"}, None),
        ({"PatientAge": "000Y", "PatientBirthDate": "20210301", "StudyDate": "20240301"}, 36),
        ({"PatientAge": "0", "PatientBirthDate": "20230701", "StudyDate": "20240301"}, 8),
        ({"PatientAge": "000D", "PatientBirthDate": "20240301", "StudyDate": "20240301"}, 0),
        ({"PatientAge": "000Y", "PatientBirthDate": "", "StudyDate": "20240301"}, 0),
        ({"PatientAge": "003D", "PatientBirthDate": "19900301", "StudyDate": "20240301"}, 0),
        ({"PatientAge": "", "PatientBirthDate": "20240302", "StudyDate": "20240301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "20200230", "StudyDate": "20240301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "19000101", "StudyDate": "20240301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "19000101", "StudyDate": "20180301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "00010101", "StudyDate": "20240301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "99991231", "StudyDate": "20240301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "20200301", "StudyDate": "19000101"}, None),
        ({"PatientAge": "", "PatientBirthDate": "20200301", "StudyDate": "00010101", "SeriesDate": "20240301"}, 48),
        # what a modality has worked out from a placeholder is none the better
        ({"PatientAge": "118Y", "PatientBirthDate": "19000101", "StudyDate": "20180301"}, None),
        ({"PatientAge": "124Y", "PatientBirthDate": "", "StudyDate": "20240301"}, None),
        ({"PatientAge": "000Y", "PatientBirthDate": "19000101", "StudyDate": "20240301"}, None),
        ({"PatientAge": "004Y", "PatientBirthDate": "19000101", "StudyDate": "20240301"}, 48),
        ({"PatientAge": "004Y", "PatientBirthDate": "99991231", "StudyDate": "20240301"}, 48),
        ({"PatientAge": "", "PatientBirthDate": "19700101", "StudyDate": "20240301"}, 650),
    ],
)
def test_the_age_comes_from_its_element_or_else_from_the_dates(
    elements: dict[str, Any], months: int | None, tmp_path: Path
) -> None:
    assert read_facts(save(film(**elements), tmp_path)).age_months == months


def test_a_placeholder_is_kept_as_no_date(tmp_path: Path) -> None:
    ds = film(PatientBirthDate="19000101", StudyDate="00010101", AcquisitionDate="20240301")
    facts = read_facts(save(ds, tmp_path))
    assert (facts.patient_birth_date, facts.study_date) == (None, date(2024, 3, 1))


def test_dates_of_one_film_that_lie_years_apart_tell_no_age(tmp_path: Path) -> None:
    ds = film(PatientAge="", PatientBirthDate="19400305", StudyDate="20040826", SeriesDate="19950926")
    facts = read_facts(save(ds, tmp_path))
    assert facts.age_months is None
    assert facts.study_date == date(2004, 8, 26)


def test_the_sender_is_read_from_the_file_meta_information(tmp_path: Path) -> None:
    ds = film()
    ds.file_meta.SourceApplicationEntityTitle = "SOURCE"
    ds.file_meta.SendingApplicationEntityTitle = "CT_ROOM"
    ds.file_meta.add_new(0x00020026, "UR", "dicom://10.0.0.7:104")
    facts = read_facts(save(ds, tmp_path))
    assert (facts.calling_aet, facts.peer) == ("CT_ROOM", "dicom://10.0.0.7:104")


def request(priority: str | None) -> Dataset:
    item = Dataset()
    if priority is not None:
        item.RequestedProcedurePriority = priority
    return item


@pytest.mark.parametrize(
    ("elements", "priority"),
    [
        ({}, ""),
        ({"RequestedProcedurePriority": "STAT"}, "STAT"),
        ({"RequestedProcedurePriority": " high "}, "HIGH"),
        ({"RequestedProcedurePriority": "ROUTINE"}, "ROUTINE"),
        ({"RequestedProcedurePriority": MARK}, ""),
        ({"RequestedProcedurePriority": ""}, ""),
        ({"RequestAttributesSequence": [request("STAT")]}, "STAT"),
        ({"RequestAttributesSequence": [request(None), request("LOW"), request("HIGH")]}, "HIGH"),
        ({"RequestAttributesSequence": []}, ""),
        ({"StudyPriorityID": "HIGH"}, "HIGH"),
        ({"StudyPriorityID": "MEDIUM"}, "MEDIUM"),
        ({"RequestedProcedurePriority": "ROUTINE", "StudyPriorityID": "HIGH"}, "ROUTINE"),
        ({"RequestedProcedurePriority": "urgent?", "StudyPriorityID": "HIGH"}, "HIGH"),
        ({"RequestedProcedurePriority": "LOW", "RequestAttributesSequence": [request("STAT")]}, "LOW"),
    ],
)
def test_the_priority_of_the_order_is_read_where_modalities_and_archives_put_it(
    elements: dict[str, Any], priority: str, tmp_path: Path
) -> None:
    if "RequestAttributesSequence" in elements:
        elements = {**elements, "RequestAttributesSequence": Sequence(elements["RequestAttributesSequence"])}
    assert read_facts(save(film(**elements), tmp_path)).requested_priority == priority


def test_the_device_and_its_institution_are_kept_as_sent_and_within_bounds(tmp_path: Path) -> None:
    elements: dict[str, Any] = {
        "Manufacturer": "ACME",
        "ManufacturerModelName": "DR 500",
        "StationName": "ROOM1",
        "InstitutionName": "Krankenhaus Köln",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    facts = read_facts(save(film(**elements), tmp_path))
    assert (facts.manufacturer, facts.device_model, facts.station_name) == ("ACME", "DR 500", "ROOM1")
    assert facts.institution == "Krankenhaus Köln"
    hostile = read_facts(save(film(StationName="R" * 400), tmp_path))
    assert hostile.station_name == "R" * 64


def test_a_header_without_a_device_has_empty_texts(tmp_path: Path) -> None:
    ds = film()
    for keyword in ("Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName"):
        if keyword in ds:
            delattr(ds, keyword)
    facts = read_facts(save(ds, tmp_path))
    assert {facts.manufacturer, facts.device_model, facts.station_name, facts.institution} == {""}
