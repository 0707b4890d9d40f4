"""A recorded run: what a program under strace did to files, and what it sent, as events with their bytes.

A call that another thread interrupts in the trace has two places: where it began and where it ended. A write counts from
its end, a sync covers what had ended when it began, an answer may have been read by its receiver from its beginning: each
time the reading that is worse for the program.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MADE = (
    "openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,fallocate,copy_file_range,sendfile"
)
_NAMED = "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,mknod,mknodat"
#: The options of strace for a trace that `events` reads: every byte of every call.
RECORD = (
    "-f",
    "-y",
    "-qq",
    "-s",
    "16777216",
    "-e",
    f"trace={_MADE},{_NAMED},fsync,fdatasync,sync,syncfs,sendto,sendmsg",
)
#: Calls that move bytes without showing them, and others that this reader does not know: better an error than a hole.
_UNREADABLE = {
    "copy_file_range",
    "sendfile",
    "fallocate",
    "pwritev2",
    "truncate",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "creat",
}
_CALL = re.compile(r"(\w+)\(")
_DESCRIPTOR = re.compile(r"\b(\d+)<((?:[^>\\]|\\.)*)>(\(deleted\))?")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')


@dataclass(frozen=True, slots=True)
class Event:
    """One call that succeeded.

    Attributes
    ----------
    kind : str
        open, write, resize, sync, name (link), move, remove, folder, send.
    began, ended : int
        Places in the trace.
    path, target : str
        The file or folder; `target` is the second name of a link or a move.
    at : int or None
        Offset of a write, None for the place where the last one ended; new size of a resize.
    data : bytes
        What was written or sent.
    flags : str
        Of an open.
    """

    kind: str
    began: int
    ended: int
    path: str = ""
    target: str = ""
    at: int | None = None
    data: bytes = b""
    flags: str = ""


def events(trace: Path) -> list[Event]:
    """Read a trace that was recorded by `RECORD`, in the order in which the calls ended."""
    return [event for call in _whole(trace) for event in _event(*call)]


def _whole(trace: Path) -> Iterator[tuple[int, int, str]]:
    begun: dict[str, tuple[int, str]] = {}
    with trace.open(encoding="latin-1") as lines:
        for number, line in enumerate(lines):
            pid, call = line.rstrip("\n").split(maxsplit=1)
            if call.endswith("<unfinished ...>"):
                begun[pid] = number, call.removesuffix("<unfinished ...>").rstrip()
                continue
            began = number
            if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
                began, start = begun.pop(pid, (number, ""))
                call = start + call[resumed.end() :]
            yield began, number, call


def _event(began: int, ended: int, call: str) -> Iterator[Event]:
    found = _CALL.match(call)
    head, _, result = call.rpartition(") ")
    result = result.strip().removeprefix("=").strip()
    if not found or not head or result.startswith(("-1", "?")):
        return
    name = found[1]
    if name in _UNREADABLE:
        raise ValueError(f"a call that the model does not know: {call[:200]}")
    make = _MAKERS.get(name)
    if make:
        yield from make(began, ended, head[found.end() :], result)


def _bytes(text: str) -> bytes:
    return codecs.escape_decode(text.encode("latin-1"))[0]


def _texts(arguments: str) -> list[bytes]:
    found = list(_TEXT.finditer(arguments))
    assert not any(each[2] for each in found), "strace cut a text short"
    return [_bytes(each[1]) for each in found]


def _file_of(arguments: str) -> str | None:
    """The path of the descriptor that a call begins with; None for sockets, pipes and files without a name."""
    found = _DESCRIPTOR.match(arguments)
    if not found or found[3] or not found[2].startswith("/"):
        return None
    return _bytes(found[2]).decode("utf-8", "surrogateescape")


def _paths(arguments: str) -> list[str]:
    """The paths that a call names; a relative one lies below the folder whose descriptor stands before it."""
    found, folder = [], ""
    for part in re.finditer(rf"AT_FDCWD<((?:[^>\\]|\\.)*)>|{_DESCRIPTOR.pattern}|{_TEXT.pattern}", arguments):
        if part[0].startswith("AT_FDCWD"):
            folder = part[1]
        elif part[0].startswith('"'):
            text = _bytes(part[0].rpartition('"')[0][1:]).decode("utf-8", "surrogateescape")
            found.append(str(PurePosixPath(folder or "/", text)))
        else:
            folder = part[3]
    return found


def _open(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:  # noqa: ARG001
    flags = arguments.rpartition('"')[2]
    if "O_CREAT" in flags or "O_TRUNC" in flags:
        yield Event("open", began, ended, _paths(arguments)[0], flags=flags)


def _write(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:
    """A write where the last one ended: `write` and `writev`, whose last number is that of its parts."""
    if path := _file_of(arguments):
        data = b"".join(_texts(arguments))[: int(result.split(maxsplit=1)[0])]
        yield Event("write", began, ended, path, data=data)


def _write_at(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:
    """A write that names its place last: `pwrite64` and `pwritev`."""
    for event in _write(began, ended, arguments, result):
        yield replace(event, at=int(arguments.rpartition(",")[2]))


def _seek(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:
    if path := _file_of(arguments):
        yield Event("seek", began, ended, path, at=int(result.split(maxsplit=1)[0]))


def _resize(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:  # noqa: ARG001
    if path := _file_of(arguments):
        yield Event("resize", began, ended, path, at=int(arguments.rpartition(",")[2]))


def _sync(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:  # noqa: ARG001
    if path := _file_of(arguments):
        yield Event("sync", began, ended, path)


def _send(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:  # noqa: ARG001
    yield Event("send", began, ended, data=b"".join(_texts(arguments)))


def _named(kind: str):
    def make(began: int, ended: int, arguments: str, result: str) -> Iterator[Event]:  # noqa: ARG001
        first, *rest = _paths(arguments)
        yield Event(kind, began, ended, first, rest[0] if rest else "")

    return make


_MAKERS = {
    "openat": _open,
    **dict.fromkeys(("write", "writev"), _write),
    **dict.fromkeys(("pwrite64", "pwritev"), _write_at),
    "lseek": _seek,
    "ftruncate": _resize,
    **dict.fromkeys(("fsync", "fdatasync"), _sync),
    **dict.fromkeys(("rename", "renameat", "renameat2"), _named("move")),
    **dict.fromkeys(("link", "linkat"), _named("name")),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _named("remove")),
    **dict.fromkeys(("mkdir", "mkdirat"), _named("folder")),
    **dict.fromkeys(("sendto", "sendmsg"), _send),
}
