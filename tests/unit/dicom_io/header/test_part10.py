"""Where a data set begins, and which file meta information counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.errors import HeaderUnreadable
from dicom_io.film.film import film_of_dicom
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.part10 import data_set_offset, read_preface
from dicom_io.header.reader import read_facts
from tests.support.films import film, ramp, save
from tests.support.raw_elements import raw_element

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("at", ["after the meta", "with a length that lies", "a second meta", "a command set"])
def test_the_first_file_meta_information_counts(at: str, tmp_path: Path) -> None:
    ds = film(ramp(), BitsStored=12)
    ds.file_meta.SendingApplicationEntityTitle = "PACS"
    clean = save(ds, tmp_path, "clean.dcm")
    with clean.open("rb") as file:
        begin = read_preface(file).offset
    head, data = clean.read_bytes()[:begin], clean.read_bytes()[begin:]
    forged = (
        raw_element("TransferSyntaxUID", "UI", b"1.2.840.10008.1.2.4.100")
        + raw_element("SourceApplicationEntityTitle", "AE", b"OTHERPACS")
        + raw_element("SendingApplicationEntityTitle", "AE", b"OTHERPACS")
    )
    length = raw_element("FileMetaInformationGroupLength", "UL", len(forged).to_bytes(4, "little"))
    whole = {
        "after the meta": head + forged + data,
        "with a length that lies": head[:140] + b"\x07\0\0\0" + head[144:] + forged + data,
        "a second meta": head + length + forged + data,
        "a command set": head + bytes.fromhex("0000 1001 02000000 0100") + data,
    }
    bent = tmp_path / "bent.dcm"
    bent.write_bytes(whole[at])
    assert read_facts(bent) == read_facts(clean)
    assert dataset_sha256(bent) == dataset_sha256(clean)
    assert np.array_equal(film_of_dicom(bent).pixels, film_of_dicom(clean).pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("before", ["", "explicit", "implicit", "a whole file", "a command set"])
def test_the_offset_skips_everything_before_the_data_set(before: str, syntax: str, tmp_path: Path) -> None:
    explicit = raw_element("TransferSyntaxUID", "UI", b"1.2.840.10008.1.2.4.100")
    prefix = {
        "": b"",
        "explicit": explicit,
        "implicit": bytes.fromhex("0200 1000 02000000 312e"),
        "a whole file": bytes(128) + b"DICM" + explicit,
        "a command set": bytes.fromhex("0000 1001 02000000 0100"),
    }[before]
    with save(film(syntax=syntax), tmp_path).open("rb") as file:
        read_preface(file)
        data = file.read()
    assert data_set_offset(prefix + data, syntax) == len(prefix)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_data_set_that_keeps_file_meta_information_at_its_start_is_unreadable(syntax: str) -> None:
    deflated_or_endless = bytes.fromhex("0200 1000 ffffffff") + bytes(200)
    with pytest.raises(HeaderUnreadable):
        data_set_offset(deflated_or_endless, syntax)
