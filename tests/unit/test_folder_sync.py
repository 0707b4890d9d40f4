"""File systems that cannot sync a folder or set its mode (CIFS, some FUSE): taken as they are, with one warning."""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import TYPE_CHECKING

import pytest

from dicom_io import durable
from dicom_io.errors import SpoolError
from dicom_io.film import write_whole
from dicom_io.spool import Spool
from dicom_io.store import Store

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
    write_whole(root / "films" / "a.png", b"a film")


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
