"""Programs of other makers that the tests talk to or look with: dcmtk's storescu and echoscu, and strace.

They are looked up on the PATH; else installed by apt-get where we are root; else unpacked from the same packages into
the user's cache folder. Where none of this works the test is skipped by name, and fails where CI is set.
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
    from collections.abc import Iterator

PROGRAMS = ("storescu", "echoscu", "strace")
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
    peers = _on_path() or _installed() or _unpacked()
    if peers is None:
        (pytest.fail if IN_CI else pytest.skip)("dcmtk and strace are neither installed nor to be had by apt-get")
    return peers


def _on_path() -> Peers | None:
    # Not from our own environment: pynetdicom brings programs of the same names.
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder and Path(folder) != ours]
    return _found_in(os.pathsep.join(folders), dict(os.environ))


def _found_in(path: str, environment: dict[str, str]) -> Peers | None:
    found = {program: where for program in PROGRAMS if (where := shutil.which(program, path=path))}
    return Peers(found, environment) if len(found) == len(PROGRAMS) else None


def _installed() -> Peers | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    with _one_at_a_time():
        if peers := _on_path():
            return peers
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", *PACKAGES)
    return _on_path()


def _unpacked() -> Peers | None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None
    with _one_at_a_time():
        root = _cache() / "root"
        if not (peers := _peers_under(root)):
            _unpack(root)
            peers = _peers_under(root)
    return peers


def _unpack(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for package in _missing_packages():
        _apt("download", package, folder=_cache())
    for archive in _cache().glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, root], check=False, capture_output=True, timeout=APT_TIMEOUT_S)
        archive.unlink()


def _missing_packages() -> list[str]:
    """The packages and what they need beyond what the system has, as apt-get would fetch them."""
    listed = _apt("install", "-y", "--no-install-recommends", "--print-uris", *PACKAGES)
    files = [line.split()[1] for line in listed.splitlines() if line.startswith("'")]
    return [file.partition("_")[0] for file in files]


def _peers_under(root: Path) -> Peers | None:
    libraries = sorted({str(library.parent) for library in root.rglob("lib*.so*")})
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    if dictionaries := sorted(root.rglob("dicom.dic")):
        environment["DCMDICTPATH"] = str(dictionaries[0])
    return _found_in(str(root / "usr" / "bin"), environment)


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
    folder = home / "auscult-tests" / "dcmtk"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep parallel test processes from installing at the same time."""
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
