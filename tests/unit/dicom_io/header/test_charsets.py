"""Names in every character set of the standard, and in codings that contradict the declaration."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.clean import clean_text
from dicom_io.header.charsets import declared_sets
from dicom_io.header.elements import Elements
from dicom_io.header.part10 import parse, read_preface
from dicom_io.header.reader import read_facts
from tests.support.objects import Made

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

EXPLICIT_LE = "1.2.840.10008.1.2.1"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
# PS3.5 H.3.1, H.3.2, I.2, K.1
H31 = (
    b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
)
I2 = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
K1 = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="

STANDARD = [
    ("", b"Doe^Jane", "Doe^Jane"),
    ("ISO_IR 100", b"\xc4neas^R\xfcdiger", "Äneas^Rüdiger"),
    ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    ("ISO_IR 101", "Wałęsa^Żółć".encode("iso8859_2"), "Wałęsa^Żółć"),
    ("ISO_IR 109", "Ġużè^Ħal Għaxaq".encode("iso8859_3"), "Ġużè^Ħal Għaxaq"),
    ("ISO_IR 110", "Kārlis^Bērziņš".encode("iso8859_4"), "Kārlis^Bērziņš"),
    ("ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
    ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    ("ISO_IR 148", "Çavuşoğlu^İsmail".encode("iso8859_9"), "Çavuşoğlu^İsmail"),
    ("ISO_IR 203", "Lœuvre^Zoé€".encode("iso8859_15"), "Lœuvre^Zoé€"),
    ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("ISO_IR 166", "นามสกุล^ชื่อ".encode("tis_620"), "นามสกุล^ชื่อ"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
    ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    ("GB18030", "𠀀𠮷^ḿ".encode("gb18030"), "𠀀𠮷^ḿ"),
    ("GBK", "王^小東".encode("gbk"), "王^小東"),
    # in GBK the second byte of a character may be that of a delimiter: 乗 is 81 5C
    ("GBK", "乗乣^小".encode("gbk"), "乗乣^小"),
    ("\\ISO 2022 IR 87", H31[0], JAPANESE),
    ("ISO 2022 IR 6\\ISO 2022 IR 87", H31[0], JAPANESE),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", H31[1], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ("\\ISO 2022 IR 87\\ISO 2022 IR 159", b"\x1b$(D\x30\x21\x1b(B^\x1b$B;3\x1b(B", "丂^山"),
    ("\\ISO 2022 IR 149", I2, KOREAN),
    ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8\xc8\xf1\xc1\xdf\x1b(B ", "김희중"),
    ("\\ISO 2022 IR 58", K1, "Zhang^XiaoDong=张^小东="),
    # the set that an escape puts in ends at the delimiter: the é behind ^ is Latin-1 again
    ("ISO 2022 IR 100\\ISO 2022 IR 126", b"\xc9mile=\x1b-F\xc4\xe9\xef^Zo\xe9", "Émile=Διο^Zoé"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"Buc^J\xe9r\xf4me=\x1b-L\xbb\xee\xda=", "Buc^Jérôme=Люк="),
    *[
        (f"ISO 2022 IR 6\\ISO 2022 IR {number}", b"\x1b-" + final + text.encode(codec), text)
        for number, final, codec, text in (
            (100, b"A", "latin_1", "Jérôme"),
            (101, b"B", "iso8859_2", "Żółć"),
            (109, b"C", "iso8859_3", "Ħal"),
            (110, b"D", "iso8859_4", "Bērziņš"),
            (144, b"L", "iso8859_5", "Люк"),
            (127, b"G", "iso8859_6", "قباني"),
            (126, b"F", "iso8859_7", "Διονυσιος"),
            (138, b"H", "iso8859_8", "שרון"),
            (148, b"M", "iso8859_9", "Çavuş"),
            (203, b"b", "iso8859_15", "Lœuvre"),
            (166, b"T", "tis_620", "ชื่อ"),
        )
    ],
    ("\\ISO 2022 IR 13", b"\x1b)I\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
]

WRONG = [
    # the term is misspelt
    *[
        (term, b"J\xe9r\xf4me", "Jérôme")
        for term in ("iso_ir 100", "ISO-IR 100", "ISO IR 100", "ISO_IR_100", "ISOIR100")
    ],
    *[(term, "Łukasz^小".encode(), "Łukasz^小") for term in ("UTF8", "utf-8", "ISO_IR_192", "ISO IR 192", "ISO_IR192")],
    *[(term, b"\xbb\xee\xda", "Люк") for term in ("ISO 8859-5", "iso-8859-5", "ISO_2022_IR_144", "ISO 2022-IR 144")],
    ("WINDOWS-1251", "Иванов".encode("cp1251"), "Иванов"),
    ("SHIFT_JIS", "山田^太郎".encode("cp932"), "山田^太郎"),
    ("iso 2022 ir 6\\iso 2022 ir 87", H31[0], JAPANESE),
    # the term means nothing, or there is none
    *[(term, "Müller".encode(), "Müller") for term in ("", "ISO_IR 6", "NONSENSE", "punycode", "unicode_escape", "\\")],
    *[(term, b"M\xfcller", "Müller") for term in ("", "ISO_IR 6", "NONSENSE", "idna", "ISO_IR 999", "\\" * 40)],
    ("", "Łukasz^小".encode(), "Łukasz^小"),
    # it is UTF-8 whatever is declared
    *[
        (term, name.encode(), name)
        for term in ("ISO_IR 100", "ISO_IR 101", "ISO_IR 148", "ISO 2022 IR 6\\ISO 2022 IR 100", "ISO_IR 203")
        for name in ("Müller^Jürgen", "Jesús^São", "Růžička", "Łukasz", "王^小東", "ÄÖÜ", "Иванов")
    ],
    *[(term, "王^小東".encode(), "王^小東") for term in ("GB18030", "GBK", "ISO_IR 13", "\\ISO 2022 IR 58")],
    *[(term, "山田^太郎".encode(), "山田^太郎") for term in ("ISO_IR 13", "ISO 2022 IR 13\\ISO 2022 IR 87")],
    ("\\ISO 2022 IR 149", "홍^길동".encode(), "홍^길동"),
    ("ISO_IR 144", "Иванов^Анна".encode(), "Иванов^Анна"),
    ("ISO_IR 166", "ชื่อ".encode(), "ชื่อ"),
    # bytes that happen to be valid UTF-8, but are what is declared
    ("ISO_IR 101", "LÍŠKA".encode("iso8859_2"), "LÍŠKA"),
    ("ISO_IR 166", "รถ".encode("tis_620"), "รถ"),
    ("ISO_IR 13", b"\xd4\xbd", "ﾔｽ"),
    ("GB18030", "模".encode("gb18030"), "模"),
    # another code page than declared
    ("ISO_IR 192", b"J\xf6rg", "Jörg"),
    ("ISO_IR 100", b"O\x92Neill^\x8aimon", "O’Neill^Šimon"),
    ("ISO_IR 101", b"\x8cwi\xb9tek", "Świątek"),
    ("ISO_IR 13", "山田^太郎".encode("cp932"), "山田^太郎"),
    ("ISO 2022 IR 6\\ISO 2022 IR 87", "山田".encode("cp932"), "山田"),
    # code extensions without an escape, an escape without a declaration
    ("\\ISO 2022 IR 149", "홍^길동".encode("euc_kr"), "홍^길동"),
    ("ISO 2022 IR 149", "홍^길동".encode("euc_kr"), "홍^길동"),
    ("\\ISO 2022 IR 58", "张^小东".encode("gb2312"), "张^小东"),
    ("ISO 2022 IR 6\\ISO 2022 IR 144", b"\xbb\xee\xda", "Люк"),
    *[(term, H31[0], JAPANESE) for term in ("", "ISO_IR 100", "ISO_IR 192", "NONSENSE")],
    ("ISO_IR 100", I2, KOREAN),
    # declared twice, or what cannot be together
    ("ISO_IR 192\\ISO_IR 100", "小東".encode(), "小東"),
    ("ISO_IR 100\\ISO_IR 192", "小東".encode(), "小東"),
    ("ISO_IR 100\\ISO_IR 100", b"J\xe9r\xf4me", "Jérôme"),
    # cut by a length limit
    ("ISO_IR 192", "小東".encode()[:-1], "小"),
    ("", "Zoé^小東".encode()[:-2], "Zoé^小"),
    ("GB18030", "小东".encode("gb18030")[:-1], "小"),
    ("\\ISO 2022 IR 87", b"\x1b$B;3E", "山"),
    ("\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(", "Yamada=山田"),
    ("\\ISO 2022 IR 87", b"Yamada\x1b", "Yamada"),
    ("ISO_IR 100", "José".encode("latin-1"), "José"),
    ("", "José".encode("latin-1"), "José"),
    # a damaged character
    ("ISO_IR 192", "王^小".encode() + b"\xff^Li", "王^小\ufffd^Li"),
    ("\\ISO 2022 IR 87", b"A^\x1b$B\x7e\x7e\x1b(B^B", "A^\ufffd\ufffd^B"),
]


def name_of(declared: str, value: bytes) -> str:
    """The name as it goes to the database."""
    return clean_text(declared_sets(declared).decode(value, b"^=\\"), 320)


@pytest.mark.parametrize(("declared", "value", "name"), STANDARD)
def test_a_name_is_read_by_the_set_it_is_declared_in(declared: str, value: bytes, name: str) -> None:
    assert name_of(declared, value) == name


@pytest.mark.parametrize(("declared", "value", "name"), WRONG)
def test_a_name_survives_a_wrong_declaration(declared: str, value: bytes, name: str) -> None:
    assert name_of(declared, value) == name


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Jo\u0301se\u0301", "Jósé"),
        ("홍", "홍"),
        # ideographs that NFC would replace: a name is written with this one
        ("\ufa19\u795e\uf914", "\ufa19\u795e\uf914"),
        ("山田\u3000太郎", "山田\u3000太郎"),
        ("Doe\u202egnp.exe\u202c\u2066x\u2069", "Doegnp.exex"),
        ("a\u00a0b\u2028c\x85d\te", "a b c d e"),
        ("\ufeffX\u200b\u00adY\U000e0041", "XY"),
        ("نامه\u200cها", "نامه\u200cها"),
        ("a\ud800\ufffe\ufdd0\0\x1b[31mb", "a[31mb"),
        ("\U000323af", "\U000323af"),
    ],
)
def test_text_is_composed_and_holds_nothing_invisible(text: str, clean: str) -> None:
    assert clean_text(text, 320) == clean


def test_an_item_inherits_its_sets_and_may_declare_its_own() -> None:
    def element(tag: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value

    def item(*elements: bytes) -> bytes:
        body = b"".join(elements)
        return struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body

    meaning = 0x00080104
    items = item(element(meaning, b"LO", b"\xbb\xee")) + item(
        element(0x00080005, b"CS", b"ISO_IR 126"), element(meaning, b"LO", b"\xc4\xe9")
    )
    sequence = struct.pack("<HH2sHL", 0x0008, 0x2218, b"SQ", 0, len(items)) + items
    ds = parse_bytes(element(0x00080005, b"CS", b"ISO_IR 144") + sequence)
    assert [each.text(meaning, 64) for each in Elements(ds).items(0x00082218)] == ["Лю", "Δι"]


def parse_bytes(data: bytes) -> Dataset:
    return parse(io.BytesIO(data), EXPLICIT_LE, stop_when=lambda *_: False)


def test_identifiers_in_ascii_are_kept_as_they_are(tmp_path: Path) -> None:
    changes = {
        0x00080005: (b"CS", b"\\ISO 2022 IR 87"),
        0x00100020: (b"LO", b"0012-Ab^3=4~|"),
        0x00080050: (b"SH", b"A/17 [x]"),
    }
    facts = read_facts(Made(changes=changes).write(tmp_path / "a.dcm"))
    assert (facts.patient_id, facts.accession_number) == ("0012-Ab^3=4~|", "A/17 [x]")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(st.sampled_from([declared for declared, _, _ in (*STANDARD, *WRONG)]), max_size=3).map("\\".join),
    st.lists(st.sampled_from([value for _, value, _ in (*STANDARD, *WRONG)]) | st.binary(max_size=9), max_size=4).map(
        b"".join
    ),
)
def test_any_bytes_under_any_declaration_become_clean_text(declared: str, value: bytes) -> None:
    name = name_of(declared, value)
    assert name == name.encode().decode()
    assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in name)
    if value.isascii() and b"\x1b" not in value:
        assert name == clean_text(value.decode("ascii"), 320)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("charset_files__chrArab", "قباني^لنزار"),
        ("charset_files__chrFren", "Buc^Jérôme"),
        ("charset_files__chrFrenMulti", "Buc^Jérôme"),
        ("charset_files__chrGerm", "Äneas^Rüdiger"),
        ("charset_files__chrGreek", "Διονυσιος"),
        ("charset_files__chrH31", JAPANESE),
        ("charset_files__chrH32", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("charset_files__chrHbrw", "שרון^דבורה"),
        ("charset_files__chrI2", KOREAN),
        ("charset_files__chrJapMulti", "やまだ^たろう"),
        ("charset_files__chrJapMultiExplicitIR6", "やまだ^たろう"),
        ("charset_files__chrKoreanMulti", "김희중"),
        ("charset_files__chrRuss", "Люкceмбypг"),
        ("charset_files__chrSQEncoding", ""),
        ("charset_files__chrSQEncoding1", ""),
        ("charset_files__chrX1", "Wang^XiaoDong=王^小東="),
        ("charset_files__chrX2", "Wang^XiaoDong=王^小东="),
        ("test_files__empty_charset_LEI", ""),
    ],
)
def test_the_collections_names_are_read(name: str, patient: str, test_data: Path) -> None:
    (path,) = (test_data / "dicom" / "charset").rglob(f"*data__{name}.dcm")
    assert read_facts(path).patient_name == patient


@pytest.mark.data
def test_names_in_items_of_the_collection_are_read(test_data: Path) -> None:
    names = []
    for file in ("chrSQEncoding", "chrSQEncoding1"):
        (path,) = (test_data / "dicom" / "charset").rglob(f"*{file}.dcm")
        with path.open("rb") as fp:
            ds = parse(fp, read_preface(fp).transfer_syntax_uid, stop_when=lambda *_: False)
        names += [item.text(0x00100010, 64) for item in Elements(ds).items(0x00321064)]
    assert names == ["ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"] * 2
