"""The supervisor: real child processes, restarted, given up, ended in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.waiting import wait_until
from worker.processes import supervisor as supervisor_module
from worker.processes.supervisor import GIVE_UP_AFTER, Child, ChildFailed, ChildRefused, Program, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

WAIT = "import signal; signal.pause()"
NOTE_TERM = """
import pathlib, signal, sys
# Blocked: one that came just before signal.pause() would not wake it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
signal.sigwait({signal.SIGTERM})
with open(sys.argv[1], "a") as out:
    out.write(sys.argv[2] + "\\n")
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.stop()


def python(code: str, *arguments: object) -> Program:
    return Program([sys.executable, "-c", code, *map(str, arguments)])


def test_a_killed_child_is_started_again(supervisor: Supervisor) -> None:
    child = supervisor.add(Child("waits", python(WAIT)))
    assert child.process is not None
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    child.process.wait(30)
    supervisor.check()
    assert child.process.pid != first
    assert child.process.poll() is None


def test_a_child_that_refuses_its_settings_is_not_started_again(supervisor: Supervisor) -> None:
    child = supervisor.add(Child("refuses", python("raise SystemExit(2)")))
    assert child.process is not None
    child.process.wait(30)
    with pytest.raises(ChildRefused):
        supervisor.check()


def test_a_child_that_ends_at_once_again_and_again_is_given_up(supervisor: Supervisor) -> None:
    child = supervisor.add(Child("breaks", python("raise SystemExit(7)")))

    def end_and_check() -> None:
        for _ in range(GIVE_UP_AFTER):
            assert child.process is not None
            child.process.wait(30)
            supervisor.check()

    with pytest.raises(ChildFailed, match=r"breaks ended .* exit code 7"):
        end_and_check()


def test_a_child_that_has_run_well_is_never_given_up_and_tried_after_growing_pauses(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = supervisor.add(Child("breaks", python("raise SystemExit(2)")))
    assert child.process is not None
    child.process.wait(30)
    # It ran for longer than a moment, this time.
    monkeypatch.setattr(supervisor_module, "TOO_SOON_S", 0.0)
    monkeypatch.setattr(supervisor_module, "WELL_AFTER_S", 0.0)
    supervisor.check()
    monkeypatch.setattr(supervisor_module, "WELL_AFTER_S", 1e9)
    monkeypatch.setattr(supervisor_module, "TOO_SOON_S", 1e9)
    pauses = []
    for _ in range(2 * GIVE_UP_AFTER):
        child.process.wait(30)
        supervisor.check()
        if child.due is not None:
            pauses.append(round(child.due - time.monotonic()))
            child.due = 0.0
            supervisor.check()
        assert child.process is not None
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_children_end_in_the_reverse_order_of_their_start(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "ended"
    for name in ("broker", "listener", "worker"):
        supervisor.add(Child(name, python(NOTE_TERM, note, name)))
        wait_until((tmp_path / f"ended.{name}").exists, 30, f"{name} to be ready")
    supervisor.stop()
    assert note.read_text(encoding="utf-8").split() == ["worker", "listener", "broker"]


def test_a_child_that_is_lost_is_started_again_and_one_that_is_not_is_left_alone(supervisor: Supervisor) -> None:
    lost = {"first"}
    first = supervisor.add(Child("first", python(WAIT), is_lost=lambda: "first" in lost, prepare=lost.clear))
    second = supervisor.add(Child("second", python(WAIT), is_lost=lambda: "second" in lost))
    pids = [child.process.pid for child in (first, second) if child.process]
    lost.add("first")
    supervisor.check()
    supervisor.check()
    assert first.process is not None
    assert second.process is not None
    assert first.process.pid != pids[0]
    assert second.process.pid == pids[1]


def test_a_child_says_that_it_is_ready_after_each_start(supervisor: Supervisor) -> None:
    code = "import os, signal, sys; os.write(int(sys.argv[-1]), str(os.getpid()).encode()); signal.pause()"
    child = supervisor.add(Child("says", python(code), announces=True))
    for _ in range(2):
        assert child.process is not None
        said = wait_until(child.announced, 30, "the child to be ready")
        assert said == str(child.process.pid)
        child.kill()
        assert child.announced() is None
        supervisor.check()


def test_a_stopped_child_ends_in_order_too(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "ended"
    child = supervisor.add(Child("worker", python(NOTE_TERM, note, "worker")))
    wait_until((tmp_path / "ended.worker").exists, 30, "the child to be ready")
    assert child.process is not None
    child.process.send_signal(signal.SIGSTOP)
    supervisor.stop()
    assert note.read_text(encoding="utf-8").split() == ["worker"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_supervisor_ends_in_order_by_a_signal(how: signal.Signals, supervisor: Supervisor) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        supervisor.handle_signals()
        signal.raise_signal(how)
        assert supervisor.stopping.is_set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        supervisor.handle_signals()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, "nohup keeps it from the terminal's end"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


STUBBORN = "import signal\nfor n in (1, 2, 15):\n    signal.signal(n, signal.SIG_IGN)\nsignal.pause()"


@pytest.mark.parametrize(("waits", "is_stopped"), [(WAIT, False), (WAIT, True), (STUBBORN, False), (STUBBORN, True)])
def test_a_supervisor_that_is_killed_leaves_no_child_behind(tmp_path: Path, waits: str, is_stopped: bool) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from worker.processes.supervisor import Child, Program, Supervisor\n"
        "supervisor = Supervisor()\n"
        f"child = supervisor.add(Child('waits', Program([sys.executable, '-c', {waits!r}])))\n"
        "Path(sys.argv[1]).write_text(str(child.process.pid))\n"
        "supervisor.run()\n"
    )
    process = subprocess.Popen(python(code, pid_file).command)
    try:
        wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()), 30, "the child's pid")
        child = psutil.Process(int(pid_file.read_text()))
        if is_stopped:
            child.suspend()
    finally:
        process.kill()
        process.wait(30)
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
