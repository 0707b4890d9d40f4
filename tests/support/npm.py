"""Packages of npm's registry that tests show our files to: fetched once by HTTPS, pinned by version and digest.

They are unpacked into the user's cache folder and never installed: neither npm nor Node.js is needed, and no dependency and no
script of theirs runs. Where the registry cannot be reached the test is skipped by name, also where CI is set: tests need PyPI and
Debian alone.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 300
FETCH = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=60).read())"


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

    @property
    def url(self) -> str:
        """Where its archive is."""
        return f"https://registry.npmjs.org/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


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
    """The needed part of a package, fetched if it is not in the cache; without the registry the test is skipped by name."""
    part = package.folder / package.part
    package.folder.parent.mkdir(parents=True, exist_ok=True)
    with (package.folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not part.exists():
            _unpack(package, _fetched(package))
    return part


def _fetched(package: Package) -> bytes:
    # By a process of its own: a test itself may reach nothing but this machine.
    asked = [sys.executable, "-c", FETCH, package.url]
    done = subprocess.run(asked, capture_output=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        pytest.skip(f"{package.name} {package.version} cannot be fetched: {why}")
    found = base64.b64encode(hashlib.sha512(done.stdout).digest()).decode()
    assert found == package.sha512, f"{package.url}: the archive is another one"
    return done.stdout


def _unpack(package: Package, archive: bytes) -> None:
    with TemporaryDirectory(dir=package.folder.parent) as name:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            for member, content in _needed(opened, package.part):
                file = Path(name) / member
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        (Path(name) / "package").rename(package.folder)


def _needed(opened: tarfile.TarFile, part: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of its files without maps of its sources, which are three quarters of a viewer."""
    for member in opened:
        inside = member.name.partition("/")[2]
        is_needed = inside == part or inside.startswith((f"{part}/", "LICENSE"))
        if is_needed and not inside.endswith(".map") and (file := opened.extractfile(member)):
            yield member.name, file.read()
