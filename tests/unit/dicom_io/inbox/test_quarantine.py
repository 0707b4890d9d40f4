"""The quarantine: a reason beside each entry, back into the spool under the same key, or gone for good."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dicom_io.inbox import quarantine as quarantines
from dicom_io.inbox.quarantine import NOTES, Note, Quarantine
from dicom_io.inbox.spool import Spool
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def set_aside(spool: Spool, content: bytes = b"x") -> str:
    key = spool.put([content])
    spool.quarantine(key, Note.of(Reason.REGISTRATION_FAILED, ValueError("Doe^John"), 5))
    return key


def notes(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.root / NOTES).iterdir())


def test_an_entry_has_its_reason_beside_it_and_no_text_of_the_error(spool: Spool) -> None:
    key = set_aside(spool, b"four")
    (entry,) = spool.set_aside.entries()
    assert (entry.key, entry.size, entry.is_file) == (key, 4, True)
    assert entry.note is not None
    assert (entry.note.reason, entry.note.cause, entry.note.tries) == ("REGISTRATION_FAILED", "ValueError", 5)
    assert entry.at.tzinfo is not None
    text = (spool.root / NOTES / f"{key}.json").read_text()
    assert "Doe" not in text
    assert set(json.loads(text)) == {"reason", "cause", "tries", "at"}
    assert list((spool.root / "tmp").iterdir()) == []


def test_an_entry_without_a_note_is_shown_with_the_time_of_the_file_system(spool: Spool) -> None:
    before = datetime.now(UTC).timestamp()
    key = spool.put([b"x"])
    spool.quarantine(key)
    (entry,) = spool.set_aside.entries()
    assert entry.note is None
    assert abs(entry.at.timestamp() - before) < 60


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": "X"}', '{"reason":1,"cause":2,"tries":"x","at":""}'])
def test_a_damaged_note_is_no_note(text: str, spool: Spool) -> None:
    key = set_aside(spool)
    (spool.root / NOTES / f"{key}.json").write_text(text)
    (entry,) = spool.set_aside.entries()
    assert entry.note is None


def test_a_full_disk_keeps_nothing_from_being_set_aside(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(quarantines, "write_whole", full)
    key = set_aside(spool)
    assert [(entry.key, entry.note) for entry in spool.set_aside.entries()] == [(key, None)]


def test_a_released_entry_waits_under_its_key_again(spool: Spool) -> None:
    key = set_aside(spool, b"film")
    spool.set_aside.release(key)
    assert spool.keys() == [key]
    assert spool.path(key).read_bytes() == b"film"
    assert spool.path(key).stat().st_nlink == 1
    assert (spool.set_aside.entries(), notes(spool)) == ([], [])


def test_a_discarded_entry_is_gone_whatever_it_is(spool: Spool) -> None:
    key = set_aside(spool)
    folder = "0" * 32
    (spool.root / "new" / folder / "below").mkdir(parents=True)
    spool.quarantine(folder, Note.of(Reason.REGISTRATION_FAILED, OSError()))
    assert spool.quarantined() == 2
    for each in (key, folder):
        spool.set_aside.discard(each)
    assert (spool.quarantined(), notes(spool)) == (0, [])
    with pytest.raises(FileNotFoundError):
        spool.set_aside.discard(key)


def test_a_sweep_removes_notes_whose_object_is_nowhere_and_no_other(spool: Spool) -> None:
    aside, waiting, gone = set_aside(spool), set_aside(spool), set_aside(spool)
    # Killed after the note was written and before its object was moved.
    (spool.root / "quarantine" / waiting).rename(spool.root / "new" / waiting)
    (spool.root / "quarantine" / gone).unlink()
    spool.sweep_tmp()
    assert notes(spool) == sorted(f"{key}.json" for key in (aside, waiting))


def test_an_object_that_was_being_moved_when_the_process_was_killed_is_moved_by_the_next(spool: Spool) -> None:
    key = spool.put([b"x"])
    os.link(spool.root / "new" / key, spool.root / "quarantine" / key)
    spool.quarantine(key)
    assert spool.keys() == []
    assert [entry.key for entry in spool.set_aside.entries()] == [key]


def test_a_folder_that_has_no_spool_has_no_quarantine(tmp_path: Path) -> None:
    assert Quarantine(tmp_path / "none").entries() == []
    assert Quarantine(tmp_path / "none").count() == 0
