"""The store of originals: a link where it can be, a whole copy where not, the same key twice."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dicom_io import durable
from dicom_io.errors import SpoolError
from dicom_io.inbox.spool import NotAFile, SourceUnreadable, Spool
from dicom_io.inbox.store import MARKER, Store, StoreAway, sweep_root, tmp_of
from tests.support.exchange import exchange
from tests.support.permissions import permissions_hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the spool's."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_an_object_is_linked_into_two_levels_of_folders(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    store.file(spool.path(key), key)
    assert store.path(key) == tmp_path / "store" / key[:2] / key[2:4] / f"{key}.dcm"
    assert store.path(key).stat().st_ino == spool.path(key).stat().st_ino
    spool.remove(key)
    assert store.path(key).read_bytes() == b"film"


def test_the_same_key_again_is_fine(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    store.file(spool.path(key), key)
    store.file(spool.path(key), key)
    assert store.exists(key)


def test_an_object_is_copied_to_another_file_system(spool: Spool, elsewhere: Path) -> None:
    store = Store(elsewhere / "store")
    key = spool.put([os.urandom(3 << 20)])
    for _ in range(2):
        store.file(spool.path(key), key)
    assert store.path(key).read_bytes() == spool.path(key).read_bytes()
    assert store.path(key).stat().st_mode & 0o777 == 0o600
    assert {path for path in elsewhere.rglob("*") if path.is_file()} == {store.path(key), store.root / MARKER}


def test_a_copy_whose_process_was_killed_is_removed_and_one_that_may_live_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert sweep_root(store.root) == 0
    dead, alive, young = (tmp_of(store.root) / name for name in ("dead", "alive", "young"))
    for path in (dead, alive, young):
        path.write_bytes(b"half")
    for path in (dead, alive):
        os.utime(path, (1, 1))
    with alive.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert sweep_root(store.root) == 1
    assert sorted(path.name for path in tmp_of(store.root).iterdir()) == ["alive", "young"]


def test_the_name_of_a_folder_of_keys_is_synced_by_each_process_that_files_into_it(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = spool.put([b"film"])
    store = Store(tmp_path / "store")
    # Made by a process that was killed before it could sync the names.
    store.path(key).parent.mkdir(parents=True, mode=0o700)
    made: list[str] = []
    real = durable.fsync_folder

    def fsync_folder(folder: Path) -> None:
        made.append(folder.name)
        real(folder)

    monkeypatch.setattr(durable, "fsync_folder", fsync_folder)
    for _ in range(2):
        store.file(spool.path(key), key)
    assert made == ["store", key[:2]]


def test_modes_let_nobody_else_in(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    store.file(spool.path(key), key)
    folders = [store.root, *(path for path in store.root.rglob("*") if path.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    assert store.path(key).stat().st_mode & 0o777 == 0o600


def test_a_source_that_is_gone_says_so(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    spool.remove(key)
    with pytest.raises(SourceUnreadable):
        store.file(spool.path(key), key)
    assert not store.exists(key)


def test_removing_twice_is_fine(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    store.file(spool.path(key), key)
    store.remove(key)
    store.remove(key)
    assert not store.exists(key)


def test_no_path_is_made_from_what_is_no_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(SpoolError, match="Not a key"):
        store.path("../" * 10 + "etc/passwd")


def test_a_folder_that_cannot_be_made_is_one_of_our_errors(spool: Spool, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = spool.put([b"film"])
    (store.root / key[:2]).write_text("in the way")
    with pytest.raises(SpoolError):
        store.file(spool.path(key), key)


def test_a_known_store_is_never_made_and_nothing_is_written_where_it_is_away(spool: Spool, tmp_path: Path) -> None:
    mount_point = tmp_path / "store"
    for _ in range(2):
        store = Store(mount_point, known=True)
        with pytest.raises(StoreAway):
            store.check()
        key = spool.put([b"film"])
        with pytest.raises(StoreAway):
            store.file(spool.path(key), key)
        assert not list(mount_point.rglob("*"))
        mount_point.mkdir(exist_ok=True)


def test_a_store_that_goes_away_while_an_object_is_linked_leaves_the_object_in_the_spool(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, mount_point = tmp_path / "volume", tmp_path / "store"
    Store(volume)
    mount_point.mkdir()
    exchange(volume, mount_point)
    store, key, real = Store(mount_point, known=True), spool.put([b"film"]), Store._make_folders

    def unmounted(self: Store, target: Path, key: str) -> None:
        exchange(volume, mount_point)
        real(self, target, key)

    monkeypatch.setattr(Store, "_make_folders", unmounted)
    with pytest.raises(StoreAway):
        store.file(spool.path(key), key)
    monkeypatch.setattr(Store, "_make_folders", real)
    exchange(volume, mount_point)
    assert not store.exists(key)
    store.file(spool.path(key), key)
    assert store.exists(key)


def test_a_store_of_an_earlier_release_gets_its_marker(tmp_path: Path) -> None:
    (tmp_path / "store" / "ab" / "cd").mkdir(parents=True)
    Store(tmp_path / "store", known=True).check()
    assert (tmp_path / "store" / MARKER).is_file()


def test_a_root_that_cannot_be_looked_into_is_away_and_no_error_of_its_own(tmp_path: Path) -> None:
    Store(tmp_path / "store")
    (tmp_path / "store").chmod(0)
    with permissions_hold():
        store = Store(tmp_path / "store", known=True)
        with pytest.raises(StoreAway):
            store.check()
        with pytest.raises(SpoolError):
            store.exists("ab" * 16)
    (tmp_path / "store").chmod(0o700)
    store.check()


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/hostname")], ids=["folder", "FIFO", "link"]
)
def test_what_is_not_a_file_is_not_stored(tmp_path: Path, make: Callable[[Path], None]) -> None:
    store = Store(tmp_path / "store")
    make(tmp_path / "source")
    with pytest.raises(NotAFile):
        store.file(tmp_path / "source", "ab" * 16)
    assert list(store.root.iterdir()) == [store.root / MARKER]
