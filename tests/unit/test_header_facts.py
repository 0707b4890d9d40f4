"""Facts from headers of every kind: what they say when all is well, and that nothing in them breaks the reader."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import logging
import warnings
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.clean import clean_text
from dicom_io.elements import valid_uid
from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.facts import Facts
from dicom_io.film import film_of_dicom
from dicom_io.header import dataset_sha256, facts_of, identify, read_facts, read_object
from dicom_io.part10 import data_set_offset, read_preface
from tests.films import DX, film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
MARK = "ZZPATIENTZZ"


def raw(keyword: str, vr: str, value: bytes) -> bytes:
    """One element, Explicit VR Little Endian, with any bytes for its value."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None
    value += b" " * (len(value) % 2)
    return (
        tag.to_bytes(4, "little")[2:]
        + tag.to_bytes(4, "little")[:2]
        + vr.encode()
        + len(value).to_bytes(2, "little")
        + value
    )


def raw_file(folder: Path, *elements: bytes) -> Path:
    """A DICOM file around elements written by hand, in order of their tags."""
    path = save(film(PixelData=None, Rows=None), folder)
    meta_and_more = path.read_bytes()
    end = meta_and_more.index(b"\x08\x00", 132)
    in_order = sorted(elements, key=_tag_of)
    path.write_bytes(meta_and_more[:end] + b"".join(in_order))
    return path


def _tag_of(element: bytes) -> tuple[int, int]:
    return int.from_bytes(element[:2], "little"), int.from_bytes(element[2:4], "little")


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
        Manufacturer="ACME",
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
        patient_age="003Y",
        rows=160,
        columns=256,
        bits_stored=16,
        patient_id="P1",
        patient_name="Müller^Jürgen",
        patient_birth_date=date(2020, 2, 29),
        patient_sex="F",
        accession_number="A17",
        study_date=date(2024, 2, 29),
        study_description="Thorax a.p.",
        manufacturer="ACME",
        photometric_interpretation="MONOCHROME2",
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
def test_what_is_no_dicom_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises((NotDicom, HeaderUnreadable)):
        read_facts(path)


def test_a_damaged_sequence_makes_the_header_unreadable(tmp_path: Path) -> None:
    broken = b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff" + b"\x00\x11\x22"
    with pytest.raises(HeaderUnreadable):
        read_facts(raw_file(tmp_path, raw("SOPClassUID", "UI", DX.encode()), broken))


def test_deep_nesting_makes_the_header_unreadable(tmp_path: Path) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nested = (b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff" + item) * 5_000
    with pytest.raises(HeaderUnreadable):
        read_facts(raw_file(tmp_path, raw("SOPClassUID", "UI", DX.encode()), nested))


def test_an_absurdly_long_value_is_left_out(tmp_path: Path) -> None:
    long = b"\x08\x00\x30\x10UT\0\0" + (2 << 20).to_bytes(4, "little") + b"x" * (2 << 20)
    path = raw_file(tmp_path, long, raw("SOPClassUID", "UI", DX.encode()), raw("StudyInstanceUID", "UI", b"1.2.3"))
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
        raw("SpecificCharacterSet", "CS", charset.encode()),
        raw("SOPClassUID", "UI", DX.encode()),
        raw("PatientName", "PN", name),
    )
    text = read_facts(path).patient_name
    assert "\0" not in text
    assert text == text.encode("utf-8").decode("utf-8")
    assert all(char.isprintable() for char in text)


def test_text_without_a_character_set_is_utf8_if_it_can_be(tmp_path: Path) -> None:
    elements = [raw("SOPClassUID", "UI", DX.encode()), raw("PatientName", "PN", "Łukasz".encode())]
    assert read_facts(raw_file(tmp_path, *elements)).patient_name == "Łukasz"
    elements[1] = raw("PatientName", "PN", "Jörg".encode("latin-1"))
    assert read_facts(raw_file(tmp_path, *elements)).patient_name == "Jörg"


@settings(deadline=None)
@given(st.text(max_size=400), st.integers(1, 320))
def test_clean_text_is_bounded_and_holds_nothing_a_database_refuses(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert len(clean) <= limit
    assert "\0" not in clean
    clean.encode("utf-8")


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008", "0.00.1", "1.02.3", "9" * 64])
def test_a_uid_of_digits_and_dots_is_valid(uid: str) -> None:
    assert valid_uid(uid)


@pytest.mark.parametrize("uid", ["", ".", "1.", ".1", "1..2", "1.2.a", "../evil", "1.2\n", "1" * 65, "1.2 ", "１.２"])
def test_anything_else_is_no_uid(uid: str) -> None:
    assert not valid_uid(uid)


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
    elements = [raw(keyword, vr, f"{MARK}^Jane".encode()) for keyword, vr in marked.items()]
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
def test_the_region_code_stands_in_for_a_missing_body_part(code: str, body_part: str, tmp_path: Path) -> None:
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
def test_the_view_code_stands_in_for_a_missing_view(code: str, view: str, tmp_path: Path) -> None:
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
    ds.file_meta.ReceivingApplicationEntityTitle = "AUSCULT"
    ds.file_meta.add_new(0x00020026, "UR", "dicom://10.0.0.7:104")
    facts = read_facts(save(ds, tmp_path))
    assert (facts.calling_aet, facts.receiving_aet, facts.peer) == ("CT_ROOM", "AUSCULT", "dicom://10.0.0.7:104")


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
    data = raw("SOPInstanceUID", "UI", b"../evil") + raw("StudyInstanceUID", "UI", b"1.2")
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


@pytest.mark.parametrize("at", ["after the meta", "with a length that lies", "a second meta", "a command set"])
def test_the_first_file_meta_information_counts(at: str, tmp_path: Path) -> None:
    ds = film(ramp(), BitsStored=12)
    ds.file_meta.SendingApplicationEntityTitle = "PACS"
    clean = save(ds, tmp_path, "clean.dcm")
    with clean.open("rb") as file:
        begin = read_preface(file).offset
    head, data = clean.read_bytes()[:begin], clean.read_bytes()[begin:]
    forged = (
        raw("TransferSyntaxUID", "UI", b"1.2.840.10008.1.2.4.100")
        + raw("SourceApplicationEntityTitle", "AE", b"OTHERPACS")
        + raw("SendingApplicationEntityTitle", "AE", b"OTHERPACS")
    )
    length = raw("FileMetaInformationGroupLength", "UL", len(forged).to_bytes(4, "little"))
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
def test_a_data_set_begins_behind_what_is_no_part_of_it(before: str, syntax: str, tmp_path: Path) -> None:
    explicit = raw("TransferSyntaxUID", "UI", b"1.2.840.10008.1.2.4.100")
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


@pytest.mark.data
def test_every_file_of_the_collection_is_read_or_said_to_be_no_dicom(test_data: Path) -> None:
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
