"""What every reader of headers must keep to, whatever the bytes, and the encoder that makes the bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
from typing import TYPE_CHECKING

from sqlalchemy import String

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.gate.judge import AgeRange, GateInput, judge
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.part10 import parse, read_preface
from dicom_io.header.reader import facts_of, identify, read_facts
from worker.db.schema.study import Image, Study

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.header.facts import Facts

EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF
REGION_SEQUENCE, PRIVATE_SEQUENCE, PIXEL_DATA = 0x00082218, 0x00091010, 0x7FE00010
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
PREAMBLE = bytes(128) + b"DICM"
CHILDREN = AgeRange(1, 5)
#: The columns that take texts of a header, and what they hold.
LIMITS = {
    column.name: column.type.length
    for table in (Study.__table__, Image.__table__)
    for column in table.columns
    if isinstance(column.type, String) and column.type.length
}


def element(tag: int, vr: bytes, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An explicit element, whose length may lie; without a representation an implicit one."""
    size = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return head + struct.pack(order + "L", size) + value
    if vr in LONG:
        return head + vr + struct.pack(order + "HL", 0, size) + value
    return head + vr + struct.pack(order + "H", size & 0xFFFF) + value


def item(value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An item; of undefined length it needs `ITEM_END` in its value."""
    return struct.pack(order + "HHL", 0xFFFE, 0xE000, len(value) if length is None else length) + value


ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
UIDS = b"".join(
    element(tag, b"UI", value)
    for tag, value in ((0x00080016, b"1.2.840.10008.5.1.4.1.1.1\0"), (0x00080018, b"1.2.4\0"))
)
STUDY = element(0x0020000D, b"UI", b"1.2\0") + element(0x0020000E, b"UI", b"1.3\0")


def part10(data_set: bytes, syntax: str = EXPLICIT_LE) -> bytes:
    """A file around a data set."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return PREAMBLE + element(0x00020010, b"UI", uid) + data_set


def examine(path: Path) -> str:
    """Read a file by every reader of headers; returns how that ended, fails where a promise is broken."""
    facts, ended = _facts(path)
    with contextlib.suppress(NotDicom):
        assert len(dataset_sha256(path)) == 64
        _examine_data_set(path, facts)
    return ended


def _facts(path: Path) -> tuple[Facts | None, str]:
    try:
        facts = read_facts(path)
    except (NotDicom, HeaderUnreadable) as error:
        return None, type(error).__name__
    check(facts)
    return facts, str(judge(GateInput(facts, CHILDREN)).reason)


def _examine_data_set(path: Path, facts: Facts | None) -> None:
    with path.open("rb") as file:
        syntax = read_preface(file).transfer_syntax_uid
        data = file.read(1 << 20)
        file.seek(-len(data), 1)
        with contextlib.suppress(HeaderUnreadable):
            identity = identify(data, syntax)
            uids = dataclasses.astuple(identity)
            assert all(len(uid) <= 64 and set(uid) <= set("0123456789.") for uid in uids)
            # what the listener takes, the registrar can register, and takes for the same
            if all(uids):
                assert facts is not None
                assert uids == (facts.study_uid, facts.series_uid, facts.sop_uid, facts.sop_class_uid)
        with contextlib.suppress(HeaderUnreadable):
            check(facts_of(parse(file, syntax, stop_when=lambda tag, _vr, _length: tag >= PIXEL_DATA)))


def check(facts: Facts) -> None:
    """Every text fits its column, survives UTF-8 and holds nothing that acts; every number fits, too."""
    for name in facts.__dataclass_fields__:
        value = getattr(facts, name)
        if isinstance(value, str):
            assert value == value.encode("utf-8").decode("utf-8"), name
            assert not any(char < " " or "\x7f" <= char <= "\x9f" or char in "\u202e\u2066\ufeff" for char in value), (
                name
            )
            assert len(value) <= LIMITS.get(name, 256), name
        elif isinstance(value, int):
            assert 0 <= value < 2**31, name
