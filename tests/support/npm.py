"""Packages of npm's registry that tests show our files to: fetched once by the npm client, pinned by version and digest.

They are unpacked into the user's cache folder and never installed: no dependency and no script of theirs runs. Where there
is no npm the test is skipped by name, and fails where CI is set.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.support.debian import IN_CI

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Package:
    """A package of one version, the SHA-512 of its archive (base64) and the folder or file of it that is needed."""

    name: str
    version: str
    sha512: str
    part: str

    @property
    def folder(self) -> Path:
        """Where it is unpacked."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "auscult-tests" / "npm" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}"


AXE = Package(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "axe.min.js",
)
OHIF = Package(
    "@ohif/app",
    "3.13.2",
    "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
    "dist",
)

DWV = Package(
    "dwv",
    "0.36.4",
    "kXGlujGcCKSJD6s0THa2z4Kn/aVCdltvbgrn8g2WcTA8TgLZJHp6Z0Tbu3gxkerIaMCrTC4TbaWJI0nq9tPAFg==",
    "dist",
)
#: What dwv draws with.
KONVA = Package(
    "konva",
    "10.2.0",
    "JBoz0Xjbf49UPxCZegZ4WseqOzJ+C4AUDOtJ9eBve5RS5Fcq/u8TdBD5fDl/uPFInpC3a9uycm0sRyZpF4hheg==",
    "konva.min.js",
)


def part_of(package: Package) -> Path:
    """The needed part of a package, fetched if it is not in the cache; without npm the test is skipped by name."""
    part = package.folder / package.part
    if part.exists():
        return part
    if not shutil.which("npm"):
        message = f"{package.name} {package.version}: there is no npm to fetch it"
        (pytest.fail if IN_CI else pytest.skip)(message)
    package.folder.parent.mkdir(parents=True, exist_ok=True)
    with (package.folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not part.exists():
            _fetch(package)
    return part


def _fetch(package: Package) -> None:
    with TemporaryDirectory(dir=package.folder.parent) as name:
        folder = Path(name)
        wanted = f"{package.name}@{package.version}"
        subprocess.run(
            ["npm", "pack", "--silent", "--ignore-scripts", wanted],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        (archive,) = folder.glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert found == package.sha512, f"{wanted}: the archive is another one"
        with tarfile.open(archive) as opened:
            opened.extractall(folder, members=_needed(opened, package.part), filter="data")
        (folder / "package").rename(package.folder)


def _needed(opened: tarfile.TarFile, part: str) -> Iterator[tarfile.TarInfo]:
    """Its members without maps of its sources, which are three quarters of a viewer."""
    for member in opened:
        inside = member.name.partition("/")[2]
        if (inside == part or inside.startswith((f"{part}/", "LICENSE"))) and not inside.endswith(".map"):
            yield member
