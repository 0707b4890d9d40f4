"""No patient data in logs, on the terminal or in file names, whatever an object holds; and no needless imports."""

from __future__ import annotations

import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.listening import association_to, listener_process, store_made
from tests.support.objects import CR, EXPLICIT_LE, Elements, Made

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

MARK = "ZZMARKED"
NAME = f"{MARK}^PATIENT".encode()

INVALID: list[Elements] = [
    {0x00100010: (b"PN", NAME), 0x00100020: (b"LO", NAME)},
    {0x00080020: (b"DA", NAME), 0x00100030: (b"DA", NAME)},
    {0x00101010: (b"AS", NAME)},
    {0x00080005: (b"CS", NAME), 0x00100010: (b"PN", NAME)},
    {0x00200013: (b"IS", NAME), 0x00280010: (b"US", NAME)},
    {0x0020000D: (b"UI", NAME)},
    {0x0020000E: (b"UI", NAME)},
    {0x00080018: (b"UI", NAME)},
    {0x00080016: (b"UI", NAME)},
    {0x00080018: (b"UI", NAME + b"\\" + NAME)},
]


def test_marked_names_appear_in_no_log_and_no_file_name(tmp_path: Path) -> None:
    objects = [Made(changes=changes) for changes in INVALID]
    # In the command too, where pynetdicom itself looks at them.
    objects += [Made(sop_uid=NAME.decode()), Made(sop_uid=NAME.decode() * 10)]
    with listener_process(tmp_path / "spool") as listener:
        statuses = [store_made(listener.port, tmp_path, made)[0] for made in objects]
        listener.stop()
        listener.close()
        told = [str(event) for event in listener.events.queue]
        assert listener.log
        assert [line for line in [*listener.log, *told] if MARK in line] == []
    assert {0, 0xC211, 0xC212, 0xC213} <= set(statuses)
    assert len(listener.spool.keys()) == statuses.count(0)
    spool = list((tmp_path / "spool").rglob("*"))
    assert [path for path in spool if MARK in str(path)] == []
    outside_objects = [path for path in spool if path.is_file() and path.parent.name != "new"]
    assert [path for path in outside_objects if MARK.encode() in path.read_bytes()] == []


def implicit(group: int, number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", group, number, len(value)) + value


COMMAND, MESSAGE, KIND, UID = implicit(0, 0x0100, b"\x01\0"), implicit(0, 0x0110, b"\1\0"), 0x0800, NAME + b" "
GARBAGE = [
    pytest.param(UID * 10, id="no command at all"),
    pytest.param(implicit(0, 0x0100, UID), id="command field"),
    pytest.param(COMMAND + implicit(0, KIND, UID), id="data set type"),
    pytest.param(
        implicit(0, 2, UID) + COMMAND + implicit(0, 0x0110, UID) + implicit(0, KIND, b"\1\0"), id="message id"
    ),
    pytest.param(
        implicit(0, 2, UID) + COMMAND + MESSAGE + implicit(0, KIND, b"\1\0") + implicit(0, 0x1030, UID * 2), id="class"
    ),
]


@pytest.mark.parametrize("command", GARBAGE)
def test_garbage_in_a_command_harms_its_association_only(command: bytes, tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool") as listener:
        with association_to(listener.port, (CR, [EXPLICIT_LE])) as association:
            assert association.dul.socket is not None
            connection = association.dul.socket.socket
            assert connection is not None
            for control, value in ((3, command), (2, UID)):
                pdv = struct.pack(">LBB", len(value) + 2, 1, control) + value
                connection.sendall(struct.pack(">BBL", 4, 0, len(pdv)) + pdv)
            assert store_made(listener.port, tmp_path, Made())[0] == 0
        listener.stop()
        listener.close()
        assert [line for line in listener.log if MARK in line] == []
        # Both associations are told to have ended, also one whose thread died without a word.
        assert sum("Association closed" in line for line in listener.log) == 2
    assert len(listener.spool.keys()) == 1


def test_modes_let_nobody_else_in(tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool") as listener:
        store_made(listener.port, tmp_path, Made())
        store_made(listener.port, tmp_path, Made(changes={0x0020000D: (b"", b"")}))
        listener.stop()
    spool = [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in spool if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in spool if path.is_file()} == {0o600}


@pytest.mark.parametrize("module", ["dicom_io.listener.listener", "dicom_io.client.send"])
def test_the_network_side_imports_nothing_heavy(module: str) -> None:
    heavy = ("sqlalchemy", "celery", "redis", "kombu", "tensorflow", "keras")
    code = f"import sys, {module}; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_a_listener_at_work_imports_nothing_heavy(tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool") as listener:
        store_made(listener.port, tmp_path, Made())
        modules = listener.stop()["modules"]
    assert set(modules) & {"sqlalchemy", "celery", "redis", "kombu", "tensorflow", "keras"} == set()
