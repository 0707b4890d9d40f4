"""Programs of other makers that the tests talk to or look with: dcmtk's, strace, and those that other fixtures name.

`tests.support.debian` finds or unpacks them. Where it cannot the test is skipped by name, and fails where CI is set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.debian import IN_CI, Peers, programs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Peers", "dcmtk", "orthanc_program", "provided"]

PROGRAMS = ("storescu", "echoscu", "movescu", "dcmqrscp", "strace", "dcm2pnm", "dcmj2pnm", "dcml2pnm")
PACKAGES = ("dcmtk", "strace")


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


@pytest.fixture(scope="session")
def dsr2html() -> Peers:
    """dcmtk's program that turns structured reports into pages."""
    return provided(("dsr2html",), ("dcmtk",))


@pytest.fixture(scope="session")
def chromium() -> Peers:
    """Chromium, for `tests.support.browser`."""
    peers = provided(("chromium",), ("chromium",))
    # Debian's program is a script that reads settings in /etc, which are not there where the package is only unpacked.
    program = Path(peers.programs["chromium"]).parent.parent / "lib" / "chromium" / "chromium"
    return replace(peers, programs={"chromium": str(program)}) if program.exists() else peers


def provided(programs: Sequence[str], packages: Sequence[str]) -> Peers:
    """Find programs, or unpack the Debian packages that hold them; without both the test is skipped by name."""
    peers = programs_of(programs, packages)
    if peers is None:
        message = f"{', '.join(programs)}: not on the PATH, and not to be had from Debian's {', '.join(packages)}"
        (pytest.fail if IN_CI else pytest.skip)(message)
    return peers
