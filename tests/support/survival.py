"""Whether everything that was acknowledged is left after a power cut, at every moment of a recorded run."""

from __future__ import annotations

import random
import re
import sqlite3
import struct
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.power_cut import CUTS, Bytes, Cut, Disk, left_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.support.system_calls import Event

    Left = dict[str, tuple[int, bytes]]

#: Elements of a C-STORE-RSP (PS3.7 table 9.3-2): Command Field, Status 0x0000, and the tag of Affected SOP Instance UID.
_RESPONSE = b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80"
_SUCCESS = b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00"
_AFFECTED = b"\x00\x00\x00\x10"
_P_DATA = 4
#: A program that is not a listener acknowledges by a line in a file of this name, outside the data folder.
ACKNOWLEDGED = "acknowledged"
#: Where an acknowledged object may be while it has no row. Quarantine keeps it too.
_SPOOLS = ("spool/new/", "spool/quarantine/", "ingest/new/", "ingest/quarantine/")
_DATABASE = "auscult.db"
_ROWS = "SELECT sop_uid, store_key, film_key FROM image"


@dataclass(frozen=True, slots=True)
class Loss:
    """An acknowledged object that a power cut takes."""

    sop_uid: str
    after: Event
    cut: Cut

    def __str__(self) -> str:
        return f"{self.sop_uid} is lost after {self.after.kind} {self.after.path} {self.after.target} ({self.cut})"


@dataclass(slots=True)
class Survival:
    """Replays a run and looks at what is left after a cut behind each call."""

    root: Path
    before: Path | None = None
    cuts: Sequence[Cut] = CUTS
    #: Random mixtures beside the cuts, at each moment.
    mixtures: int = 1
    seed: int = 1
    #: Whether the first loss is enough, as where one is expected.
    first_only: bool = False
    #: Whether rows are looked at from the start, for the films that they name.
    with_films: bool = False
    losses: list[Loss] = field(default_factory=list)
    torn_films: list[str] = field(default_factory=list)
    moments: int = 0
    states: int = 0
    #: What is left of each acknowledged object: its bytes, in any of the files that hold it.
    acknowledged: dict[str, set[bytes]] = field(default_factory=dict)
    #: Called with what is left at moments that a recovery is to be tried from.
    on_left: Callable[[Left, frozenset[str]], None] | None = None
    _disk: Disk = field(init=False)
    _seen: set[int] = field(default_factory=set)
    _rows: dict[int, dict[str, list[tuple[str, str | None]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._disk = Disk(self.root)
        if self.before:
            self._disk.load(self.before)

    def run(self, events: Iterable[Event]) -> Survival:
        """Take the calls in order; a cut comes behind each that changed the folder or acknowledged an object."""
        rng = random.Random(self.seed)
        for number, event in enumerate(events):
            if self.first_only and self.losses:
                break
            uids = list(acknowledged_by(event))
            self._acknowledge(uids)
            self._disk.apply(event)
            if uids or event.path.startswith(str(self.root)) or event.target.startswith(str(self.root)):
                self.moments += 1
                cuts = (
                    *self.cuts,
                    *(Cut("random", "random", number * 100 + each + 1) for each in range(self.mixtures)),
                )
                for cut in cuts:
                    self._look(event, cut, random.Random(cut.seed) if cut.seed else rng)
                if uids and self.on_left:
                    self.on_left(left_after(self._disk, CUTS[0], rng), frozenset(self.acknowledged))
        return self

    def _acknowledge(self, uids: Iterable[str]) -> None:
        for uid in uids:
            # A longer UID begins with the same digits.
            whole = re.compile(re.escape(uid.encode()) + rb"(?![0-9.])")
            holders = {
                content
                for path, (_, content) in left_after(self._disk, Cut("all", "all"), random.Random(0)).items()
                if whole.search(content) and not path.startswith(_DATABASE)
            }
            assert holders, f"{uid} was acknowledged and is in no file"
            self.acknowledged.setdefault(uid, set()).update(holders)

    def _look(self, event: Event, cut: Cut, rng: random.Random) -> None:
        if not (self.acknowledged or self.with_films):
            return
        left = left_after(self._disk, cut, rng)
        state = hash((frozenset((path, content) for path, (_, content) in left.items()), len(self.acknowledged)))
        if state in self._seen:
            return
        self._seen.add(state)
        self.states += 1
        waiting = {content for path, (_, content) in left.items() if path.startswith(_SPOOLS)}
        missing = [uid for uid, contents in self.acknowledged.items() if not contents & waiting]
        rows = self._rows_of(left) if missing or self.with_films else {}
        self.losses += [Loss(uid, event, cut) for uid in missing if not self._is_stored(uid, rows, left)]
        self._check_films(rows, left, cut)

    def _is_stored(self, uid: str, rows: dict[str, list[tuple[str, str | None]]], left: Left) -> bool:
        stored = (left.get(f"store/{key[:2]}/{key[2:4]}/{key}.dcm") for key, _ in rows.get(uid, []))
        return any(found is not None and found[1] in self.acknowledged[uid] for found in stored)

    def _check_films(self, rows: dict[str, list[tuple[str, str | None]]], left: Left, cut: Cut) -> None:
        """A row that names a film has the whole film."""
        for film in {film for named in rows.values() for _, film in named if film}:
            path = f"films/{film[:2]}/{film[2:4]}/{film}.png"
            number = left[path][0] if path in left else None
            inode = self._disk.inodes[number] if number is not None else None
            if not isinstance(inode, Bytes) or left[path][1] != bytes(inode.whole):
                self.torn_films.append(f"{path} ({cut})")

    def _rows_of(self, left: Left) -> dict[str, list[tuple[str, str | None]]]:
        files = {
            path: content
            for path, (_, content) in left.items()
            if path.startswith(_DATABASE) and not path.endswith("-shm")
        }
        state = hash(frozenset(files.items()))
        if state not in self._rows:
            self._rows[state] = _rows_in(files)
        return self._rows[state]

    def __str__(self) -> str:
        kinds = Counter(str(loss.cut) for loss in self.losses)
        return (
            f"{self.moments} moments, {self.states} states of the disk, {len(self.acknowledged)} acknowledged objects: "
            f"{len({loss.sop_uid for loss in self.losses})} lost {dict(kinds) or ''}"
        )


def acknowledged_by(event: Event) -> Iterable[str]:
    """The SOP Instance UIDs that a call acknowledges: a C-STORE-RSP with success, or lines in the file for that."""
    if event.kind == "write" and Path(event.path).name == ACKNOWLEDGED:
        yield from event.data.decode().split()
    elif (
        event.kind == "send"
        and event.data[:1] == bytes([_P_DATA])
        and _RESPONSE in event.data
        and _SUCCESS in event.data
    ):
        start = event.data.index(_AFFECTED) + len(_AFFECTED)
        (length,) = struct.unpack_from("<L", event.data, start)
        yield event.data[start + 4 : start + 4 + length].decode("ascii").strip("\0 ")


def restore(left: Left, root: Path) -> None:
    """Write what is left into a folder, as a machine finds it when it has power again."""
    for path, (_, content) in left.items():
        target = root / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)


def _rows_in(files: dict[str, bytes]) -> dict[str, list[tuple[str, str | None]]]:
    """The rows that SQLite finds once it has recovered; none where it cannot."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    if _DATABASE not in files:
        return found
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        connection = sqlite3.connect(Path(folder) / _DATABASE)
        with suppress(sqlite3.DatabaseError):
            for sop_uid, key, film in connection.execute(_ROWS):
                found.setdefault(sop_uid, []).append((key, film))
        connection.close()
    return found


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None
