"""The fork server: a process that was stopped as a whole goes on, and its children with it."""

from __future__ import annotations

import os
import signal
import threading

import psutil
import pytest

from tests.support.waiting import wait_until
from worker.processes import forks
from worker.processes.forks import ForkServer

pytestmark = pytest.mark.integration


def test_a_fork_server_that_was_stopped_goes_on_and_its_children_live(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    # With a second thread the server is a program of its own; a fork of the tests would go on with them.
    threading.Thread(target=ended.wait, daemon=True).start()
    server = ForkServer(os.environ)
    try:
        # The first answer waits for the server's imports.
        child = server.verb("status", "--help").start(None)
        assert child.wait(60) == 0
        parent = psutil.Process(server._server._pid)  # type: ignore[union-attr]
        monkeypatch.setattr(forks, "ANSWER_S", 20.0)
        parent.send_signal(signal.SIGSTOP)
        wait_until(lambda: parent.status() == psutil.STATUS_STOPPED, what="the stop")
        other = server.verb("status", "--help").start(None)
        assert other.wait(60) == 0
        assert parent.is_running(), "it was not replaced by another"
        assert server._server._pid == parent.pid  # type: ignore[union-attr]
    finally:
        server.close()
        ended.set()
