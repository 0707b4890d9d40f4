"""The inbox: order, modes, and nothing left behind when something goes wrong."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dicom_io.durable import spool_error
from dicom_io.errors import SpoolError, SpoolFull
from dicom_io.inbox import spool as spools
from dicom_io.inbox.spool import SourceUnreadable, Spool
from tests.support.permissions import permissions_hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def files_in(spool: Spool) -> list[Path]:
    return [path for path in spool.root.rglob("*") if path.is_file()]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_put_is_read_back(spool: Spool) -> None:
    key = spool.put([b"head", memoryview(b"body"), b""])
    assert spool.path(key).read_bytes() == b"headbody"
    assert spool.keys() == [key]


def test_keys_are_random_hexadecimal_and_oldest_first(spool: Spool) -> None:
    keys = [spool.put([b"x"]) for _ in range(50)]
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)
    assert spool.keys() == keys
    assert spool.keys(limit=3) == keys[:3]


def test_the_identity_of_a_spool_is_synced_by_whoever_reads_it(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its maker was killed before it could sync the name: after a power cut the spool would have another identity.
    (spool.root / f"inbox.{'a' * 32}").touch()
    synced: list[Path] = []
    monkeypatch.setattr(spools, "fsync_folder", synced.append)
    assert spool.uid() == "a" * 32
    assert synced == [spool.root]


def test_threads_at_once_lose_nothing(spool: Spool) -> None:
    def put_many() -> None:
        for _ in range(20):
            spool.put([b"x" * 1000])

    threads = [threading.Thread(target=put_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(spool.keys())) == 160


def test_modes_let_nobody_else_in(spool: Spool) -> None:
    path = spool.path(spool.put([b"x"]))
    assert path.stat().st_mode & 0o777 == 0o600
    folders = [spool.root, *(path for path in spool.root.rglob("*") if path.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_file_that_grows_too_large_leaves_nothing(spool: Spool) -> None:
    with files_no_larger_than(5000), pytest.raises(SpoolFull):
        spool.put([bytes(4000), bytes(4000)])
    assert files_in(spool) == []


def test_a_source_that_breaks_leaves_nothing(spool: Spool) -> None:
    def broken() -> Iterator[bytes]:
        yield b"head"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        spool.put(broken())
    assert files_in(spool) == []


def test_a_folder_that_has_gone_leaves_nothing(spool: Spool) -> None:
    (spool.root / "new").rmdir()
    with pytest.raises(SpoolError) as caught:
        spool.put([b"x"])
    assert not isinstance(caught.value, SpoolFull)
    assert files_in(spool) == []


@pytest.mark.parametrize(
    ("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EIO, False)]
)
def test_errors_of_the_disk_are_told_apart(number: int, full: bool) -> None:
    error = spool_error(OSError(number, "secret/path"))
    assert isinstance(error, SpoolFull) is full
    assert "secret" not in str(error)


def test_a_file_is_copied_and_stays(spool: Spool, tmp_path: Path) -> None:
    source = tmp_path / "film.dcm"
    source.write_bytes(os.urandom(3 << 20))
    key = spool.put_file(source)
    assert spool.path(key).read_bytes() == source.read_bytes()
    assert spool.path(key).stat().st_ino != source.stat().st_ino


@pytest.mark.parametrize("name", ["missing.dcm", ""])
def test_a_file_that_cannot_be_read_says_so_and_leaves_nothing(name: str, spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        spool.put_file(tmp_path / name)
    assert files_in(spool) == []


def test_removing_twice_is_fine(spool: Spool) -> None:
    key = spool.put([b"x"])
    spool.remove(key)
    spool.remove(key)
    assert spool.keys() == []


def test_quarantine_sets_an_object_aside(spool: Spool) -> None:
    key = spool.put([b"x"])
    aside = spool.quarantine(key)
    assert aside.read_bytes() == b"x"
    assert spool.keys() == []
    with pytest.raises(SpoolError):
        spool.quarantine(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n"])
def test_no_path_is_made_from_what_is_no_key(key: str, spool: Spool) -> None:
    for use in (spool.path, spool.remove, spool.quarantine, lambda key: spool.claimed(key).__enter__()):
        with pytest.raises(SpoolError, match="Not a key"):
            use(key)


def test_of_several_processes_at_one_spool_one_alone_holds_an_object(spool: Spool) -> None:
    key = spool.put([b"x"])
    other = Spool(spool.root)
    with spool.claimed(key) as is_ours, other.claimed(key) as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
    with other.claimed(key) as is_theirs:
        assert is_theirs
        other.remove(key)
    with spool.claimed(key) as is_ours:
        assert not is_ours, "it is gone"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_object_that_went_between_its_opening_and_its_lock_is_not_held(
    how: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = spool.put([b"x"])
    lock = fcntl.flock

    def late(descriptor: int, how_locked: int) -> None:
        spool.remove(key)
        if how == "replaced":
            spool.path(key).write_bytes(b"y")
        lock(descriptor, how_locked)

    monkeypatch.setattr(fcntl, "flock", late)
    with spool.claimed(key) as is_ours:
        assert not is_ours


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path), os.mkfifo, os.mkdir])
def test_what_is_not_a_file_is_claimed_at_once_so_that_its_reader_says_why(
    make: Callable[[Path], None], spool: Spool
) -> None:
    key = "0" * 32
    make(spool.path(key))
    with spool.claimed(key) as is_ours:
        assert is_ours


@pytest.mark.parametrize("end", ["remove", "quarantine"])
def test_a_spool_that_holds_keeps_what_it_put_until_it_is_done_with_it(end: str, tmp_path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are enough
    spool, other = Spool(tmp_path / "spool", holds=True), Spool(tmp_path / "spool")
    key = spool.put([b"x"])
    with other.claimed(key) as is_theirs:
        assert not is_theirs
    assert other.keys() == [key], "it is seen, and left alone"
    getattr(spool, end)(key)
    (spool.root / "new").rename(tmp_path / "away")
    with pytest.raises(SpoolError):
        spool.put([b"x"])
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208


def test_foreign_files_are_no_objects(spool: Spool) -> None:
    (spool.root / "new" / "README").write_text("not ours")
    assert spool.keys() == []


def test_a_sweep_removes_what_dead_writers_left_and_nothing_else(spool: Spool) -> None:
    key = spool.put([b"x"])
    left, busy = spool.root / "tmp" / ("0" * 32), spool.root / "tmp" / ("1" * 32)
    left.write_bytes(b"half")
    with busy.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert spool.sweep_tmp() == 1
        assert not left.exists()
        assert busy.exists()
    assert spool.sweep_tmp() == 1
    assert spool.keys() == [key]


def test_a_sweep_at_any_time_harms_no_writer(spool: Spool) -> None:
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            Spool(spool.root).sweep_tmp()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        keys = [spool.put([b"x"]) for _ in range(200)]
    finally:
        stop.set()
        sweeper.join()
    assert spool.keys() == keys


def test_a_root_that_cannot_be_made_is_one_of_our_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError):
        Spool(tmp_path / "file" / "spool")


def test_what_cannot_be_swept_away_is_in_nobodys_way(spool: Spool) -> None:
    tmp = spool.root / "tmp"
    (tmp / "abandoned").touch()
    (tmp / "folder").mkdir()
    (tmp / "link").symlink_to("nowhere")
    os.mkfifo(tmp / "pipe")
    assert spool.sweep_tmp() >= 1
    assert not (tmp / "abandoned").exists()
    assert (tmp / "folder").is_dir()


def test_whether_an_entry_can_be_read_is_told_of_the_entry_alone(spool: Spool) -> None:
    key = spool.put([b"x"])
    assert spool.is_readable(key)
    assert spool.is_readable("0" * 32), "one that is gone was taken by somebody else"
    (spool.root / "new" / ("1" * 32)).mkdir()
    assert not spool.is_readable("1" * 32)
    spool.path(key).chmod(0)
    with permissions_hold():
        assert not spool.is_readable(key)
