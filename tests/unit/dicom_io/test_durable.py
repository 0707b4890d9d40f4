"""File systems that cannot sync a folder or set its mode (CIFS, some FUSE): taken as they are, with one warning."""

from __future__ import annotations

import errno
import logging
import os
import resource
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dicom_io import durable
from dicom_io.abandoned import remove_abandoned
from dicom_io.durable import DurableFile, commit_all, create_locked, durable_file, write_all, write_whole
from dicom_io.errors import SpoolError
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.documents import ROOT
from tests.support.permissions import permissions_hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD = sorted({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


@pytest.fixture(autouse=True)
def _as_in_a_fresh_process() -> None:
    for warned in (durable._warn_of_unsynced_folders, durable._warn_of_foreign_modes):
        warned.cache_clear()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make fsync of folders, or of files, answer an error; gives the kinds that were synced."""
    real, synced = os.fsync, []

    def make(code: int, *, kind: str = "folder") -> list[str]:
        def fsync(descriptor: int) -> None:
            what = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            synced.append(what)
            if what == kind:
                raise OSError(code, os.strerror(code))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        return synced

    return make


def write_everywhere(root: Path) -> None:
    spool = Spool(root / "spool")
    key = spool.put([b"an object"])
    Store(root / "store").file(spool.path(key), key)
    spool.quarantine(key)
    (root / "films").mkdir()
    write_whole(root / "films" / "a.png", [b"a film"])


@pytest.mark.parametrize("code", ODD)
def test_a_folder_that_cannot_be_synced_is_warned_of_once_and_files_are_synced(code, answers, tmp_path, caplog):
    synced = answers(code)
    with caplog.at_level(logging.WARNING):
        write_everywhere(tmp_path)
    assert synced.count("file") >= 2
    assert len(caplog.records) == 1
    assert str(tmp_path) not in caplog.text


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_folder_whose_sync_fails_for_a_real_reason_is_an_error(code, answers, tmp_path):
    spool = Spool(tmp_path / "spool")
    answers(code)
    with pytest.raises(SpoolError):
        spool.put([b"an object"])


def test_a_file_that_cannot_be_synced_is_an_error(answers, tmp_path):
    spool = Spool(tmp_path / "spool")
    answers(errno.EINVAL, kind="file")
    with pytest.raises(SpoolError):
        spool.put([b"an object"])


def test_a_folder_whose_mode_cannot_be_set_is_warned_of_once(monkeypatch, tmp_path, caplog):
    def chmod(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("", "new", "tmp", "quarantine"):
        (tmp_path / "spool" / name).mkdir(mode=0o750, exist_ok=True)
    monkeypatch.setattr(os, "chmod", chmod)
    with caplog.at_level(logging.WARNING):
        Spool(tmp_path / "spool").put([b"an object"])
    assert len(caplog.records) == 1


def test_a_file_is_synced_before_it_has_its_name_and_the_folder_afterwards(monkeypatch, tmp_path):
    target, real, seen = tmp_path / "whole", os.fsync, []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append(("folder" if is_folder else target.name, target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(target, [b"one ", memoryview(b"two")])
    assert seen == [("whole", False), ("folder", True)]
    assert target.read_bytes() == b"one two"
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def opened(folder: Path, *names: str) -> list[DurableFile]:
    """Files that are written and not committed yet, each in a folder of its own."""
    files = []
    for name in names:
        (folder / name).mkdir()
        files.append(DurableFile(folder / name / "whole", folder / f"{name}.part", create_locked))
        write_all(files[-1].descriptor, name.encode())
    return files


def test_of_many_files_all_are_synced_before_the_first_name_and_each_folder_once_after_the_last(monkeypatch, tmp_path):
    real, seen = os.fsync, []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append(("folder" if is_folder else "file", len(list(tmp_path.glob("*/whole")))))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files = opened(tmp_path, "a", "b")
    files.append(DurableFile(tmp_path / "b" / "second", tmp_path / "c.part", create_locked))
    commit_all(files)
    assert seen == [("file", 0)] * 3 + [("folder", 2)] * 2
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*/*"))] == [b"a", b"", b"b"]
    assert not list(tmp_path.glob("*.part"))


def test_of_many_files_one_that_cannot_be_synced_leaves_nothing_of_any(answers, tmp_path):
    answers(errno.EIO, kind="file")
    files = opened(tmp_path, "a", "b")
    with pytest.raises(OSError, match="Input/output error"):
        commit_all(files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("a chunk"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_file_before_and_no_other(error, tmp_path):
    target = tmp_path / "whole"
    target.write_bytes(b"before")

    def chunks():
        yield b"half"
        raise error

    with pytest.raises(type(error)):
        write_whole(target, chunks())
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert target.read_bytes() == b"before"


def test_a_write_that_fails_names_the_file_that_was_asked_for(tmp_path):
    target = tmp_path / "report.html"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="large") as failed:
            write_whole(target, [b"more than ten bytes"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.filename == str(target)
    with pytest.raises(FileNotFoundError) as failed:
        write_whole(tmp_path / "nowhere" / "report.html", [b""])
    assert failed.value.filename == str(tmp_path / "nowhere" / "report.html")


def test_a_temporary_file_of_another_writer_is_left_alone(tmp_path):
    through = tmp_path / "through"
    through.write_bytes(b"theirs")
    with pytest.raises(FileExistsError), durable_file(tmp_path / "whole", through):
        pass
    assert through.read_bytes() == b"theirs"


def synced_names(monkeypatch) -> list[str]:
    real, seen = durable.fsync_folder, []

    def fsync_folder(folder):
        seen.append(folder.name)
        real(folder)

    monkeypatch.setattr(durable, "fsync_folder", fsync_folder)
    return seen


def test_the_names_of_all_new_folders_are_synced_and_that_of_a_folder_whose_maker_was_killed(monkeypatch, tmp_path):
    seen = synced_names(monkeypatch)
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert seen == [tmp_path.name, "a", "b"]
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert seen[3:] == ["b"]


def test_a_folder_of_ours_below_one_that_we_may_not_read_is_taken_as_it_is(tmp_path):
    folder = tmp_path / "theirs" / "ours"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "theirs").chmod(0o300)
    with permissions_hold():
        durable.make_folder(folder)
    (tmp_path / "theirs").chmod(0o700)


def test_while_a_file_is_moved_it_has_a_durable_name_at_every_moment(monkeypatch, tmp_path):
    source, target = tmp_path / "from" / "a", tmp_path / "to" / "a"
    for path in (source, target):
        path.parent.mkdir()
    source.write_bytes(b"x")
    seen = []
    monkeypatch.setattr(
        durable, "fsync_folder", lambda folder: seen.append((folder.name, source.exists(), target.exists()))
    )
    durable.move_durably(source, target)
    assert seen == [("to", True, True), ("from", False, True)]
    with pytest.raises(FileNotFoundError):
        durable.move_durably(source, target)


HOLDER = """
import sys, time
from pathlib import Path
from dicom_io.durable import create_locked
create_locked(Path(sys.argv[1]))
print("writing", flush=True)
sys.stdin.read()
"""


def test_what_a_living_process_writes_stays_and_what_a_killed_one_wrote_goes(tmp_path):
    (tmp_path / "dead").write_bytes(b"half")
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "alive")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        assert remove_abandoned(tmp_path) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["alive"]
    finally:
        writer.kill()
        writer.communicate()
    assert remove_abandoned(tmp_path, older_than_s=3600) == 0, "it may be a machine whose locks are not seen"
    assert remove_abandoned(tmp_path, pattern=".*.part") == 0
    assert remove_abandoned(tmp_path) == 1
