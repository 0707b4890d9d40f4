"""Rejection notes made to hurt, by name, and what every reading of one must keep to."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.header.elements import valid_uid
from dicom_io.header.key_objects import KEY_OBJECT_SELECTION, MAX_REFERENCES, read_rejection
from dicom_io.header.reader import read_facts
from tests.fuzz.headers import ITEM_END, SEQUENCE_END, STUDY, UNDEFINED, element, item, part10

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TITLE, CODE_VALUE, CODING_SCHEME = 0x0040A043, 0x00080100, 0x00080102
EVIDENCE, SERIES, OBJECTS, CONTENT = 0x0040A375, 0x00081115, 0x00081199, 0x0040A730
STUDY_UID, SERIES_UID, OBJECT_CLASS, OBJECT_UID = 0x0020000D, 0x0020000E, 0x00081150, 0x00081155
GIB = 1 << 30
NOTE_UIDS = element(0x00080016, b"UI", KEY_OBJECT_SELECTION.encode() + b"\0") + element(0x00080018, b"UI", b"1.2.9\0")
_OF_STUDY = element(STUDY_UID, b"UI", b"1.2\0")
_OF_SERIES = element(SERIES_UID, b"UI", b"1.3\0")


def title(code: bytes = b"113037", scheme: bytes = b"DCM ", vr: bytes = b"SQ") -> bytes:
    """The Concept Name Code Sequence of a document."""
    return element(TITLE, vr, item(element(CODE_VALUE, b"SH", code) + element(CODING_SCHEME, b"SH", scheme)))


def reference(number: int) -> bytes:
    """An item that names one object."""
    uid = f"1.2.{number}".encode()
    return item(element(OBJECT_CLASS, b"UI", b"1.2.840\0") + element(OBJECT_UID, b"UI", uid + b"\0" * (len(uid) % 2)))


def series(objects: bytes, length: int | None = None) -> bytes:
    """An item of the Referenced Series Sequence."""
    return item(_OF_SERIES + element(OBJECTS, b"SQ", objects, length))


def evidence(several: bytes, length: int | None = None) -> bytes:
    """The Current Requested Procedure Evidence Sequence with one study."""
    return element(EVIDENCE, b"SQ", item(_OF_STUDY + element(SERIES, b"SQ", several)), length)


def note(*parts: bytes) -> bytes:
    """A file with these elements behind the UIDs of a Key Object Selection Document."""
    return part10(NOTE_UIDS + STUDY + b"".join(parts))


GOOD = evidence(series(reference(1)))


def _deep(tag: int, depth: int, *, is_closed: bool) -> bytes:
    level = element(tag, b"SQ", b"", UNDEFINED) + item(b"", UNDEFINED)
    return level * depth + (ITEM_END + SEQUENCE_END) * depth * is_closed


SMALL: dict[str, Callable[[], bytes]] = {
    **{
        f"content {depth} deep, {'closed' if is_closed else 'open'}": partial(
            lambda depth, is_closed: note(title(), GOOD, _deep(CONTENT, depth, is_closed=is_closed)), depth, is_closed
        )
        for depth in (10, 1_000, 100_000)
        for is_closed in (True, False)
    },
    "evidence 100,000 deep": lambda: note(title(), _deep(EVIDENCE, 100_000, is_closed=True)),
    "a title 100,000 deep": lambda: note(_deep(TITLE, 100_000, is_closed=True), GOOD),
    "130,000 titles": lambda: note(element(TITLE, b"SQ", item(b"") * 130_000), GOOD),
    "100,000 objects": lambda: note(title(), evidence(series(b"".join(map(reference, range(100_000)))))),
    "130,000 series without objects": lambda: note(title(), evidence(item(b"") * 130_000)),
    "300 series of 300 objects": lambda: note(title(), evidence(series(b"".join(map(reference, range(300)))) * 300)),
    "200 studies of 200 series": lambda: note(
        title(), element(EVIDENCE, b"SQ", item(_OF_STUDY + element(SERIES, b"SQ", series(reference(1)) * 200)) * 200)
    ),
    "one object 100,000 times": lambda: note(title(), evidence(series(reference(1) * 100_000))),
    "130,000 nodes of content": lambda: note(title(), GOOD, element(CONTENT, b"SQ", item(b"") * 130_000)),
    "content of content": lambda: note(
        title(),
        GOOD,
        element(CONTENT, b"SQ", item(element(CONTENT, b"SQ", item(element(OBJECTS, b"SQ", reference(9)))))),
    ),
    "evidence of a claimed GB": lambda: note(title(), evidence(series(reference(1)), GIB)),
    "objects of a claimed 4 GB": lambda: note(title(), evidence(series(reference(1), 0xFFFFFFFE))),
    "a title that is a text": lambda: note(element(TITLE, b"LO", b"113037"), GOOD),
    "evidence that is a text": lambda: note(title(), element(EVIDENCE, b"UT", b"1.2.3" * 1000)),
    "evidence that is bytes": lambda: note(title(), element(EVIDENCE, b"UN", item(_OF_STUDY))),
    "objects that are UIDs": lambda: note(title(), evidence(item(_OF_SERIES + element(OBJECTS, b"UI", b"1.2.3\0")))),
    "a UID that is a sequence": lambda: note(
        title(), evidence(series(item(element(OBJECT_UID, b"SQ", item(element(OBJECT_UID, b"UI", b"1.2\0"))))))
    ),
    "a UID of a million digits": lambda: note(
        title(), evidence(series(item(element(OBJECT_UID, b"UT", b"1" * 10**6))))
    ),
    "a UID that is a path": lambda: note(title(), evidence(series(item(element(OBJECT_UID, b"UI", b"../../etc/x\0"))))),
    "a code of a million signs": lambda: note(
        element(TITLE, b"SQ", item(element(CODE_VALUE, b"UT", b"113037" * 10**5))), GOOD
    ),
}


def examine_note(path: Path) -> str:
    """Read a note as the registrar does; returns how that ended, fails where a promise is broken."""
    try:
        read_facts(path)
        found = read_rejection(path)
    except (NotDicom, HeaderUnreadable) as error:
        return type(error).__name__
    if found is None:
        return "rejects nothing"
    assert bool(found.references) != bool(found.defect)
    assert len(found.references) <= MAX_REFERENCES
    for named in found.references:
        assert valid_uid(named.sop_uid)
        assert valid_uid(named.study_uid)
        assert all(uid == "" or valid_uid(uid) for uid in (named.series_uid, named.sop_class_uid))
    return str(found.defect or "followed")


def examine_notes(folder: Path) -> dict[str, tuple[str, float]]:
    """How the reading of each note of `SMALL` ended, and the seconds of processor time that it took."""
    ended = {}
    for name, made in SMALL.items():
        path = folder / "note.dcm"
        path.write_bytes(made())
        started = time.process_time()
        ended[name] = examine_note(path), time.process_time() - started
    return ended
