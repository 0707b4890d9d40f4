"""Headers that nobody meant well: whatever the bytes, an answer or a named error, in bounded memory and time, in silence.

``headers.examine`` holds what is promised of every answer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_io.film.picture_file import is_picture
from dicom_io.header.part10 import read_preface
from dicom_io.header.reader import read_facts
from dicom_io.header.walker import Walker
from tests.fuzz.bounded import MIB, bounded
from tests.fuzz.guided import guided
from tests.fuzz.headers import (
    DEFLATED,
    EXPLICIT_LE,
    ITEM_END,
    PREAMBLE,
    SEQUENCE_END,
    STUDY,
    UIDS,
    UNDEFINED,
    element,
    examine,
    item,
    part10,
)
from tests.fuzz.hostile_headers import FILMS, GIANT, SMALL, examine_giant, examine_small, film_of_each
from tests.support.objects import Made

if TYPE_CHECKING:
    from pathlib import Path

#: Processor time; the longest takes a third of it, and the rest nothing to speak of.
pytestmark = pytest.mark.slow

SECONDS_A_HEADER = 8.0
FEW = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ENDS = {"NotDicom", "HeaderUnreadable"}


@pytest.mark.parametrize(("scene", "names"), [(examine_small, list(SMALL)), (examine_giant, list(GIANT))])
def test_no_header_costs_more_than_its_share_of_memory_and_time(scene, names: list[str], tmp_path: Path) -> None:
    ended = bounded(scene, tmp_path, memory=256 * MIB, seconds=len(names) * SECONDS_A_HEADER)
    assert list(ended.value) == names
    assert {name: took for name, (_, took) in ended.value.items() if took > SECONDS_A_HEADER} == {}
    assert ended.printed == ""
    read = {name for name, (how, _) in ended.value.items() if how not in ENDS}
    # A depth or length that nobody wants to read costs nobody the study.
    assert {name for name in names if "unwanted" in name and "open" not in name} <= read
    giants = {"a private value", "private fragments", "native pixels", "a wanted text", "a wanted sequence"}
    assert giants <= read or scene is examine_small


def test_no_film_of_a_hostile_header_costs_more_than_the_largest_film(tmp_path: Path) -> None:
    ended = bounded(film_of_each, tmp_path, memory=768 * MIB, seconds=len(FILMS) * SECONDS_A_HEADER)
    assert list(ended.value) == list(FILMS)
    assert ended.printed == ""


STRANGE = [
    *(b"1e999", b"NaN", b"-inf", b"9" * 70, b"0x10", b"1_0", b"1,5", b"--1", b"\\\\\\", b"1\\2\\3"),
    *(b"20231399", b"00000000", b"99999999", b"2023-02-30", b"20240229235960.999999+1400"),
    *(b"../../etc/passwd", b"1.2.3/../4", b"1." * 40, b"1.2.\0", b".1", b"1..2", b"1.2.3\n", b"\xef\xbc\x91"),
    *(b"<script>alert(1)</script>", b"'; DROP TABLE study;--", b"{{7*7}}", b"%s%n", b"=HYPERLINK(1)", b"${jndi:x}"),
    *(b"\0", b"a\0b", b"\xed\xa0\x80", b"\xff\xfe", b"\x1b[2J", b"\x1b$B", b"\x1b$)C\xfb", b"\xe2\x80\xae"),
    *(b"ISO_IR 192", b"\\ISO 2022 IR 87", b"GB18030", b"unicode_escape", b"006Y", b"999Y", b"-01M", b"CR", b"A" * 5000),
]
TAGS = [
    *(0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080050, 0x00080060, 0x00080068, 0x00080070, 0x00081030),
    *(0x0008103E, 0x00082218, 0x00080100, 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00101010, 0x00180015),
    *(0x00185101, 0x0020000D, 0x0020000E, 0x00200020, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280101),
    *(0x00540220, 0x00020010, 0x00091010, 0x00090010, 0x7FE00010, 0x7FE00008, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0),
]
REPRESENTATIONS = [*b"AE AS AT CS DA DS FL IS LO LT OB OW PN SH SL SQ SS ST TM UC UI UL UN UR US UT ?? ZZ".split(), b""]
lies = st.sampled_from([None, None, None, None, 0, 1, 3, 0xFFFE, 0xFFFFFFFE, UNDEFINED, 0x7FFFFFFF])
values = st.sampled_from(STRANGE) | st.binary(max_size=20)


def elements(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        element, st.sampled_from(TAGS), st.sampled_from(REPRESENTATIONS), content, lies, st.sampled_from("<<<<<>")
    )


def nested(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    ends = st.sampled_from([b"", ITEM_END, SEQUENCE_END])
    items = st.builds(lambda inner, end, length: item(inner + end, length), content, ends, lies)
    several = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(items, max_size=3), ends)
    return elements(values | several)


data_sets = st.lists(st.recursive(elements(values), nested, max_leaves=8), max_size=12).map(b"".join)
starts = st.sampled_from([b"", UIDS + STUDY, UIDS, PREAMBLE, part10(b""), part10(b"", DEFLATED), b"\x08\0"])


@FEW
@given(start=starts, data_set=data_sets, repeated=st.booleans(), cut=st.integers(0, 400))
def test_any_grammar_of_elements_is_read_or_refused_by_name(
    start: bytes, data_set: bytes, repeated: bool, cut: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.dcm"
    data = start + data_set + UIDS + STUDY + (UIDS + STUDY) * repeated
    path.write_bytes(data[: len(data) - cut] if cut % 2 else data)
    examine(path)
    assert capfd.readouterr() == ("", "")


@FEW
@given(
    tag=st.sampled_from(TAGS),
    vr=st.sampled_from(REPRESENTATIONS[:-3]),
    value=values,
    declared=st.sampled_from(STRANGE[-9:]),
)
def test_any_value_in_any_element_costs_no_study(
    tag: int, vr: bytes, value: bytes, declared: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.dcm"
    text = element(0x00080005, b"CS", declared)
    path.write_bytes(part10(text + UIDS + STUDY + element(tag, vr, value)))
    assert examine(path) not in ENDS
    assert read_facts(path).study_uid == "1.2"


@pytest.fixture(scope="module")
def real_files(request: pytest.FixtureRequest) -> list[bytes]:
    """Small files of every kind that the collection has: the tail of a name says which library's quirk it is."""
    folder = request.getfixturevalue("test_data") / "dicom"
    files = sorted(path for path in folder.rglob("*.dcm") if path.stat().st_size < 8000)
    return [path.read_bytes() for path in files[::2]]


