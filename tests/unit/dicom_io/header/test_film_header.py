"""The hash of what a film depends on: names may change, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_io.film import greyscale, luts, shutter
from dicom_io.header.digests import LEFT_OUT, LEFT_OUT_GROUPS, Digests
from dicom_io.header.reader import read_object
from dicom_io.pixels import pixel_header
from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

CORRECTED: dict[str, Any] = {
    "PatientID": "another",
    "PatientName": "Müller^Änne",
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientBirthDate": "20200103",
    "IssuerOfPatientID": "HOSPITAL",
    "AccessionNumber": "A7",
    "StudyDescription": "CHEST PA",
    "ReferringPhysicianName": "B",
    "StudyID": "9",
    "InstitutionName": "C",
}
#: What makes another film, or may.
CHANGED: dict[str, Any] = {
    "WindowCenter": "500",
    "WindowWidth": "900",
    "RescaleSlope": "2",
    "RescaleIntercept": "-5",
    "PhotometricInterpretation": "MONOCHROME1",
    "BitsStored": 11,
    "PresentationLUTShape": "INVERSE",
    "SeriesDescription": "lateral",
    "ViewPosition": "LL",
    "SeriesInstanceUID": "1.2.3.9",
    "ShutterShape": "CIRCULAR",
    "PixelPaddingValue": 3,
    "Manufacturer": "D",
    "ImageType": ["DERIVED", "PRIMARY"],
}


def hashed(ds: Dataset, folder: Path, name: str = "film.dcm") -> Digests:
    return read_object(save(ds, folder, name))[1]


def test_a_corrected_name_keeps_the_hash(tmp_path: Path) -> None:
    before = hashed(film(), tmp_path)
    after = hashed(film(**CORRECTED), tmp_path)
    assert before.film_header == after.film_header
    assert len(before.film_header) == 64
    assert before.pixels == after.pixels
    assert before.dataset != after.dataset


@pytest.mark.parametrize("keyword", CHANGED)
def test_anything_else_changes_it(tmp_path: Path, keyword: str) -> None:
    before = film()
    after = film(**{keyword: CHANGED[keyword]})
    assert hashed(before, tmp_path).film_header != hashed(after, tmp_path).film_header


def test_what_follows_the_pixels_and_private_elements_count(tmp_path: Path) -> None:
    before = hashed(film(), tmp_path).film_header
    padded, private = film(), film()
    padded.DataSetTrailingPadding = bytes(8)
    private.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "sharpened")
    assert len({before, hashed(padded, tmp_path).film_header, hashed(private, tmp_path).film_header}) == 3


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_coding_counts(tmp_path: Path, syntax: str) -> None:
    assert hashed(film(), tmp_path).film_header != hashed(film(syntax=syntax), tmp_path, "other.dcm").film_header != ""


def test_a_film_that_cannot_be_told_has_no_hash(tmp_path: Path) -> None:
    without = film()
    del without.PixelData
    long = film()
    long.ImageComments = "x" * 10_000
    long.private_block(0x0011, "MAKER", create=True).add_new(1, "OB", bytes(2 << 20))
    assert hashed(without, tmp_path).film_header == ""
    assert hashed(long, tmp_path).film_header == ""
    assert hashed(film(syntax=DeflatedExplicitVRLittleEndian), tmp_path).film_header == ""


def test_no_step_to_the_film_reads_what_is_left_out() -> None:
    read = {
        value
        for module in (greyscale, luts, shutter, pixel_header)
        for value in vars(module).values()
        if isinstance(value, int) and value > 0xFFFF
    }
    assert len(read) > 20
    assert not read & LEFT_OUT
    assert not {tag >> 16 for tag in read} & LEFT_OUT_GROUPS
    assert [field.name for field in fields(Digests)] == ["dataset", "pixels", "film_header"]
