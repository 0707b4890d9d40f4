"""A disk that keeps its promises and no others, for a recorded run: what may be left after a power cut at any moment.

POSIX promises: a file's bytes and size are durable once fsync of that file has ended; a name is durable once fsync of its
folder has ended. Nothing else. So after a cut every write since the last sync of its file may be there, missing, or there
as zeros; every name in a folder may be in any of the states it had since the last sync of that folder, independently of
all other names. A rename is the removal of one name and the making of another, which need not survive together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.system_calls import Event


@dataclass(slots=True)
class Bytes:
    """A file: what is durable, and what was done to it since, each with the place in the trace where it ended."""

    durable: bytes = b""
    whole: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, int | None, bytes, int]] = field(default_factory=list)
    place: int = 0

    def write(self, ended: int, at: int, data: bytes) -> None:
        self.pending.append((ended, at, data, 0))
        _put(self.whole, at, data)
        self.place = at + len(data)

    def resize(self, ended: int, size: int) -> None:
        self.pending.append((ended, None, b"", size))
        _cut(self.whole, size)

    def sync(self, began: int) -> None:
        done = [each for each in self.pending if each[0] < began]
        self.durable = self.after(done)
        self.pending = self.pending[len(done) :]

    def after(self, done: Sequence[tuple[int, int | None, bytes, int]], *, zeros: bool = False) -> bytes:
        found = bytearray(self.durable)
        for _, at, data, size in done:
            if at is None:
                _cut(found, size)
            else:
                _put(found, at, bytes(len(data)) if zeros else data)
        return bytes(found)


@dataclass(slots=True)
class Folder:
    """A folder: of each name what it led to when it was last durable, and since then."""

    names: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)

    def now(self, name: str) -> int | None:
        states = self.names.get(name)
        return states[-1][1] if states else None

    def set(self, ended: int, name: str, inode: int | None) -> None:
        self.names.setdefault(name, [(-1, None)]).append((ended, inode))

    def sync(self, began: int) -> None:
        for name, states in self.names.items():
            last = max((place for place, (ended, _) in enumerate(states) if ended < began), default=0)
            self.names[name] = states[last:]


class Disk:
    """Takes events and tells what may be left of a folder."""

    def __init__(self, root: Path) -> None:
        self._root = PurePosixPath(root)
        self.inodes: list[Bytes | Folder] = [Folder()]

    def load(self, root: Path) -> None:
        """Take what is in a real folder as durable: what was there before the recording began."""
        for path in sorted(root.rglob("*")):
            ours = str(self._root / path.relative_to(root))
            if path.is_dir():
                self._link(-1, ours, self._new(Folder()))
            elif path.is_file():
                content = path.read_bytes()
                self._link(-1, ours, self._new(Bytes(content, bytearray(content))))
        for inode in self.inodes:
            if isinstance(inode, Folder):
                inode.names = {name: states[-1:] for name, states in inode.names.items()}

    def apply(self, event: Event) -> None:
        """Do what the call did; what lies outside the folder is left alone."""
        do: dict[str, Callable[[Event], None]] = {
            "open": self._open, "write": self._write, "seek": self._seek, "resize": self._resize, "sync": self._sync,
            "name": self._name, "move": self._move, "remove": self._remove, "folder": self._folder,
        }  # fmt: skip
        if event.kind in do and (self._is_ours(event.path) or self._is_ours(event.target)):
            do[event.kind](event)

    def _is_ours(self, path: str) -> bool:
        return path == str(self._root) or path.startswith(f"{self._root}/")

    def find(self, path: str) -> int | None:
        """The inode that a path leads to now."""
        number: int | None = 0
        for part in PurePosixPath(path).relative_to(self._root).parts:
            folder = self.inodes[number] if number is not None else None
            number = folder.now(part) if isinstance(folder, Folder) else None
        return number

    def _new(self, inode: Bytes | Folder) -> int:
        self.inodes.append(inode)
        return len(self.inodes) - 1

    def _link(self, ended: int, path: str, inode: int | None) -> None:
        parent = self.find(str(PurePosixPath(path).parent))
        folder = self.inodes[parent] if parent is not None else None
        assert isinstance(folder, Folder), path
        folder.set(ended, PurePosixPath(path).name, inode)

    def _file(self, path: str) -> Bytes | None:
        number = self.find(path)
        inode = self.inodes[number] if number is not None else None
        return inode if isinstance(inode, Bytes) else None

    def _open(self, event: Event) -> None:
        file = self._file(event.path)
        if file is None and self.find(event.path) is None:
            self._link(event.ended, event.path, self._new(Bytes()))
        elif file is not None and "O_TRUNC" in event.flags and file.whole:
            file.resize(event.ended, 0)
        if file is not None:
            file.place = len(file.whole) if "O_APPEND" in event.flags else 0

    def _write(self, event: Event) -> None:
        if file := self._file(event.path):
            file.write(event.ended, file.place if event.at is None else event.at, event.data)

    def _seek(self, event: Event) -> None:
        if file := self._file(event.path):
            file.place = event.at or 0

    def _resize(self, event: Event) -> None:
        if file := self._file(event.path):
            file.resize(event.ended, event.at or 0)

    def _sync(self, event: Event) -> None:
        number = self.find(event.path)
        if number is not None:
            self.inodes[number].sync(event.began)

    def _name(self, event: Event) -> None:
        self._link(event.ended, event.target, self.find(event.path))

    def _move(self, event: Event) -> None:
        inode = self.find(event.path) if self._is_ours(event.path) else self._new(Bytes())
        if self._is_ours(event.target):
            self._link(event.ended, event.target, inode)
        if self._is_ours(event.path):
            self._link(event.ended, event.path, None)

    def _remove(self, event: Event) -> None:
        self._link(event.ended, event.path, None)

    def _folder(self, event: Event) -> None:
        self._link(event.ended, event.path, self._new(Folder()))


@dataclass(frozen=True, slots=True)
class Cut:
    """A rule for what is left: of the states of each name, and of the bytes of each file."""

    names: str
    data: str
    seed: int = 0

    def __str__(self) -> str:
        return f"names: {self.names}, bytes: {self.data}" + (f", seed {self.seed}" if self.seed else "")


#: All unsynced things are lost; all are kept; and the mixtures that file systems are known for.
CUTS = (
    Cut("none", "none"),
    Cut("all", "all"),
    Cut("all", "none"),
    Cut("all", "zeros"),
    Cut("none", "all"),
    Cut("removals", "all"),
    Cut("additions", "none"),
)


def left_after(disk: Disk, cut: Cut, rng: random.Random) -> dict[str, tuple[int, bytes]]:
    """The files that are left, by their path below the root, with their inodes and bytes."""
    found: dict[str, tuple[int, bytes]] = {}
    contents: dict[int, bytes] = {}

    def walk(number: int, path: str) -> None:
        inode = disk.inodes[number]
        if isinstance(inode, Bytes):
            if number not in contents:
                contents[number] = _left_bytes(inode, cut, rng)
            found[path] = number, contents[number]
            return
        for name, states in sorted(inode.names.items()):
            left = _left_name(states, cut, rng)
            if left is not None:
                walk(left, f"{path}/{name}" if path else name)

    walk(0, "")
    return found


def _left_name(states: Sequence[tuple[int, int | None]], cut: Cut, rng: random.Random) -> int | None:
    if cut.names == "random":
        return rng.choice(states)[1]
    wanted = {
        "none": states[:1],
        "all": states[-1:],
        "removals": [each for each in states[1:] if each[1] is None][-1:] or states[:1],
        "additions": [each for each in states[1:] if each[1] is not None][-1:] or states[:1],
    }[cut.names]
    return wanted[0][1]


def _left_bytes(file: Bytes, cut: Cut, rng: random.Random) -> bytes:
    if not file.pending or cut.data == "none":
        return file.durable
    if cut.data == "all":
        return bytes(file.whole)
    if cut.data == "random":
        return file.after([each for each in file.pending if rng.random() < 0.5], zeros=rng.random() < 0.2)
    return file.after(file.pending, zeros=True)


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _cut(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(max(0, size - len(content))))
