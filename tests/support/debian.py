"""Programs and libraries of other makers: those on the PATH, else unpacked from Debian's packages, never installed.

A package may bring a service, which would start and stay; so the packages are only unpacked, into the user's cache
folder, where tests and benchmarks find them again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

APT_TIMEOUT_S = 300
#: What a test needs and does not find is a failure here, and a skip elsewhere.
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
#: Where Debian puts what its packages of Orthanc's plug-ins hold.
PLUGINS = Path("usr/share/orthanc/plugins")


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the programs are, and the environment they need."""

    programs: dict[str, str]
    environment: dict[str, str]

    def run(self, program: str, *arguments: object, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its output is text, its exit code for the caller to judge."""
        command = [self.programs[program], *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=self.environment,
            check=False,
        )

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a program and leave it to the caller."""
        command = [self.programs[program], *map(str, arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=self.environment
        )


def programs_of(programs: Sequence[str], packages: Sequence[str]) -> Peers | None:
    """Find programs, or unpack the Debian packages that hold them; None where neither works."""
    return _found_in(_path(), dict(os.environ), programs) or _unpacked(programs, packages)


def orthanc_plugin(name: str, package: str) -> Path | None:
    """Find a plug-in of Orthanc where Debian installs it, or unpack its package; None where neither works."""
    installed, unpacked = Path("/") / PLUGINS / name, _cache() / "root" / PLUGINS / name
    if installed.exists():
        return installed
    with _one_at_a_time():
        if not unpacked.exists() and _has_apt():
            _unpack(_cache() / "root", [package])
    return unpacked if unpacked.exists() else None


def _path() -> str:
    # Not from our own environment: pynetdicom brings programs of dcmtk's names. Servers are where users seldom look.
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder and Path(folder) != ours]
    return os.pathsep.join([*folders, "/usr/local/sbin", "/usr/sbin"])


def _found_in(path: str, environment: dict[str, str], programs: Sequence[str]) -> Peers | None:
    found = {program: where for program in programs if (where := shutil.which(program, path=path))}
    return Peers(found, environment) if len(found) == len(programs) else None


def _has_apt() -> bool:
    return bool(shutil.which("apt-get") and shutil.which("dpkg"))


def _unpacked(programs: Sequence[str], packages: Sequence[str]) -> Peers | None:
    if not _has_apt():
        return None
    with _one_at_a_time():
        root = _cache() / "root"
        peers = _peers_under(root, programs)
        if peers is None:
            _unpack(root, packages)
            peers = _peers_under(root, programs)
    return peers


def _unpack(root: Path, packages: Sequence[str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:  # others take the lists as they are
        _apt("update", "-qq")
    missing = _missing_packages(packages)
    _apt("download", *missing, folder=_cache())
    archives = list(_cache().glob("*.deb"))
    # A program without one of its libraries would be found, and could not run.
    if len(archives) >= len(missing):
        for archive in archives:
            subprocess.run(["dpkg", "-x", archive, root], check=False, capture_output=True, timeout=APT_TIMEOUT_S)
    for archive in archives:
        archive.unlink()


def _missing_packages(packages: Sequence[str]) -> list[str]:
    """The packages and what they need beyond what the system has, as apt-get would install them."""
    # Not --print-uris, which leaves out what lies in apt's own cache.
    steps = _apt("install", "-s", "--no-install-recommends", *packages)
    return [step.split()[1] for step in steps.splitlines() if step.startswith("Inst ")]


def _peers_under(root: Path, programs: Sequence[str]) -> Peers | None:
    libraries = sorted({str(library.parent) for library in root.rglob("lib*.so*")})
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    if dictionaries := sorted(root.rglob("dicom.dic")):
        environment["DCMDICTPATH"] = str(dictionaries[0])
    own = [str(root / "usr" / folder) for folder in ("bin", "sbin")]
    return _found_in(os.pathsep.join([*own, _path()]), environment, programs)


def _apt(*arguments: str, folder: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", *arguments],
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT_S,
            env=environment,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "auscult-tests" / "debian"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep parallel test processes from unpacking at the same time."""
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
