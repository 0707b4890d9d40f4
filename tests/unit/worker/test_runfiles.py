"""Run files of a data folder: one supervisor, owners that nobody displaces, and sockets however long the path is."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from worker.database import make_home
from worker.errors import SettingsError
from worker.runfiles import (
    LOCK_FILE,
    LONGEST_SOCKET_PATH,
    HomeInUse,
    PortFile,
    clear_port,
    connectable,
    home_locked,
    make_run_folder,
    read_port,
)
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another user")


def test_a_locked_home_names_its_holder_and_refuses_everyone_else(tmp_path: Path) -> None:
    with home_locked(tmp_path, "auscult up"):
        with pytest.raises(HomeInUse, match=rf"in use by auscult up, process {os.getpid()} on ") as refused:
            home_locked(tmp_path, "auscult demo").__enter__()
        assert refused.value.exit_code == 2
    with home_locked(tmp_path, "auscult demo"), pytest.raises(HomeInUse, match="in use by auscult demo, "):
        home_locked(tmp_path, "auscult up").__enter__()


def test_a_home_whose_supervisor_was_killed_is_free(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("auscult up, process 1 on here\n", encoding="ascii")
    with home_locked(tmp_path, "auscult up"):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text(encoding="ascii")


def test_the_first_listener_keeps_its_port_file_and_the_second_follows_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "run" / "listener.port"
    first, second = PortFile(path, 11112), PortFile(path, 2762)
    first.claim()
    second.claim()
    assert read_port(path) == 11112
    second.release()
    assert read_port(path) == 11112
    first.release()
    assert not path.exists()
    second.claim()
    assert read_port(path) == 2762
    second.release()


def test_a_port_file_that_was_left_behind_tells_no_port_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "listener.port"
    path.write_text("11112", encoding="ascii")
    assert read_port(path) is None
    clear_port(path)
    assert not path.exists()
    path.write_text("11112", encoding="ascii")
    file = PortFile(path, 2762)
    file.claim()
    clear_port(path)
    assert read_port(path) == 2762
    file.release()


def test_a_draft_of_a_killed_listener_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "listener.port"
    dead, alive = (path.with_suffix(f".{digit * 32}") for digit in "ab")
    dead.touch()
    with alive.open("w") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        file = PortFile(path, 2762)
        file.claim()
        assert sorted(tmp_path.iterdir()) == [alive, path]
        file.release()


def test_a_port_file_that_was_removed_or_replaced_by_others_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run" / "listener.port"
    file = PortFile(path, 2762)
    file.claim()
    path.unlink()
    path.parent.rmdir()
    file.claim()
    assert read_port(path) == 2762
    path.unlink()
    path.write_text("1", encoding="ascii")
    file.claim()
    assert read_port(path) == 2762
    assert [item.name for item in path.parent.iterdir()] == ["listener.port"]
    file.release()


def test_a_socket_is_reached_however_long_the_home_is_and_lies_in_the_home(tmp_path: Path) -> None:
    home = tmp_path / ("d" * 200) / ("e" * 200)
    make_run_folder(home / "run")
    path = connectable(home, "broker.sock")
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen()
        client.connect(str(connectable(home, "broker.sock")))
        assert (home / "run" / "broker.sock").is_socket()


def test_a_home_that_was_made_again_is_reached_again(tmp_path: Path) -> None:
    home = tmp_path / ("d" * 120)
    for _ in range(2):
        make_run_folder(home / "run")
        (home / "run" / "broker.sock").touch()
        assert connectable(home, "broker.sock").exists()
        (home / "run" / "broker.sock").unlink()
        (home / "run").rmdir()
        home.rename(tmp_path / "away")


@as_root
@pytest.mark.parametrize("how", ["folder", "link"])
def test_a_run_folder_of_another_user_is_refused(how: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    home = tmp_path / "home"
    home.mkdir()
    if how == "link":
        (home / "run").symlink_to(theirs)
    else:
        theirs.rename(home / "run")
    with pytest.raises(SettingsError, match="belongs to another user"):
        make_run_folder(home / "run")


@as_root
@pytest.mark.parametrize("how", ["folder", "link"])
def test_a_home_that_another_user_made_in_a_place_open_to_all_is_refused(how: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    home = tmp_path / "auscult"
    if how == "link":
        (tmp_path / "own").mkdir()
        home.symlink_to(tmp_path / "own")
    else:
        home.mkdir()
    os.chown(home, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(SettingsError, match="belongs to another user"):
        make_home(Settings(home=home))
    tmp_path.chmod(0o755)
    make_home(Settings(home=home))


def test_a_run_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)
    make_run_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
