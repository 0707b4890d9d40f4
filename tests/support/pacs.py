"""A PACS for the tests: dcmtk's dcmqrscp with studies of small drawn films."""

from __future__ import annotations

import shutil
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.listening import LOCAL, answers_at
from tests.support.sites import MadeStudy, make_study
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from tests.support.peers import Peers

AET = "OLDPACS"


@dataclass(slots=True)
class Pacs:
    """A running PACS."""

    peers: Peers
    folder: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        return f"{AET}@{LOCAL}:{self.port}"

    def keep(self, films: int = 1, **elements: Any) -> MadeStudy:
        """Put a study of made films into the PACS."""
        study = make_study(self.folder / "films", films, **elements)
        done = self.peers.run("storescu", "-xe", "-R", "-aec", AET, LOCAL, self.port, *study.files)
        assert done.returncode == 0, done.stderr
        return study

    def stop(self) -> str:
        """End it; what it logged."""
        self.process.kill()
        log, _ = self.process.communicate(timeout=60)
        return log


@contextmanager
def pacs(peers: Peers, destinations: Mapping[str, int]) -> Iterator[Pacs]:
    """A PACS that may move to these AE titles on ports of this machine."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-pacs-", dir="/tmp"))
    (folder / "db").mkdir()
    (folder / "films").mkdir()
    with socket.create_server((LOCAL, 0)) as free:
        port = int(free.getsockname()[1])
    hosts = "\n".join(f"host{n} = ({aet}, {LOCAL}, {to})" for n, (aet, to) in enumerate(destinations.items()))
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\n{hosts}\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{AET} {folder / 'db'} RW (2000, 1024mb) ANY\nAETable END\n",
        encoding="ascii",
    )
    process = peers.start("dcmqrscp", "-c", folder / "dcmqrscp.cfg")
    running = Pacs(peers, folder, port, process)
    try:
        wait_until(lambda: answers_at(AET, port), 30, "the PACS to answer")
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
