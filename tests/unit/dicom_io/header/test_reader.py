"""Reading headers: every coding is read, and damage raises one of two errors or costs only what follows it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.facts import Facts
from dicom_io.header.reader import facts_of, identify, read_facts
from tests.support.films import DX, film, save
from tests.support.raw_elements import raw_element, raw_file

if TYPE_CHECKING:
    from pathlib import Path

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
MARK = "ZZPATIENTZZ"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_header_is_read_in_every_uncompressed_coding(syntax: str, tmp_path: Path) -> None:
    ds = film(
        syntax=syntax,
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jürgen",
        PatientBirthDate="20200229",
        StudyDate="20240229",
        AccessionNumber="A17",
        PatientSex="F",
        StudyDescription="Thorax a.p.",
        NumberOfFrames="1",
    )
    facts = read_facts(save(ds, tmp_path))
    assert facts == Facts(
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        sop_uid="1.2.3.4.5",
        sop_class_uid=DX,
        transfer_syntax_uid=syntax,
        modality="DX",
        body_part="CHEST",
        view_position="AP",
        age_months=36,
        rows=160,
        columns=256,
        patient_id="P1",
        patient_name="Müller^Jürgen",
        patient_birth_date=date(2020, 2, 29),
        patient_sex="F",
        accession_number="A17",
        study_date=date(2024, 2, 29),
        study_description="Thorax a.p.",
    )


def test_the_pixels_are_not_read(tmp_path: Path) -> None:
    path = save(film(np.zeros((2000, 2000), np.uint16)), tmp_path)
    path.write_bytes(path.read_bytes()[:2_000])
    assert read_facts(path).has_pixel_data


def test_facts_in_memory_are_those_of_the_file(tmp_path: Path) -> None:
    ds = film(PatientAge="4Y", ViewPosition="PA")
    assert facts_of(ds) == read_facts(save(ds, tmp_path))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_bare_data_set_is_read_and_its_coding_guessed(syntax: str, tmp_path: Path) -> None:
    path = save(film(syntax=syntax), tmp_path)
    ds = film(syntax=syntax)
    bare = io.BytesIO()
    del ds.file_meta
    ds.save_as(
        bare,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=False,
    )
    headless = tmp_path / "bare"
    headless.write_bytes(bare.getvalue())
    assert read_facts(headless) == read_facts(path)
    assert dataset_sha256(headless) == dataset_sha256(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"%PDF-1.7 and more of it" * 20, b"\0" * 4096, b"\x08\x00" + b"\xff" * 500]
)
def test_a_file_that_is_not_dicom_raises_an_error_that_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises((NotDicom, HeaderUnreadable)):
        read_facts(path)


def test_a_damaged_sequence_makes_the_header_unreadable(tmp_path: Path) -> None:
    broken = b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff" + b"\x00\x11\x22"
    with pytest.raises(HeaderUnreadable):
        read_facts(raw_file(tmp_path, raw_element("SOPClassUID", "UI", DX.encode()), broken))


def test_deep_nesting_makes_the_header_unreadable(tmp_path: Path) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nested = (b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff" + item) * 5_000
    with pytest.raises(HeaderUnreadable):
        read_facts(raw_file(tmp_path, raw_element("SOPClassUID", "UI", DX.encode()), nested))


def test_an_absurdly_long_value_is_left_out(tmp_path: Path) -> None:
    long = b"\x08\x00\x30\x10UT\0\0" + (2 << 20).to_bytes(4, "little") + b"x" * (2 << 20)
    path = raw_file(
        tmp_path, long, raw_element("SOPClassUID", "UI", DX.encode()), raw_element("StudyInstanceUID", "UI", b"1.2.3")
    )
    facts = read_facts(path)
    assert (facts.study_description, facts.sop_class_uid, facts.study_uid) == ("", DX, "1.2.3")


def test_damage_behind_the_uids_costs_the_pixels_and_not_the_study(tmp_path: Path) -> None:
    path = save(film(np.zeros((200, 200), np.uint16)), tmp_path)
    content = path.read_bytes()
    at = content.index(b"\x28\x00\x02\x00")
    path.write_bytes(content[:at] + b"\x21\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + content[at:])
    facts = read_facts(path)
    assert (facts.study_uid, facts.patient_id, facts.has_pixel_data) == ("1.2.3", "P1", False)


def test_a_deflated_bomb_is_cut_off(tmp_path: Path) -> None:
    ds = film(np.zeros((8192, 8192), np.uint16), syntax=DeflatedExplicitVRLittleEndian, ImageComments="0" * 1_000_000)
    path = save(ds, tmp_path)
    assert path.stat().st_size < 300_000
    assert read_facts(path).rows == 8192


@pytest.mark.parametrize(
    "charset",
    ["ISO_IR 6", "ISO_IR 192", "ISO 2022 IR 87", "NONSENSE", "ISO_IR 100\\ISO_IR 192", "\\ISO 2022 IR 13", MARK],
)
@pytest.mark.parametrize(
    "name", [b"\xff\xfe\x80", b"M\xc3\xbcller", b"\x1b$B;3ED\x1b(B", b"\x1b$(X", b"a\0b\x07\x1bc", b"\xed\xa0\x80"]
)
def test_text_in_any_character_set_becomes_clean_unicode(charset: str, name: bytes, tmp_path: Path) -> None:
    path = raw_file(
        tmp_path,
        raw_element("SpecificCharacterSet", "CS", charset.encode()),
        raw_element("SOPClassUID", "UI", DX.encode()),
        raw_element("PatientName", "PN", name),
    )
    text = read_facts(path).patient_name
    assert "\0" not in text
    assert text == text.encode("utf-8").decode("utf-8")
    assert all(char.isprintable() for char in text)


def test_text_without_a_character_set_is_utf8_if_it_can_be(tmp_path: Path) -> None:
    elements = [raw_element("SOPClassUID", "UI", DX.encode()), raw_element("PatientName", "PN", "Łukasz".encode())]
    assert read_facts(raw_file(tmp_path, *elements)).patient_name == "Łukasz"
    elements[1] = raw_element("PatientName", "PN", "Jörg".encode("latin-1"))
    assert read_facts(raw_file(tmp_path, *elements)).patient_name == "Jörg"


def test_a_name_in_any_other_element_gets_nowhere_but_the_patients_fields(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    marked = {
        **dict.fromkeys(("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), "UI"),
        **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate"), "DA"),
        **dict.fromkeys(
            ("BodyPartExamined", "ViewPosition", "PatientSex", "Modality", "PhotometricInterpretation"), "CS"
        ),
        **dict.fromkeys(("PatientOrientation", "PresentationIntentType"), "CS"),
        "PatientAge": "AS",
        "NumberOfFrames": "IS",
    }
    elements = [raw_element(keyword, vr, f"{MARK}^Jane".encode()) for keyword, vr in marked.items()]
    path = raw_file(tmp_path, *elements)
    # even where a user has asked Python for every warning
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = read_facts(path)
        identify(path.read_bytes()[path.read_bytes().index(b"\x08\x00", 132) :], ExplicitVRLittleEndian)
    assert MARK not in repr(dataclasses.asdict(facts))
    assert MARK not in caplog.text
    assert MARK not in "".join(capfd.readouterr())
    assert not caught
    assert facts.body_part == ""


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_identify_reads_the_uids_of_an_encoded_data_set(syntax: str, tmp_path: Path) -> None:
    data = save(film(syntax=syntax), tmp_path).read_bytes()
    meta_length = int.from_bytes(data[140:144], "little")
    identity = identify(memoryview(data)[144 + meta_length :], syntax)
    assert (identity.study_uid, identity.series_uid, identity.sop_uid, identity.sop_class_uid) == (
        "1.2.3",
        "1.2.3.4",
        "1.2.3.4.5",
        DX,
    )


def test_identify_gives_nothing_for_an_invalid_uid() -> None:
    data = raw_element("SOPInstanceUID", "UI", b"../evil") + raw_element("StudyInstanceUID", "UI", b"1.2")
    identity = identify(data, ExplicitVRLittleEndian)
    assert (identity.sop_uid, identity.study_uid) == ("", "1.2")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_identify_but_by_its_own_error(data: bytes) -> None:
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        try:
            identify(data, syntax)
        except HeaderUnreadable:
            continue


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_breaks_the_reader_but_by_its_own_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = save(film(PatientBirthDate="20200101", StudyDate="20240101"), tmp_path_factory.mktemp("damage"))
    content = bytearray(path.read_bytes()[:900])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    with contextlib.suppress(NotDicom, HeaderUnreadable):
        read_facts(path)


@pytest.mark.data
def test_every_file_of_the_collection_is_read_or_raises_not_dicom(test_data: Path) -> None:
    unread = []
    for path in sorted((test_data / "dicom").rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".tsv"):
            try:
                facts = read_facts(path)
                assert len(dataset_sha256(path)) == 64
                assert "\0" not in repr(facts)
            except (NotDicom, HeaderUnreadable) as error:
                unread.append((path.name, type(error).__name__))
    assert unread == [("src__pydicom__data__test_files__no_meta.dcm", "NotDicom")]
