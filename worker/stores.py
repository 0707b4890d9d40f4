"""The store of originals that the settings name, and whether it held originals before."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.abandoned import remove_abandoned
from dicom_io.durable import write_whole
from dicom_io.inbox.store import Store, prepare_root, sweep_root
from worker.db.filing import holdings

if TYPE_CHECKING:
    from worker.database import Database
    from worker.settings import Settings

#: The file in which a data folder notes the store that it has used.
STORE_NOTE = "store.path"
#: Age in seconds at which a file that is being written there is taken for dead.
_DEAD_AFTER_S = 3600.0


def open_store(settings: Settings, database: Database) -> Store:
    """The store, for a process that files objects: the folders of originals and films are made unless they existed before.

    Raises dicom_io.errors.SpoolError where a folder cannot be made.
    """
    known = is_store_known(settings, database)
    prepare_root(settings.films, known=known)
    store = store_of(settings, known=known)
    for root in (settings.films, settings.store):
        sweep_root(root)
    _note_store(settings)
    return store


def store_of(settings: Settings, *, known: bool) -> Store:
    """The store that the settings name; ``known``: it held originals before, so where it is missing it is away, not new."""
    return Store(settings.store, known=known, may_be_lost=settings.store_dir is None)


def is_store_known(settings: Settings, database: Database) -> bool:
    """Whether the store held originals before."""
    with database.reads() as session:
        if not holdings.any_image(session):
            return False
    # A data folder of its own may join a database that others fill; a volume that was named is the one they share.
    return settings.store_dir is not None or not settings.database_url or _noted_store(settings) == settings.store


def _noted_store(settings: Settings) -> Path | None:
    try:
        return Path((settings.home / STORE_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _note_store(settings: Settings) -> None:
    if _noted_store(settings) != settings.store:
        # Where the disk is full, a later start writes the note.
        with suppress(OSError):
            remove_abandoned(settings.home, _DEAD_AFTER_S, ".*.part")
            write_whole(settings.home / STORE_NOTE, [str(settings.store).encode()])
