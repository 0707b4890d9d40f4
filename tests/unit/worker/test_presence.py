"""The files of processes that claim tasks: which of them have ended, and whether their parent outlived them."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.claimants import claimant, killed
from worker import presence
from worker.presence import Presence, departed, note_timeout, present, task_at_work

if TYPE_CHECKING:
    from pathlib import Path


def names(home: Path, parent: str = "") -> list[str]:
    return sorted(each.name for each in departed(home, parent))


def test_a_process_departs_when_it_is_killed_and_not_while_it_lives_or_stands_still(tmp_path: Path) -> None:
    with claimant(tmp_path, "host:1:a") as (process, _):
        assert names(tmp_path) == []
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert names(tmp_path) == []
        process.kill()
        process.wait()
        (ended,) = departed(tmp_path)
    assert (ended.name, ended.is_timed_out, ended.is_alone) == ("host:1:a", False, False)
    ended.forget()
    assert names(tmp_path) == []


@pytest.mark.parametrize("at_work", [0, 7, 2**63 - 1])
def test_a_process_says_at_which_task_it_was(tmp_path: Path, at_work: int) -> None:
    killed(tmp_path, "host:1:a", at_work=at_work)
    note_timeout(tmp_path, "host:1:")
    (ended,) = departed(tmp_path)
    assert (ended.at_work, ended.is_timed_out) == (at_work, True)
    assert task_at_work(tmp_path, "host:1:a") == at_work
    assert task_at_work(tmp_path, "host:2:b") == 0


def test_the_file_of_an_older_release_names_no_task(tmp_path: Path) -> None:
    killed(tmp_path, "host:1:a", at_work=7)
    (path,) = (tmp_path / "run" / "claimants").iterdir()
    path.write_text(path.read_text().splitlines()[0] + "\nTimeout (0:00:01)!\n")
    (ended,) = departed(tmp_path)
    assert (ended.at_work, ended.is_timed_out) == (0, True)


def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    Presence(tmp_path, "host:1:a").leave()
    assert names(tmp_path) == []
    assert list((tmp_path / "run" / "claimants").iterdir()) == []


def test_the_child_of_a_living_parent_is_left_to_the_parents_next_child(tmp_path: Path) -> None:
    with claimant(tmp_path) as (process, parent):
        killed(tmp_path, "host:2:b", parent)
        assert names(tmp_path) == []
        (ended,) = departed(tmp_path, parent)
        assert (ended.name, ended.is_alone) == ("host:2:b", True)
        process.kill()
        process.wait()
        # Both have ended: nobody is alone.
        assert {each.name: each.is_alone for each in departed(tmp_path)} == {"host:2:b": False, "": False}


def test_a_child_that_the_time_limit_ended_says_so_to_everybody(tmp_path: Path) -> None:
    with claimant(tmp_path) as (_, parent):
        killed(tmp_path, "host:2:b", parent)
        killed(tmp_path, "host:22:b", parent)
        note_timeout(tmp_path, "host:2:")
        (ended,) = departed(tmp_path)
        assert ended.at_work == 0
        assert (ended.name, ended.is_timed_out, ended.is_alone) == ("host:2:b", True, True)


@pytest.mark.parametrize(
    ("changed", "machine", "is_gone"),
    [
        ({"boot": "another", "machine": "m2"}, "m1", False),
        ({"boot": "another", "machine": ""}, "", False),
        ({"boot": "another", "machine": "m1"}, "m1", True),
    ],
    ids=["another machine", "perhaps another machine", "this machine before it started again"],
)
def test_a_lock_counts_on_the_machine_that_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], machine: str, is_gone: bool
) -> None:
    killed(tmp_path, "host:1:a")
    (path,) = (tmp_path / "run" / "claimants").iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text().splitlines()[0]), **changed}) + "\n")
    monkeypatch.setattr(presence, "_machine", lambda: machine)
    assert names(tmp_path) == (["host:1:a"] if is_gone else [])


def test_a_file_of_nonsense_names_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "claimants"
    folder.mkdir(parents=True)
    for number, text in enumerate((b"", b"[]", b"\xff\xfe", b'{"name": "x"}')):
        (folder / str(number)).write_bytes(text)
    (folder / "folder").mkdir()
    assert names(tmp_path) == []


def test_a_worker_works_without_its_file_where_there_is_no_room_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("not a folder")
    assert present(tmp_path, "host:1:a") is None
    assert [record.__dict__["action"] for record in caplog.records] == ["no_presence"]