@pytest.mark.data
@FEW
@given(data=st.data())
def test_bits_flipped_in_real_files_break_nothing(data: st.DataObject, real_files: list[bytes], tmp_path: Path) -> None:
    content = bytearray(data.draw(st.sampled_from(real_files)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 4))
        kind = data.draw(st.sampled_from(["bit", "length", "swap"]))
        if kind == "bit":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "length":
            content[at : at + 4] = struct.pack("<L", data.draw(st.sampled_from([0, 1, 0xFFFE, 0xFFFFFFFE, UNDEFINED])))
        else:
            content[at : at + 4] = content[at : at + 4][::-1]
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    examine(path)


def boundaries(path: Path) -> list[int]:
    """Where each element begins, where its value does, and one byte into either."""
    with path.open("rb") as file:
        preface = read_preface(file)
        walker = Walker(file, is_implicit=preface.transfer_syntax_uid == "1.2.840.10008.1.2", is_little=True)
        found = [preface.offset]
        for head in walker.heads():
            found.append(file.tell())
            walker.skip(head)
            found.append(file.tell())
    return sorted({at + more for at in found for more in (0, 1, 4, 6, 8)})


def test_a_file_cut_at_any_boundary_says_what_it_still_says(tmp_path: Path) -> None:
    changes = {0x00082218: (b"SQ", item(element(0x00080100, b"SH", b"51185008"))), 0x00100010: (b"PN", b"Doe^Jane")}
    whole = Made(changes=changes).write(tmp_path / "whole.dcm")
    content, facts = whole.read_bytes(), read_facts(whole)
    path = tmp_path / "cut.dcm"
    ends = set()
    for at in [*range(0, 200, 7), *boundaries(whole)]:
        path.write_bytes(content[:at])
        ends.add(examine(path))
        if at > content.index(b"Doe^Jane") + 8:
            assert read_facts(path).patient_name == facts.patient_name
    assert ends > ENDS - {"HeaderUnreadable"}


