"""The hashes of a data set and of its pixels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dicom_io.header.digests import dataset_sha256
from dicom_io.header.reader import read_facts, read_object
from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path


def test_the_hash_is_over_the_data_set_alone(tmp_path: Path) -> None:
    ds = film()
    first = save(ds, tmp_path, "one.dcm")
    ds.file_meta.SourceApplicationEntityTitle = "OTHER"
    ds.preamble = b"x" * 128
    second = save(ds, tmp_path, "two.dcm")
    assert first.read_bytes() != second.read_bytes()
    assert dataset_sha256(first) == dataset_sha256(second)
    ds.PatientID = "P2"
    assert dataset_sha256(save(ds, tmp_path, "three.dcm")) != dataset_sha256(first)


def test_the_pixels_have_a_hash_of_their_own_whatever_the_header_and_its_coding(tmp_path: Path) -> None:
    ds = film()
    facts, digests = read_object(save(ds, tmp_path, "one.dcm"))
    assert (facts, digests.dataset) == (read_facts(tmp_path / "one.dcm"), dataset_sha256(tmp_path / "one.dcm"))
    assert digests.pixels == hashlib.sha256(ds.PixelData).hexdigest()
    ds.PatientID, ds.IssuerOfPatientID = "P2", "HOSPITAL"
    facts, corrected = read_object(save(ds, tmp_path, "two.dcm"))
    assert (facts.patient_id, facts.issuer_of_patient_id) == ("P2", "HOSPITAL")
    assert corrected.dataset != digests.dataset
    assert corrected.pixels == digests.pixels
    ds.PixelData = bytes(len(ds.PixelData))
    assert read_object(save(ds, tmp_path, "three.dcm"))[1].pixels != digests.pixels
    del ds.PixelData
    assert read_object(save(ds, tmp_path, "four.dcm"))[1].pixels == ""
