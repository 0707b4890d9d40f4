"""Several commands on one data folder: nobody takes another's things, and nothing of a supervisor outlives it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.running import Site, role
from tests.support.sites import leftover
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running import Running

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    """A site whose path is longer than that of a unix socket may be; it hears hang-ups, also in a run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="auscult-site-", dir="/tmp") as folder:
        site = Site(Path(folder) / ("h" * 120) / "home")
        with site.running("up") as running:
            assert running.port
            yield running
    signal.signal(signal.SIGHUP, before)


def test_a_second_supervisor_is_refused_and_the_first_is_none_the_worse(up: Running) -> None:
    for command in (("up",), ("demo", "--once", "--at-site")):
        refused = up.site.run(*command, check=2).stderr
        assert f"is in use by auscult up, process {up.process.pid} on " in refused
        assert str(up.site.home) in refused
    push([chest_film()], up.port)
    up.site.wait_terminal(1)


def test_a_second_listener_serves_beside_it_and_leaves_its_port_file_alone(up: Running) -> None:
    port = up.port
    with up.site.running("listen", log="second.log") as second:
        wait_until(
            lambda: psutil.Process(second.process.pid).net_connections("tcp"), 60, "the second listener to listen"
        )
        assert up.port == port
    assert up.port == port


def test_a_lost_broker_is_replaced_and_work_goes_on(up: Running) -> None:
    socket = up.site.home / "run" / "broker.sock"
    socket.unlink()
    wait_until(socket.exists, 90, "the broker's socket to be there again")
    push([chest_film()], up.port)
    up.site.wait_terminal(2)


def test_a_worker_ends_by_sighup_and_does_not_start_itself_again(up: Running) -> None:
    (worker,) = (process for process in up.descendants() if role(process) == "work")
    family = [worker, *worker.children()]
    worker.send_signal(signal.SIGHUP)
    wait_until(lambda: not leftover(family), 30, "the worker and its child to be gone")
    wait_until(lambda: len(up.descendants()) >= 5, 90, "a worker in its place")


def test_processes_are_forked_and_named_after_what_they_do(up: Running) -> None:
    def named() -> dict[int, str] | None:
        found = {process.pid: role(process) for process in up.descendants()}
        return found if sorted(found.values()) == ["broker", "child", "fork server", "listen", "work"] else None

    # A process that was just forked has no title yet.
    roles = wait_until(named, 60, "five processes with their names")
    (server,) = (psutil.Process(pid) for pid, name in roles.items() if name == "fork server")
    assert {roles[child.pid] for child in server.children()} == {"listen", "work"}
    for process in server.children():
        used = process.memory_full_info()
        assert used.uss < used.rss / 2, "most of the memory is that of the fork server"


def test_a_fork_server_that_is_killed_is_replaced_with_its_children(up: Running) -> None:
    before = {role(process): process for process in up.descendants()}
    before["fork server"].kill()
    wait_until(lambda: not leftover([before["listen"], before["work"]]), 30, "its children to be gone")
    wait_until(lambda: "child" in {role(process) for process in up.descendants()}, 90, "a worker in its place")
    push([chest_film()], up.port)
    up.site.wait_terminal(3)
    roles = {role(process): process for process in up.descendants()}
    assert roles["listen"].ppid() == roles["work"].ppid() == roles["fork server"].pid
    assert roles["fork server"].ppid() == up.process.pid


def test_signals_to_every_process_at_once_end_all_in_order(tmp_path: Path) -> None:
    # As an init system ends a service, and a terminal that closes.
    site = Site(tmp_path / "home")
    with site.running("up") as running:
        assert running.port
        family = running.descendants()
        for process in (*family, psutil.Process(running.process.pid)):
            process.terminate()
        assert running.process.wait(60) == 0
        assert not leftover(family)
        assert "Stopped listening" in running.text()


def test_nothing_outlives_a_supervisor_that_is_killed_with_all_its_children_stopped(up: Running) -> None:
    family = up.descendants()
    assert len(family) >= 5, "a fork server, a broker, a listener, a worker and its child"
    for process in family:
        process.suspend()
    up.process.kill()
    up.process.wait(30)
    wait_until(lambda: not leftover(family), 30, "every process to be gone")
