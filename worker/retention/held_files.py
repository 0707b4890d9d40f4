"""Files that name a person and have no row: objects in quarantine, and objects that wait in a spool."""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dicom_io.errors import DicomIoError
from dicom_io.header.reader import read_facts
from dicom_io.inbox.quarantine import Quarantine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.db.retention.people import Person


class Place(StrEnum):
    """Where such a file lies."""

    #: Set aside; a person decides about it.
    QUARANTINE = "QUARANTINE"
    #: Acknowledged, and to be registered yet.
    SPOOL = "SPOOL"


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that names a person, or that cannot be read and holds their Patient ID."""

    place: Place
    spool: str
    root: Path
    key: str
    study_uid: str = ""
    sop_uid: str = ""
    is_readable: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "place": self.place.value,
            "spool": self.spool,
            "key": self.key,
            "study_uid": self.study_uid,
            "sop_uid": self.sop_uid,
            "is_readable": self.is_readable,
        }


def held_files(spools: Mapping[str, Path], person: Person) -> list[HeldFile]:
    """Every file of these spools that names a person; raises OSError where a folder cannot be read."""
    return [
        found
        for name, root in spools.items()
        for place, path in _files(root)
        if (found := _looked_at(place, name, root, path, person))
    ]


def _files(root: Path) -> Iterator[tuple[Place, Path]]:
    with suppress(FileNotFoundError):
        yield from ((Place.SPOOL, path) for path in sorted((root / "new").iterdir()))
    yield from ((Place.QUARANTINE, entry.path) for entry in Quarantine(root).entries() if entry.is_file)


def _looked_at(place: Place, spool: str, root: Path, path: Path, person: Person) -> HeldFile | None:
    try:
        facts = read_facts(path)
    except FileNotFoundError:
        return None
    except (DicomIoError, OSError):
        is_named = any(_holds(path, patient_id) for patient_id in person.patient_ids)
        return HeldFile(place, spool, root, path.name, is_readable=False) if is_named else None
    if not person.is_named_by(facts.patient_id, facts.issuer_of_patient_id):
        return None
    return HeldFile(place, spool, root, path.name, facts.study_uid, facts.sop_uid)


def _holds(path: Path, text: str) -> bool:
    """Whether a file holds a text anywhere; a file that cannot be opened may."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(text.encode(codec, "replace")) >= 0 for codec in ("utf-8", "latin-1"))
    except FileNotFoundError:
        return False
    except ValueError:
        # An empty file.
        return False
    except OSError:
        return True
