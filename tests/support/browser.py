"""What a real browser without a window shows of a page: Chromium, which the fixture `chromium` of `peers` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.peers import Peers

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
)
#: Names of a scheme in Blink's settings.
SCHEMES = {"dark": 0, "light": 1}
TIMEOUT_S = 90.0


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
