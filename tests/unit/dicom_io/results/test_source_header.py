"""What is repeated of a film's header is clean, and in a character set that can say it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from dicom_io.results.objects import file_bytes
from dicom_io.results.report import make_report
from dicom_io.results.source_header import UTF_8, read_source_header
from tests.support.films import film, save
from tests.support.results import a_result, a_source

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset


def again(name: str, charset: object) -> Dataset:
    """A report about this patient, written and read again."""
    ds = make_report(a_result(), a_source(PatientName=name, SpecificCharacterSet=charset))
    return dcmread(BytesIO(bytes(file_bytes(ds))))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "M\u00fcller^J\u00fcrgen"),
        ("ISO_IR 144", "\u041b\u044e\u043ack\u0451\u0432^\u0410"),
        ("ISO_IR 192", "\u738b^\u5c0f\u660e"),
        ("GB18030", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"),
    ],
)
def test_the_character_set_of_the_film_is_kept(charset: object, name: str) -> None:
    ds = again(name, charset)
    assert str(ds.PatientName) == name
    found = ds.SpecificCharacterSet
    assert (list(found) if not isinstance(found, str) else found) == charset


@pytest.mark.parametrize("charset", ["ISO_IR 100", None, "", "ISO_IR 6", "NONSENSE"])
def test_what_the_declared_set_cannot_say_is_written_in_utf_8(charset: str | None) -> None:
    ds = again("\u738b^\u5c0f\u660e", charset)
    assert (ds.SpecificCharacterSet, str(ds.PatientName)) == (UTF_8, "\u738b^\u5c0f\u660e")


def test_plain_ascii_needs_no_character_set() -> None:
    assert "SpecificCharacterSet" not in again("Doe^Jane", None)


def test_values_that_an_attribute_may_not_have_are_left_empty() -> None:
    source = a_source(
        StudyDate="2026.11.28", StudyTime="noon", PatientSex="male", PatientAge="3", PatientBirthDate=None
    )
    made = source.patient_and_study
    assert (made.StudyDate, made.StudyTime, made.PatientSex, made.PatientBirthDate) == ("", "", "", "")
    assert "PatientAge" not in made


def test_long_and_hostile_texts_are_cut_and_cleaned() -> None:
    made = a_source(AccessionNumber="A" * 40, StudyDescription="chest\x1b[31m").patient_and_study
    assert made.AccessionNumber == "A" * 16
    assert "\x1b" not in made.StudyDescription


def test_a_film_is_read_without_its_pixels(tmp_path: Path) -> None:
    path = save(film(LossyImageCompression="01", Manufacturer="Maker"), tmp_path)
    source = read_source_header(path)
    assert source.is_lossy
    assert source.equipment == {"Manufacturer": "Maker"}
    assert source.patient_and_study.PatientID == "P1"
    assert "PixelData" not in source.patient_and_study
