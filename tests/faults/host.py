"""The host as the processes of a site see it: its clock, and a disk that is full, out of inodes or slow.

A small library (`hook/shim.c`), compiled when it is first needed and loaded by LD_PRELOAD, does below the C library what a
host would do. It needs neither root nor a file system of its own, and holds for SQLite and PostgreSQL too. Where there is
no C compiler these faults are left out by name.
"""

from __future__ import annotations

import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.hook import seams

if TYPE_CHECKING:
    from contextlib import ExitStack

SOURCE = Path(seams.__file__).with_name("shim.c")
FIELDS = ("clock_s", "sync_ms", "is_full", "no_inodes", "is_foreign")


@functools.cache
def library() -> Path | None:
    """The compiled library; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    # PostgreSQL runs as another user where the tests run as root.
    folder = Path(tempfile.mkdtemp(prefix="auscult-shim-", dir="/tmp"))
    folder.chmod(0o755)
    target = folder / "shim.so"
    flags = ["-shared", "-fPIC", "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0"]
    subprocess.run([compiler, *flags, "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


class Host:
    """What one group of processes sees; `root`: the folder whose files are concerned."""

    def __init__(self, exits: ExitStack, root: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="auscult-host-", dir="/tmp"))
        exits.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.chmod(0o755)
        self._path = self._folder / "control"
        self._path.write_bytes(bytes(8 * len(FIELDS)))
        with self._path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 8 * len(FIELDS))
        exits.callback(self._control.close)
        found = library()
        preload = {"LD_PRELOAD": str(found)} if found else {}
        #: For processes that are to see this host.
        self.environment = {**preload, "FAULTS_CONTROL": str(self._path), "FAULTS_ROOT": str(root)}
        self._clock_s = 0

    @property
    def clock_s(self) -> int:
        """How far the clock of these processes is ahead."""
        return self._clock_s

    def set(self, field: str, value: int) -> None:
        """Change what the processes see."""
        struct.pack_into("q", self._control, 8 * FIELDS.index(field), value)
        if field == "clock_s":
            self._clock_s = value

    def heal(self) -> None:
        """Let the host be well."""
        for field in FIELDS:
            if field != "is_foreign":
                self.set(field, 0)
