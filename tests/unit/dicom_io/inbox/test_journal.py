"""The journal of refusals: nothing lost, nothing twice that an identifier cannot tell, nothing unbounded."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.errors import SpoolError
from dicom_io.inbox import journal as journal_module
from dicom_io.inbox.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable


def record(**fields: Any) -> RefusalRecord:
    return RefusalRecord(kind=RefusalKind.OBJECT, reason=Reason.SOP_MISMATCH, **now_and_uid(), **fields)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_records_come_back_as_they_were(journal: Journal) -> None:
    written = [
        record(study_uid="1.2", sop_uid="3.4", count=7),
        record(calling_aet="PACS", called_aet='"\\\n', peer="::1"),
        RefusalRecord(kind=RefusalKind.ASSOCIATION, reason=Reason.ADDRESS_NOT_ALLOWED, **now_and_uid()),
    ]
    for one in written:
        journal.append(one)
    assert list(journal.drain().records) == written


def test_records_come_again_until_they_are_acknowledged(journal: Journal, tmp_path: Path) -> None:
    first, second = record(), record()
    journal.append(first)
    assert journal.drain().records == (first,)
    journal.append(second)
    drained = Journal(tmp_path).drain()
    assert drained.records == (first, second)
    journal.ack(drained)
    assert journal.drain().records == ()
    assert not list(tmp_path.glob("journal.*.taken"))


def test_an_acknowledgement_touches_nothing_newer(journal: Journal) -> None:
    first, second = record(), record()
    journal.append(first)
    drained = journal.drain()
    journal.append(second)
    journal.ack(drained)
    journal.ack(drained)
    assert journal.drain().records == (second,)


def test_a_drain_of_nothing_is_empty(journal: Journal) -> None:
    assert journal.drain().records == ()


def test_half_a_line_costs_that_record_only(journal: Journal, tmp_path: Path) -> None:
    first, second = record(), record()
    journal.append(first)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"uid": "cut o\n[1]\n{}\n{"kind": "object", "reason": "NO_SUCH_REASON"}\n')
    journal.append(second)
    assert journal.drain().records == (first, second)


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "x" * 500},
        {"uid": None},
        {"at": "yesterday"},
        {"at": 7},
        {"count": "7"},
        {"count": 0},
        {"count": 2**40},
        {"peer": ["::1"]},
        {"calling_aet": {"a": "b"}},
        {"surplus": 1},
    ],
    ids=str,
)
def test_a_record_with_a_field_that_no_row_could_hold_costs_that_record_only(
    journal: Journal, tmp_path: Path, changes: dict[str, Any]
) -> None:
    first, second = record(), record()
    journal.append(first)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({**asdict(record()), **changes}) + "\n")
    journal.append(second)
    assert journal.drain().records == (first, second)


def test_texts_that_no_database_takes_are_made_storable(journal: Journal) -> None:
    journal.append(record(calling_aet="PACS\0\0", called_aet="\ud800", peer="x" * 500))
    (read,) = journal.drain().records
    assert (read.calling_aet, read.called_aet, len(read.peer)) == ("PACS", "?", 64)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["folder", "FIFO", "link"]
)
def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_count(
    journal: Journal, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "journal.00000000000000000001.taken")
    kept = record()
    journal.append(kept)
    drained = journal.drain()
    assert drained.records == (kept,)
    journal.ack(drained)
    assert [path.suffix for path in tmp_path.glob("journal.0*")] == [".broken"]


def test_writers_and_a_reader_at_once_lose_nothing(tmp_path: Path) -> None:
    written: list[str] = []
    seen: set[str] = set()
    done = threading.Event()

    def write() -> None:
        journal = Journal(tmp_path)
        for _ in range(100):
            one = record()
            journal.append(one)
            written.append(one.uid)

    def read() -> None:
        journal, last = Journal(tmp_path), False
        while not last:
            last = done.is_set()
            drained = journal.drain()
            seen.update(one.uid for one in drained.records)
            journal.ack(drained)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen == set(written)
    assert len(written) == 400


def test_the_journal_is_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_JOURNAL_BYTES", 1000)

    def hammer() -> None:
        for _ in range(100):
            journal.append(record())

    with pytest.raises(SpoolError, match="full"):
        hammer()
    kept = journal.drain()
    assert 1 < len(kept.records) < 10
    journal.ack(kept)
    journal.append(record())


def test_modes_let_nobody_else_in(journal: Journal, tmp_path: Path) -> None:
    journal.append(record())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_record_of_an_older_release_counts_once(journal: Journal, tmp_path: Path) -> None:
    journal.append(record())
    file = next(tmp_path.rglob("journal.jsonl"))
    file.write_text(file.read_text(encoding="ascii").replace(', "count": 1', ""), encoding="ascii")
    assert [kept.count for kept in journal.drain().records] == [1]


def test_what_another_registrar_has_committed_meanwhile_is_passed_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(record())
    committed = journal.drain()
    assert committed.records
    journal.append(record())
    take = Journal._taken

    def acknowledge_late(self: Journal) -> list[Path]:
        files = take(self)
        monkeypatch.undo()
        journal.ack(committed)
        return files

    monkeypatch.setattr(Journal, "_taken", acknowledge_late)
    assert len(journal.drain().records) == 1
