"""The spools of a data folder, and how much waits in them or was set aside; to know that takes no DICOM library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.inbox.quarantine import Quarantine

if TYPE_CHECKING:
    from pathlib import Path

    from worker.settings import Settings

#: The spool of storage commitment holds requests, not objects.
COMMITMENT = "commitment"


def spools(settings: Settings) -> dict[str, Path]:
    """The spools of a data folder by name."""
    return {
        "listener": settings.spool,
        "ingest": settings.home / "ingest",
        "fetch": settings.home / "fetch",
        COMMITMENT: waiting_folder(settings),
    }


def waiting_folder(settings: Settings) -> Path:
    """Where requests for storage commitment lie that wait for their answer."""
    return settings.spool / "commitment"


def count_objects(settings: Settings) -> int:
    """How many objects lie in quarantine; requests for storage commitment are counted apart."""
    return sum(Quarantine(root).count() for name, root in spools(settings).items() if name != COMMITMENT)


def count_waiting(settings: Settings) -> int:
    """How many requests of this machine's listener wait for their answer."""
    return _count(waiting_folder(settings) / "new")


def count_given_up(settings: Settings) -> int:
    """How many requests were given up because their answer was not taken; a person has to remove them."""
    return _count(waiting_folder(settings) / "quarantine")


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
