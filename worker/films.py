"""The films on disk: each under the hash of its pixels, so that writing one twice is harmless."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dicom_io.film import Film, read_png, write_png

if TYPE_CHECKING:
    from pathlib import Path


class FilmStore:
    """Films as PNG files in two levels of folders; only the owner may read them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, key: str) -> Path:
        """Where the film lies."""
        return self._root / key[:2] / key[2:4] / f"{key}.png"

    def exists(self, key: str) -> bool:
        """Whether the film is there."""
        return self.path(key).is_file()

    def save(self, film: Film) -> str:
        """Write the film unless it is there already; returns its key."""
        path = self.path(film.sha256)
        if not path.is_file():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_png(film, path)
        return film.sha256

    def load(self, key: str, version: int) -> Film:
        """The stored film, with the version of the code that made it."""
        return dataclasses.replace(read_png(self.path(key)), version=version)
