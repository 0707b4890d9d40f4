"""The films on disk: each under the hash of its pixels, so that writing one twice is harmless.

Their folder has a marker as the store has: where it is missing the films are away, and none is written.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from dicom_io.durable import spool_error
from dicom_io.film import Film, read_png, write_png
from dicom_io.store import check_root, is_file, prepare_root

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
        """Whether the film is there; raises SpoolError where that cannot be told."""
        return is_file(self.path(key))

    def check(self) -> None:
        """Raise StoreAway when the folder is a mount point without its volume; one that is missing may be made."""
        if os.path.lexists(self._root):
            check_root(self._root)

    def save(self, film: Film) -> str:
        """Write the film unless it is there already; returns its key. Raises SpoolError where it cannot be written."""
        path = self.path(film.sha256)
        if is_file(path):
            return film.sha256
        # A folder that is not there at all is no empty mount point: it may be made.
        prepare_root(self._root, known=self._root.is_dir())
        self.check()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_png(film, path)
        except OSError as error:
            raise spool_error(error) from error
        return film.sha256

    def load(self, key: str, version: int) -> Film:
        """The stored film, with the version of the code that made it."""
        return dataclasses.replace(read_png(self.path(key)), version=version)
