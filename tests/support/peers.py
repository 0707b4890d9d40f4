"""Programs of other makers that the tests talk to or look with: dcmtk's, strace, and those that other fixtures name.

They are looked up on the PATH; else unpacked from Debian's packages into the user's cache folder, and never installed:
a package may bring a service, which would start and stay. Where neither works the test is skipped by name, and fails
where CI is set.
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

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = ("storescu", "echoscu", "movescu", "dcmqrscp", "strace", "dcm2pnm", "dcmj2pnm", "dcml2pnm")
PACKAGES = ("dcmtk", "strace")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
APT_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the programs are, and the environment they need."""

    programs: dict[str, str]
    environment: dict[str, str]

    def run(self, program: str, *arguments: object, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its output is text, its exit code for the test to judge."""
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
        """Start a program and leave it to the test."""
        command = [self.programs[program], *map(str, arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=self.environment
        )


@pytest.fixture(scope="session")
def dcmtk() -> Peers:
    """dcmtk's programs and strace."""
    return provided(PROGRAMS, PACKAGES)


@pytest.fixture(scope="session")
def orthanc_program() -> Peers:
    """Orthanc, for `tests.support.orthanc`."""
    return provided(("Orthanc",), ("orthanc",))


@pytest.fixture(scope="session")
def dicom3tools() -> Peers:
    """The validator dciodvfy."""
    return provided(("dciodvfy",), ("dicom3tools",))


@pytest.fixture(scope="session")
def dsrdump() -> Peers:
    """dcmtk's reader of structured reports."""
    return provided(("dsrdump",), ("dcmtk",))


def provided(programs: Sequence[str], packages: Sequence[str]) -> Peers:
    """Find programs, or unpack the Debian packages that hold them; without both the test is skipped by name."""
    peers = _found_in(_path(), dict(os.environ), programs) or _unpacked(programs, packages)
    if peers is None:
        message = f"{', '.join(programs)}: not on the PATH, and not to be had from Debian's {', '.join(packages)}"
        (pytest.fail if IN_CI else pytest.skip)(message)
    return peers


def _path() -> str:
    # Not from our own environment: pynetdicom brings programs of dcmtk's names. Servers are where users seldom look.
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder and Path(folder) != ours]
    return os.pathsep.join([*folders, "/usr/local/sbin", "/usr/sbin"])


def _found_in(path: str, environment: dict[str, str], programs: Sequence[str]) -> Peers | None:
    found = {program: where for program in programs if (where := shutil.which(program, path=path))}
    return Peers(found, environment) if len(found) == len(programs) else None


def _unpacked(programs: Sequence[str], packages: Sequence[str]) -> Peers | None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
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
