"""Step 6b of the flow: the folder of films, named by the hash of their pixels, so that writing one twice is harmless.

The folder has a marker, like the store. A missing marker means that the volume is not mounted, and nothing is written.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING
from uuid import uuid4

from dicom_io.durable import (
    DurableFile,
    commit_all,
    create_locked,
    file_size,
    fsync_folder,
    make_folder,
    remove_file,
    spool_error,
    write_all,
)
from dicom_io.inbox.store import MARKER, check_root, is_file, prepare_root, tmp_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dicom_io.film.film import Film


class FilmStore:
    """Films as PNG files in two levels of folders, readable by the owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: The folders of the first level whose names this process has made durable.
        self._durable: set[str] = set()

    def path(self, key: str) -> Path:
        """Return the path of the film with this key."""
        return self.root / key[:2] / key[2:4] / f"{key}.png"

    def exists(self, key: str) -> bool:
        """Whether the film exists; raises SpoolError if that cannot be determined."""
        return is_file(self.path(key))

    def check(self) -> None:
        """Raise StoreAway if the folder is a mount point without its volume; a missing folder is no error."""
        if os.path.lexists(self.root):
            check_root(self.root)

    def save(self, film: Film) -> str:
        """Write the film unless it exists, and return its key; raises SpoolError if it cannot be written."""
        self.save_all([film])
        return film.sha256

    def save_all(self, films: Iterable[Film]) -> None:
        """Write films unless they exist; all are synced together. Raises SpoolError if one of them cannot be written."""
        new = {film.sha256: film for film in films}
        new = {key: film for key, film in new.items() if not is_file(self.path(key))}
        if not new:
            return
        if not is_file(self.root / MARKER):
            # a folder that does not exist is not an empty mount point, so it may be made
            prepare_root(self.root, known=self.root.is_dir())
            self.check()
        try:
            self._write(new)
        except OSError as error:
            raise spool_error(error) from error

    def _write(self, films: Mapping[str, Film]) -> None:
        # Here, because the listener, which only removes films, needs no decoders.
        from dicom_io.film.png import encode_png

        tmp = tmp_of(self.root)
        above: set[Path] = set()
        files: list[DurableFile] = []
        try:
            for key, film in films.items():
                path = self.path(key)
                above |= self._make_folders(path.parent)
                files.append(DurableFile(path, tmp / uuid4().hex, create_locked))
                write_all(files[-1].descriptor, encode_png(film))
        except BaseException:
            for file in files:
                file.discard()
            raise
        commit_all(files)
        for folder in above:
            fsync_folder(folder)
        # Not those of folders that were there: whoever made them may not have synced them yet.
        self._durable |= {folder.name for folder in above if folder != self.root}

    def _make_folders(self, folder: Path) -> set[Path]:
        """Make a folder of the second level; which folders are to be synced for it.

        That of the first level is made too; one that this process knows to be durable is not synced again.
        """
        if folder.is_dir():
            return set()
        first = folder.parent
        make_folder(first, is_synced=False)
        make_folder(folder, is_synced=False)
        return {first} if first.name in self._durable else {first, self.root}

    def purge(self, key: str) -> int:
        """Remove a film for good and return its size in bytes, 0 where there was none; raises SpoolError."""
        try:
            return remove_file(self.path(key))
        except OSError as error:
            raise spool_error(error) from error

    def size(self, key: str) -> int:
        """Return the size of a film in bytes; 0 where it is missing."""
        return file_size(self.path(key))

    def load(self, key: str, version: int) -> Film:
        """Read a film; ``version`` is that of the code that made it."""
        from dicom_io.film.png import read_png  # as in `save`

        return dataclasses.replace(read_png(self.path(key)), version=version)
