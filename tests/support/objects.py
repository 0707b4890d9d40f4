"""DICOM objects encoded by hand, so that a test can put any bytes anywhere and knows exactly what it sent."""

from __future__ import annotations

import itertools
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta

if TYPE_CHECKING:
    from pathlib import Path

CR = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
ROOT = "1.2.826.0.1.3680043.10.1234"
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UR")
_numbers = itertools.count(1)

Elements = dict[int, tuple[bytes, bytes]]


def new_uid() -> str:
    """A UID no other test process uses."""
    return f"{ROOT}.{os.getpid()}.{next(_numbers)}"


@dataclass(frozen=True)
class Made:
    """An object: what its command and file meta information say, and its data set."""

    sop_uid: str = field(default_factory=new_uid)
    study_uid: str = field(default_factory=new_uid)
    series_uid: str = field(default_factory=new_uid)
    sop_class_uid: str = CR
    transfer_syntax_uid: str = EXPLICIT_LE
    pixel_bytes: int = 512
    #: Elements to put in or over the usual ones; an empty representation takes the element out.
    changes: Elements = field(default_factory=dict)

    def dataset(self) -> bytes:
        elements: Elements = {
            0x00080016: (b"UI", self.sop_class_uid.encode()),
            0x00080018: (b"UI", self.sop_uid.encode()),
            0x00080060: (b"CS", b"CR"),
            0x00100010: (b"PN", b"Doe^Jane"),
            0x0020000D: (b"UI", self.study_uid.encode()),
            0x0020000E: (b"UI", self.series_uid.encode()),
            0x7FE00010: (b"OW", bytes(self.pixel_bytes)),
            **self.changes,
        }
        return b"".join(_element(tag, *elements[tag]) for tag in sorted(elements) if elements[tag][0])

    def write(self, path: Path) -> Path:
        uids = ObjectUids(self.sop_class_uid, self.sop_uid, self.transfer_syntax_uid)
        path.write_bytes(encode_file_meta(uids, Sender("TEST", "", "127.0.0.1"), "TEST") + self.dataset())
        return path


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HL", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value
