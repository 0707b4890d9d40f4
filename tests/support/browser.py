"""A real browser without a window: Chromium of the machine, else of Debian's package, unpacked and never installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.support.peers import Peers, provided

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Debian's program is a script that reads settings in /etc, which is not there where the package is only unpacked.
_BEHIND_THE_SCRIPT = Path("lib", "chromium", "chromium")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars")
#: Names of a scheme in Blink's settings.
SCHEMES = {"dark": 0, "light": 1}
TIMEOUT_S = 90.0


@pytest.fixture(scope="session")
def chromium() -> Peers:
    """Chromium under the name `chromium`."""
    peers = provided(("chromium",), ("chromium",))
    behind = Path(peers.programs["chromium"]).parent.parent / _BEHIND_THE_SCRIPT
    return replace(peers, programs={"chromium": str(behind)}) if behind.exists() else peers


def shown(chromium: Peers, page: Path, folder: Path, *, scheme: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What the browser shows of a file: (rows, columns, 3), in the colours of a scheme."""
    picture = folder / f"{scheme}-{size[0]}.png"
    setting = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    _run(chromium, folder, setting, f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", page.as_uri())
    with Image.open(picture) as made:
        return np.asarray(made.convert("RGB"))


def printed(chromium: Peers, page: Path, folder: Path) -> bytes:
    """What the browser would print of a file: a PDF."""
    paper = folder / "page.pdf"
    _run(chromium, folder, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri())
    return paper.read_bytes()


def _run(chromium: Peers, folder: Path, *arguments: str) -> None:
    profile = f"--user-data-dir={folder / 'profile'}"
    done = chromium.run("chromium", *_OPTIONS, profile, *arguments, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
