"""The hashes of a data set and of its pixels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicom_io.header.digests import RunningDigests, dataset_sha256
from dicom_io.header.reader import pixels_sha256, read_facts, read_object
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
    assert digests.pixels == f"blake3:{blake3(ds.PixelData).digest(length=28).hex()}"
    assert len(digests.pixels) < 64
    ds.PatientID, ds.IssuerOfPatientID = "P2", "HOSPITAL"
    facts, corrected = read_object(save(ds, tmp_path, "two.dcm"))
    assert (facts.patient_id, facts.issuer_of_patient_id) == ("P2", "HOSPITAL")
    assert corrected.dataset != digests.dataset
    assert corrected.pixels == digests.pixels
    ds.PixelData = bytes(len(ds.PixelData))
    assert read_object(save(ds, tmp_path, "three.dcm"))[1].pixels != digests.pixels
    del ds.PixelData
    assert read_object(save(ds, tmp_path, "four.dcm"))[1].pixels == ""


def test_pixels_are_hashed_alike_in_any_parts() -> None:
    data = bytes(range(256)) * 4096
    pixels = f"blake3:{blake3(data[300:500_300]).digest(length=28).hex()}"
    for step in (99, 4096, 128 << 10, len(data)):
        running = RunningDigests(300, 500_000)
        for at in range(0, len(data), step):
            running.update(memoryview(data)[at : at + step])
        found = running.result()
        assert (found.dataset, found.pixels) == (hashlib.sha256(data).hexdigest(), pixels)


@pytest.mark.parametrize("is_encapsulated", [False, True])
def test_the_hash_of_before_covers_the_same_bytes(tmp_path: Path, is_encapsulated: bool) -> None:
    ds = film()
    if is_encapsulated:
        ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
        ds.PixelData = encapsulate([bytes(5000)])
        ds["PixelData"].is_undefined_length = True
    path = save(ds, tmp_path, "one.dcm")
    content = path.read_bytes()
    value = content[content.rindex(b"\xe0\x7f\x10\0O") + 12 :]
    assert pixels_sha256(path) == hashlib.sha256(value).hexdigest()
    assert read_object(path)[1].pixels == f"blake3:{blake3(value).digest(length=28).hex()}"
    del ds.PixelData
    assert pixels_sha256(save(ds, tmp_path, "two.dcm")) == ""
