"""Orthanc as a peer: with a plug-in the obvious way, and tuned by somebody who knows it well."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil

from benchmarks.peers.sender import MOST_PDU
from benchmarks.peers.systems import MODEL, STOP_S, Tree, asked, end_of
from model.serving.bundle import builtin_folder, find_bundle
from tests.support.debian import orthanc_plugin
from tests.support.orthanc import AET, Orthanc

if TYPE_CHECKING:
    from tests.support.debian import Peers

PLUGINS = Path(__file__).with_name("plugins")
PLUGIN, PACKAGE = "libOrthancPython.so", "orthanc-python"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run Orthanc."""

    key: str
    title: str
    guarantees: str
    #: Processes that judge beside Orthanc; 0: within its callback.
    processes: int = 0
    syncs: bool = True
    reduces: bool = False


_LOST = "A crash of Orthanc between storing and judging leaves a film without a row for ever."
OBVIOUS = Variant(
    "obvious",
    "Orthanc, the obvious way",
    "Stored files are synced, their names and the index are not (SQLite, synchronous NORMAL). The row is committed and "
    f"synced before the C-STORE is answered. {_LOST}",
)
_UNSYNCED = f"Neither files nor index nor rows are synced: a power cut loses what was answered 0x0000. No queue of record. {_LOST}"
TUNED = (
    Variant("tuned-1", "Orthanc, tuned, 1 process", _UNSYNCED, processes=1, syncs=False),
    Variant("tuned-2", "Orthanc, tuned, 2 processes", _UNSYNCED, processes=2, syncs=False),
)
DURABLE = Variant(
    "tuned-durable",
    "Orthanc, tuned, synced",
    f"Files and rows are synced, names and index are not. No queue of record. {_LOST}",
    processes=2,
)
REDUCED = Variant(
    "tuned-reduced",
    "Orthanc, tuned, lower resolution",
    f"{_UNSYNCED} JPEG 2000 is decoded at an eighth of its sides, whatever it shows: no bound on how far the score moves.",
    processes=2,
    syncs=False,
    reduces=True,
)


class QuietOrthanc(Orthanc):
    """An Orthanc that logs what it does by default."""

    options: ClassVar = ()


class OrthancSystem(Tree):
    """Orthanc with one of the plug-ins."""

    aet = AET

    def __init__(self, variant: Variant, programs: Peers, plugin: Path) -> None:
        self.variant, self.key, self.title, self.guarantees = variant, variant.key, variant.title, variant.guarantees
        self._programs, self._plugin, self.port = programs, plugin, 0
        self._server: QuietOrthanc | None = None

    def start(self) -> None:
        """Start Orthanc; its plug-in has loaded the network when it answers."""
        self._folder = Path(tempfile.mkdtemp(prefix="auscult-peer-", dir="/tmp"))
        self.database = self._folder / "results.db"
        is_tuned = self.variant.processes > 0
        with closing(sqlite3.connect(self.database)) as database:
            if is_tuned:
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE result (sop_uid TEXT, logit REAL)")
        tuning = {"MaximumPduLength": MOST_PDU, "StoreMD5ForAttachments": False} if is_tuned else {}
        environment = {**self._programs.environment, "PYTHONPATH": packages()}
        if is_tuned:
            environment["TCP_NODELAY"] = "1"
        self._server = QuietOrthanc(
            replace(self._programs, environment=environment),
            self._folder,
            Plugins=[str(self._plugin)],
            PythonScript=str(PLUGINS / ("tuned.py" if is_tuned else "obvious.py")),
            PythonVerbose=False,
            SyncStorageArea=self.variant.syncs,
            StorageDirectory=str(self._folder / "storage"),
            IndexDirectory=str(self._folder / "storage"),
            Bench=self._bench(),
            **tuning,
        )
        self._server.start()
        self.root, self.port = self._server.process, self._server.port

    def _bench(self) -> dict[str, Any]:
        bundle = find_bundle(MODEL, [builtin_folder()])
        return {
            "keras": str(bundle.keras_path),
            "litert": str(bundle.litert_path),
            "size": bundle.input_size,
            "database": str(self.database),
            "storage": str(self._folder / "storage"),
            "synchronous": "FULL" if self.variant.syncs else "NORMAL",
            "processes": self.variant.processes,
            "reduces": self.variant.reduces,
            "python": sys.executable,
            "judging": str(PLUGINS / "judging.py"),
        }

    def stop(self) -> None:
        """End Orthanc; the processes beside it end when its socket closes."""
        beside = self.processes()[1:]
        if self._server:
            self._server.kill()
            shutil.rmtree(self._server.root, ignore_errors=True)
        psutil.wait_procs(beside, STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)
        self.root = self._server = None

    def versions(self) -> dict[str, str]:
        """The versions of Orthanc and of its plug-in for Python."""
        if self._server is None:
            return {}
        rest = self._server.rest
        return {"Orthanc": rest("system")["Version"], "orthanc-python": rest("plugins/python")["Version"]}

    def rows(self) -> int:
        """Committed results."""
        return int(asked(self.database, "SELECT count(*) FROM result")[0][0])

    def is_settled(self) -> bool:
        """Whatever has a row is done."""
        return True

    def logits(self) -> dict[str, float]:
        """The network's answers."""
        return dict(asked(self.database, "SELECT sop_uid, logit FROM result"))

    def said(self) -> str:
        """The end of its log."""
        return end_of(self._folder / "orthanc.log")


def fitting_plugin() -> Path:
    """Orthanc's plug-in for Python, unpacked if need be.

    Raises
    ------
    RuntimeError
        If it is not to be had, or brings a Python that cannot load the packages of this environment.
    """
    plugin = orthanc_plugin(PLUGIN, PACKAGE)
    if plugin is None:
        raise RuntimeError(f"{PLUGIN} is neither installed nor to be had from Debian's {PACKAGE}")
    found = re.search(rb"libpython3\.(\d+)", plugin.read_bytes())
    if found is None or int(found[1]) != sys.version_info.minor:
        theirs = found[1].decode() if found else "?"
        raise RuntimeError(
            f"{PACKAGE} runs Python 3.{theirs}, this environment 3.{sys.version_info.minor}, so the obvious plug-in cannot "
            f"load its packages: make the environment with Python 3.{theirs}"
        )
    return plugin


def packages() -> str:
    """Where Orthanc's own Python finds the packages of this environment."""
    return next(path for path in sys.path if path.endswith("site-packages"))
