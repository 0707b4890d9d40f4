"""The embedded broker: reached in a home of any path, and started again once its socket is lost."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import wait_until
from worker.processes.broker import start_broker
from worker.processes.supervisor import Supervisor
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.stop()


def answers(settings: Settings) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(settings.broker_socket))
        except OSError:
            return False
        client.sendall(b"PING\r\n")
        return client.recv(64) == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("loss", "home"),
    [("removed", "h" * 150), ("folder removed", "home"), ("file", "home"), ("socket", "h" * 150)],
)
def test_a_broker_whose_socket_is_lost_is_started_again(
    loss: str, home: str, supervisor: Supervisor, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / home, broker_url="")
    start_broker(settings, supervisor)
    path = settings.home / "run" / "broker.sock"
    assert path.is_socket()
    supervisor.check()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as stranger:
        if loss == "folder removed":
            (path.parent / "broker.log").unlink(missing_ok=True)
            path.parent.rmdir()
        elif loss == "file":
            path.touch()
        elif loss == "socket":
            stranger.bind(str(settings.broker_socket))
        assert not answers(settings)
        supervisor.check()
        wait_until(lambda: answers(settings), 30, "the broker to answer again")
    pid = _pid(supervisor)
    supervisor.check()
    assert _pid(supervisor) == pid, "a broker that is well is left alone"


def _pid(supervisor: Supervisor) -> int:
    (child,) = supervisor._children
    assert child.process is not None
    return child.process.pid
