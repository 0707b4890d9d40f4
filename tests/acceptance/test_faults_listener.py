"""The real ``auscult listen`` at its end and at its start: an object on its way, and a disk that is full.

What it answered before a kill, and the order of its system calls, is the subject of `tests/faults`,
`tests/acceptance/test_power_cut.py` and `tests/integration/dicom_io/listener/test_durability.py`.
"""

from __future__ import annotations

import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.listening import SlowPeer, answers, association_to, store
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.running import Running, Site
from tests.support.servers import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

CONTEXT = (CR, [EXPLICIT_LE])
BIG = 1 << 20


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on SQLite; no broker and no worker: the listener needs neither."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-scp-", dir="/tmp"))
    yield Site(folder / "home")
    shutil.rmtree(folder, ignore_errors=True)


def registered(site: Site) -> set[str]:
    return {row["sop_uid"] for row in site.query("SELECT sop_uid FROM image")}


def test_sigterm_lets_the_object_on_its_way_be_stored_answered_and_registered(site: Site) -> None:
    made = Made(pixel_bytes=BIG)
    with site.running("listen") as listener:
        with association_to(listener.port, CONTEXT) as association:
            peer = SlowPeer(association, made)
            peer.send(peer.left // 2)
            listener.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_open(listener), 30, "the port to be closed")
            assert listener.process.poll() is None
            peer.send(peer.left)
            assert peer.answer() == 0
        assert listener.process.wait(60) == 0
    if made.sop_uid not in registered(site):
        assert len(list((site.home / "spool" / "new").iterdir())) == 1
        with site.running("listen", log="second.log"):
            wait_until(lambda: made.sop_uid in registered(site), 60, "the object's row")


def test_a_listener_started_on_a_full_disk_answers_and_goes_on_once_there_is_room(site: Site, tmp_path: Path) -> None:
    with site.running("listen", log="first.log") as listener:
        assert listener.port
    made, port = Made(), free_port()
    site.env["AUSCULT_PORT"] = str(port)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file can grow: what a full disk is to a process, and a child inherits it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        running = site.running("listen", log="full.log")
        listener = running.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    try:
        wait_until(lambda: answers(port), 60, "an answer to a C-ECHO")
        with association_to(port, CONTEXT) as association:
            assert store(association, made.write(tmp_path / "made.dcm"))[0] == 0xA700
        assert not (site.home / "run" / "listener.port").exists()
        psutil.Process(listener.process.pid).rlimit(psutil.RLIMIT_FSIZE, before)
        assert listener.port == port
        with association_to(port, CONTEXT) as association:
            assert store(association, made.write(tmp_path / "made.dcm"))[0] == 0
        wait_until(lambda: made.sop_uid in registered(site), 60, "the object's row")
    finally:
        running.__exit__(None, None, None)


def is_open(listener: Running) -> bool:
    """Whether the listener still holds a listening socket."""
    if listener.process.poll() is not None:
        return False
    connections = psutil.Process(listener.process.pid).net_connections("tcp")
    return any(connection.status == psutil.CONN_LISTEN for connection in connections)
