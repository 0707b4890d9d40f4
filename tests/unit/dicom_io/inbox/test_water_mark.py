"""The low-water mark: nothing is accepted below it, and it does not flap."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.errors import SpoolError, SpoolFull
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.water_mark import Backlog, WaterMark

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the disk says of itself, to be changed by a test."""
    says = SimpleNamespace(f_bavail=1000, f_frsize=BLOCK, f_files=5000, f_favail=1000)
    monkeypatch.setattr(os, "statvfs", lambda _: says)
    return says


def takes(mark: WaterMark | Backlog) -> bool:
    try:
        mark.check()
    except SpoolFull:
        return False
    return True


@pytest.mark.parametrize(("what", "size"), [("f_bavail", BLOCK), ("f_favail", 1)])
def test_below_the_mark_nothing_is_taken_until_a_tenth_more_is_free(
    disk: SimpleNamespace, tmp_path: Path, what: str, size: int
) -> None:
    limits = {"f_bavail": (500 * size, 0), "f_favail": (0, 500 * size)}[what]
    mark = WaterMark(tmp_path, *limits)

    def at(free: int) -> bool:
        setattr(disk, what, free)
        return takes(mark)

    assert [at(501), at(499), at(510), at(549), at(551), at(510)] == [True, False, False, False, True, True]


def test_a_file_system_that_counts_no_inodes_has_no_mark_for_them(disk: SimpleNamespace, tmp_path: Path) -> None:
    disk.f_files = disk.f_favail = 0
    assert takes(WaterMark(tmp_path, 0, 1000))


def test_a_disk_that_cannot_be_asked_is_an_error_of_the_inbox(tmp_path: Path) -> None:
    with pytest.raises(SpoolError) as caught:
        WaterMark(tmp_path / "gone", 1, 1).check()
    assert not isinstance(caught.value, SpoolFull)


def test_a_mark_of_nothing_takes_everything(disk: SimpleNamespace, tmp_path: Path) -> None:
    disk.f_bavail = disk.f_favail = 0
    assert takes(WaterMark(tmp_path, 0, 0))


def of_real_disk(folder: Path) -> Any:
    return os.statvfs(folder)


def test_a_real_disk_is_asked(tmp_path: Path) -> None:
    free = of_real_disk(tmp_path).f_bavail * of_real_disk(tmp_path).f_frsize
    assert takes(WaterMark(tmp_path, free // 2, 0))
    assert not takes(WaterMark(tmp_path, free * 2, 0))


def test_at_the_bound_nothing_is_taken_until_a_tenth_is_registered(tmp_path: Path) -> None:
    spool, now = Spool(tmp_path), iter(range(100))
    keys = [spool.put([b"object"]) for _ in range(19)]
    backlog = Backlog(spool, 20, lambda: next(now))
    assert takes(backlog)
    keys.append(spool.put([b"object"]))
    assert not takes(backlog)
    spool.remove(keys.pop())
    assert not takes(backlog)
    spool.remove(keys.pop())
    assert takes(backlog)


def test_what_comes_between_two_counts_of_the_inbox_counts_too(tmp_path: Path) -> None:
    backlog = Backlog(Spool(tmp_path), 3, lambda: 0.0)
    assert [takes(backlog) for _ in range(4)] == [True, True, True, False]


def test_an_inbox_that_cannot_be_counted_is_an_error(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "new").rmdir()
    with pytest.raises(SpoolError) as caught:
        Backlog(spool, 1).check()
    assert not isinstance(caught.value, SpoolFull)
