"""What the real ``auscult listen`` has answered with success is registered, whichever way the process ends."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.listening import SlowPeer, answers, association_to, store
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.running import Running, Site, command
from tests.support.servers import free_port
from tests.support.tracing import positions, whole_calls
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

CONTEXT = (CR, [EXPLICIT_LE])
BIG = 1 << 20
TRACED = "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,sendto,sendmsg"


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on SQLite; no broker and no worker: the listener needs neither."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-scp-", dir="/tmp"))
    yield Site(folder / "home")
    shutil.rmtree(folder, ignore_errors=True)


def registered(site: Site) -> set[str]:
    return {row["sop_uid"] for row in site.query("SELECT sop_uid FROM image")}


def test_every_object_answered_with_success_before_a_kill_has_a_row_after_the_restart(
    site: Site, tmp_path: Path
) -> None:
    answered: list[str] = []
    enough = threading.Event()

    def send(port: int) -> None:
        with association_to(port, CONTEXT) as association:
            while association.is_established:
                made = Made(pixel_bytes=100_000)
                try:
                    status, _ = store(association, made.write(tmp_path / f"{threading.get_ident()}.dcm"))
                except (AttributeError, RuntimeError):
                    return  # killed: no answer
                assert status == 0
                answered.append(made.sop_uid)
                if len(answered) >= 20:
                    enough.set()

    with site.running("listen", log="first.log") as listener:
        senders = [threading.Thread(target=send, args=(listener.port,)) for _ in range(2)]
        for sender in senders:
            sender.start()
        assert enough.wait(60)
        listener.kill()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
    with site.running("listen", log="second.log"):
        wait_until(lambda: set(answered) <= registered(site), 60, "a row for every answered object")
        wait_until(lambda: not list((site.home / "spool" / "new").iterdir()), 60, "an empty spool")
    stored = list((site.home / "store").rglob("*.dcm"))
    assert len(stored) == len(registered(site))
    assert not list((site.home / "spool" / "tmp").iterdir())


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


def test_the_system_calls_of_the_listener_show_that_nothing_is_answered_or_removed_too_early(
    site: Site, tmp_path: Path, dcmtk: Peers
) -> None:
    trace = tmp_path / "trace"
    strace = [dcmtk.programs["strace"], "-f", "-y", "-qq", "-s", "16", "-e", TRACED, "-o", str(trace)]
    log = tmp_path / "listen.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*strace, *command("listen")], env=site.environment, stdout=stream, stderr=stream)
    try:
        listener = Running(site, process, log)
        done = dcmtk.run("storescu", "127.0.0.1", listener.port, Made(pixel_bytes=BIG).write(tmp_path / "object.dcm"))
        assert done.returncode == 0, done.stderr
        wait_until(lambda: registered(site), 60, "the object's row")
        wait_until(lambda: not list((site.home / "spool" / "new").iterdir()), 60, "an empty spool")
    finally:
        # strace passes the signal on to nobody: its child is the listener.
        for child in Running(site, process, log).descendants():
            child.terminate()
        process.wait(60)
    (stored,) = (site.home / "store").rglob("*.dcm")
    calls = whole_calls(trace.read_text(errors="replace"))
    home, key = re.escape(str(site.home)), stored.stem
    new, target = f"{home}/spool/new/{key}", re.escape(str(stored))
    written = positions(calls, rf"^write\(\d+<{home}/spool/tmp/{key}>")
    synced = positions(calls, rf"^fsync\(\d+<{home}/spool/tmp/{key}>\) = 0")
    renamed = positions(calls, rf'^rename\w*\(.*"{home}/spool/tmp/{key}", .*"{new}".*\) = 0')
    folder_synced = positions(calls, rf"^fsync\(\d+<{home}/spool/new>\) = 0")
    # A P-DATA-TF PDU (type 04) of ours: the C-STORE response, the only one in this association.
    (answered,) = positions(calls, r'^send\w+\(\d+<(?:TCP|socket).*"\\4\\0')
    assert written[-1] < synced[0] < renamed[0] < answered
    assert any(renamed[0] < number < answered for number in folder_synced)
    (linked,) = positions(calls, rf'^link\w*\(.*"{new}", .*"{target}".*\) = 0')
    store_synced = positions(calls, rf"^fsync\(\d+<{re.escape(str(stored.parent))}>\) = 0")[0]
    committed = positions(calls, rf"^(fsync|fdatasync)\(\d+<{home}/auscult\.db-wal>\) = 0")
    removed = positions(calls, rf'^unlink\w*\(.*"{new}".*\) = 0')[0]
    assert linked < store_synced < removed
    assert any(store_synced < number < removed for number in committed)