LOOKS = {
    "empty": (b"", "NotDicom"),
    "the word": (b"DICM", "NotDicom"),
    "nulls": (bytes(128), "NotDicom"),
    "PDF": (b"%PDF-1.7\n" + b"x" * 500, "NotDicom"),
    "TIFF, Intel": (b"II*\0" + bytes(500), "NotDicom"),
    "TIFF, Motorola": (b"MM\0*" + bytes(500), "NotDicom"),
    "HTML": (b"<!DOCTYPE html><script>alert(1)</script>" * 20, "NotDicom"),
    "ZIP": (b"PK\x03\x04" + bytes(500), "NotDicom"),
    "GIF": (b"GIF89a" + bytes(500), "NotDicom"),
    "program": (b"MZ" + bytes(500), "NotDicom"),
    "DICM too early": (bytes(64) + b"DICM" + UIDS + STUDY, "NotDicom"),
    "DICM too late": (bytes(132) + b"DICM" + UIDS + STUDY, "NotDicom"),
    "JSON": (b"{" + b'"00080018":1,' * 50, "NotDicom"),
    # a preamble may be anything, also the head of a TIFF or of a program (PS3.10 7.1)
    "TIFF as preamble": (b"II*\0" + bytes(124) + b"DICM" + UIDS + STUDY, "NO_PIXEL_DATA"),
    "program as preamble": (b"MZ" + b"\x90" * 126 + b"DICM" + UIDS + STUDY, "NO_PIXEL_DATA"),
    "two preambles": (PREAMBLE + PREAMBLE + UIDS + STUDY, "NOT_A_RADIOGRAPH"),
    "preamble alone": (PREAMBLE, "NOT_A_RADIOGRAPH"),
    "bare data set": (UIDS + STUDY, "NO_PIXEL_DATA"),
    "no preamble": (element(0x00020010, b"UI", EXPLICIT_LE.encode() + b"\0") + UIDS + STUDY, "NO_PIXEL_DATA"),
}


@pytest.mark.parametrize(("content", "ended"), LOOKS.values(), ids=LOOKS)
def test_what_only_looks_like_dicom_is_told_apart(content: bytes, ended: str, tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    assert examine(path) == ended


def test_every_reader_takes_the_first_of_two_uids(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(
        part10(UIDS + STUDY + element(0x0020000D, b"UI", b"6.6.6\0") + element(0x00080018, b"UI", b"../x"))
    )
    assert examine(path) == "NO_PIXEL_DATA"
    facts = read_facts(path)
    assert (facts.study_uid, facts.sop_uid) == ("1.2", "1.2.4")


def test_a_text_coded_as_a_sequence_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    inner = item(element(0x00100010, b"PN", b"Doe^Jane"))
    path.write_bytes(
        part10(
            UIDS
            + element(0x00081030, b"SQ", inner)
            + element(0x00100010, b"SQ", inner + SEQUENCE_END, UNDEFINED)
            + STUDY
        )
    )
    facts = read_facts(path)
    assert (facts.study_description, facts.patient_name, facts.study_uid) == ("", "", "1.2")


def test_coverage_guided_bytes_break_nothing(tmp_path: Path) -> None:
    corpus = [made() for name, made in SMALL.items() if "10 deep" in name or "text" in name]
    corpus.append(Made().write(tmp_path / "film").read_bytes())
    guided("fuzz_headers", corpus, tmp_path, runs=4000, longest=2048)


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_a_film_whose_preamble_is_a_pictures_head_is_a_film(start: bytes, tmp_path: Path) -> None:
    film = Made().write(tmp_path / "film.dcm")
    film.write_bytes(start + film.read_bytes()[len(start) :])
    assert not is_picture(film)
    assert read_facts(film).has_pixel_data
    film.write_bytes(start + bytes(400))
    assert is_picture(film)
