"""Rejection notes that nobody meant well: any bytes give a note, a defect or a named error, in bounded memory and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bounded import MIB, bounded
from tests.fuzz.headers import ITEM_END, SEQUENCE_END, UNDEFINED, element, item
from tests.fuzz.hostile_notes import (
    CODE_VALUE,
    CODING_SCHEME,
    CONTENT,
    EVIDENCE,
    GOOD,
    OBJECT_CLASS,
    OBJECT_UID,
    OBJECTS,
    SERIES,
    SERIES_UID,
    SMALL,
    STUDY_UID,
    TITLE,
    examine_note,
    examine_notes,
    note,
    reference,
    title,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: Processor time; the longest takes a fraction of it.
SECONDS_A_NOTE = 8.0


def test_no_note_costs_more_than_its_share_of_memory_and_time(tmp_path: Path) -> None:
    ended = bounded(examine_notes, tmp_path, memory=512 * MIB, seconds=len(SMALL) * SECONDS_A_NOTE)
    assert list(ended.value) == list(SMALL)
    assert {name: took for name, (_, took) in ended.value.items() if took > SECONDS_A_NOTE} == {}
    assert ended.printed == ""
    how = {name: end for name, (end, _) in ended.value.items()}
    for name in ("100,000 objects", "300 series of 300 objects", "130,000 series without objects"):
        assert how[name] in ("UNREADABLE", "NO_REFERENCES"), name
    for name in ("a title that is a text", "130,000 titles", "a code of a million signs"):
        assert how[name] == "rejects nothing", name
    assert {how[name] for name in how if "UID that" in name or "million digits" in name} <= {
        "NO_REFERENCES",
        "UNREADABLE",
    }


TAGS = [
    *(TITLE, CODE_VALUE, CODING_SCHEME, EVIDENCE, SERIES, OBJECTS, CONTENT),
    *(STUDY_UID, SERIES_UID, OBJECT_CLASS, OBJECT_UID, 0x00091010, 0x7FE00010),
]
VALUES = (b"113037", b"113038", b"DCM ", b"1.2\0", b"../x", b"9" * 70, b"\0", b"", b"REVOKE_REJECTION", b"99DCM4CHEE")
lies = st.sampled_from([None, None, None, None, None, 0, 1, 0xFFFE, 0xFFFFFFFE, UNDEFINED])
tags = st.sampled_from(TAGS)
plain = st.builds(
    element, tags, st.sampled_from([b"SH", b"UI", b"SQ", b"LO", b"UN", b"??", b""]), st.sampled_from(VALUES), lies
)


def nested(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    ends = st.sampled_from([b"", ITEM_END, SEQUENCE_END])
    items = st.builds(lambda inner, end, length: item(inner + end, length), content, ends, lies)
    several = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(items, max_size=3), ends)
    return st.builds(element, tags, st.sampled_from([b"SQ", b"SQ", b"UN", b""]), several, lies)


@settings(
    derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(
        st.recursive(plain, nested, max_leaves=10) | st.sampled_from([title(), GOOD, reference(1)]), max_size=8
    ),
    cut=st.integers(0, 300),
)
def test_any_grammar_of_sequences_is_a_note_a_defect_or_a_named_error(
    parts: list[bytes], cut: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "note.dcm"
    data = note(title(), *parts, GOOD)
    path.write_bytes(data[: len(data) - cut] if cut % 2 else data)
    examine_note(path)
    assert capfd.readouterr() == ("", "")


def test_the_note_that_the_others_are_made_of_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "note.dcm"
    path.write_bytes(note(title(), GOOD))
    assert examine_note(path) == "followed"
