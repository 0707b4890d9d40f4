"""The kinds of findings of `auscult fsck`, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: So many findings of a kind are named; the others are counted.
NAMED = 20


class FindingKind(StrEnum):
    """What is wrong; the sentence says what to do."""

    #: An original on record is not in the store.
    ORIGINAL_MISSING = "ORIGINAL_MISSING"
    #: An original is not the object that was received (`--deep`).
    ORIGINAL_DAMAGED = "ORIGINAL_DAMAGED"
    #: An object in the store has no row.
    ORIGINAL_UNRECORDED = "ORIGINAL_UNRECORDED"
    #: A film on record is not there.
    FILM_MISSING = "FILM_MISSING"
    #: A film does not have the pixels that it was stored with (`--deep`).
    FILM_DAMAGED = "FILM_DAMAGED"
    #: A film that no image names.
    FILM_UNRECORDED = "FILM_UNRECORDED"
    #: A temporary file of a write that ended long ago.
    PART_LEFT = "PART_LEFT"
    #: A file that Auscult did not put there.
    FOREIGN_FILE = "FOREIGN_FILE"
    #: A film that counts has neither a result nor an open task.
    NO_TASK = "NO_TASK"
    #: A stored answer is not what the rule says of its films.
    ANSWER_STALE = "ANSWER_STALE"
    #: A task is open though its result is on record.
    TASK_WORKED = "TASK_WORKED"
    #: A re-run is open without an open task.
    BATCH_FORGOTTEN = "BATCH_FORGOTTEN"
    #: A re-run has had open tasks for too long.
    BATCH_LONG_OPEN = "BATCH_LONG_OPEN"
    #: An acknowledged object has waited in a spool for too long.
    SPOOL_WAITS = "SPOOL_WAITS"
    #: Refusals have waited in the journal for too long.
    JOURNAL_WAITS = "JOURNAL_WAITS"
    #: A file of the journal could not be read and was set aside.
    JOURNAL_BROKEN = "JOURNAL_BROKEN"
    #: A listener has been silent for too long.
    LISTENER_GONE = "LISTENER_GONE"
    #: The database file is damaged (SQLite).
    DATABASE_DAMAGED = "DATABASE_DAMAGED"

    @property
    def sentence(self) -> str:
        """What it means and what to do."""
        return _SENTENCES[self]


_AGAIN = "Fetch its study again (auscult fetch), let the PACS send it again, or restore it from a backup."
_SENTENCES = {
    FindingKind.ORIGINAL_MISSING: f"An original is not in the store. {_AGAIN}",
    FindingKind.ORIGINAL_DAMAGED: f"An original is not the object that was received. {_AGAIN}",
    FindingKind.ORIGINAL_UNRECORDED: "An object in the store has no row. --repair registers it.",
    FindingKind.FILM_MISSING: "A film is not there. --repair makes it again from the original.",
    FindingKind.FILM_DAMAGED: "A film is damaged. --repair makes it again from the original.",
    FindingKind.FILM_UNRECORDED: "A film belongs to no image. --repair removes it.",
    FindingKind.PART_LEFT: "A temporary file was left behind. --repair removes it.",
    FindingKind.FOREIGN_FILE: "A file is not one of Auscult's. Look at it, and move it elsewhere.",
    FindingKind.NO_TASK: "A film has neither a result nor a task. --repair gives it a task.",
    FindingKind.ANSWER_STALE: "An answer is not what its films say. --repair decides it again.",
    FindingKind.TASK_WORKED: "A task is open, and its result is on record. --repair ends it.",
    FindingKind.BATCH_FORGOTTEN: "A re-run is open, and nothing of it is left to do. --repair closes it.",
    FindingKind.BATCH_LONG_OPEN: "A re-run has been open for 30 days. Start a worker, or see what its films wait for "
    "(auscult batch show, auscult status).",
    FindingKind.SPOOL_WAITS: "An object has waited in a spool for 15 minutes. The log of its listener says why; --repair "
    "registers it.",
    FindingKind.JOURNAL_WAITS: "Refusals have waited for 15 minutes to be recorded. --repair records them.",
    FindingKind.JOURNAL_BROKEN: "A file of refusals could not be read and was set aside. Look at it, and move it elsewhere.",
    FindingKind.LISTENER_GONE: "A listener has been silent for a day and holds back NORMAL. Start it, or retire it (auscult "
    "listener retire) once nothing is left in its spool.",
    FindingKind.DATABASE_DAMAGED: "The database file is damaged. Restore it from a backup.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: by number, key or UID, never by patient."""

    kind: FindingKind
    #: The file's key or path, or the UID of image or study.
    what: str
    image_id: int | None = None
    study_id: int | None = None
    #: Of the task or the re-run.
    number: int | None = None


@dataclass(slots=True)
class Tally:
    """The findings of one kind."""

    count: int = 0
    repaired: int = 0
    named: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FsckReport:
    """What was looked at, and what was found."""

    images: int = 0
    originals: int = 0
    films: int = 0
    studies: int = 0
    tallies: dict[FindingKind, Tally] = field(default_factory=dict)

    def add(self, finding: Finding, *, repaired: bool) -> None:
        """Count a finding."""
        tally = self.tallies.setdefault(finding.kind, Tally())
        tally.count += 1
        tally.repaired += repaired
        if len(tally.named) < NAMED:
            tally.named.append(finding.what)

    @property
    def left(self) -> int:
        """How many findings were not repaired."""
        return sum(tally.count - tally.repaired for tally in self.tallies.values())

    def rows(self) -> list[dict[str, Any]]:
        """A row for each kind that was found, in the order of the kinds."""
        return [
            {
                "finding": kind.value,
                "count": tally.count,
                "repaired": tally.repaired,
                "sentence": kind.sentence,
                "named": tally.named,
            }
            for kind in FindingKind
            if (tally := self.tallies.get(kind))
        ]

    def as_dict(self) -> dict[str, Any]:
        """The whole report."""
        looked_at = {name: getattr(self, name) for name in ("images", "originals", "films", "studies")}
        return {**looked_at, "left": self.left, "findings": self.rows()}
