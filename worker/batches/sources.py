"""The files under the paths of a command line, and the skipped ones, counted by reason."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from dicom_io.errors import NotDicom
from dicom_io.film.picture_file import begins_like_picture
from dicom_io.header.part10 import read_preface
from dicom_io.inbox.archives import begins_like_archive
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

#: Media Storage Directory Storage (PS3.6, Annex A): a DICOMDIR, whatever its file is called.
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_MEDIA_SOP_CLASS = 0x00020002
#: Names in lower case that systems and media add; a name that begins with a dot is skipped too.
_HOUSEKEEPING = frozenset(
    {
        "$recycle.bin",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
_DICOMDIR = "dicomdir"
#: A file of such a name claims to be a film or to hold some, so it is reported and not skipped.
_CLAIMS = (".dcm", ".dic", ".dicom", ".ima", ".zip")
#: How many names are kept of each kind; more of folders behind links, which may hold films.
_NAMED, _LINKS_NAMED = 3, 100


class Kind(StrEnum):
    """What a file is, by its first bytes."""

    DICOM = "DICOM"
    MEDIA_DIRECTORY = "MEDIA_DIRECTORY"
    PICTURE = "PICTURE"
    ARCHIVE = "ARCHIVE"
    OTHER = "OTHER"
    #: It cannot be opened or read.
    UNREADABLE = "UNREADABLE"


class Skip(StrEnum):
    """Why a file below a folder or in an archive is skipped."""

    NOT_DICOM = "NOT_DICOM"
    PICTURE = "PICTURE"
    MEDIA_DIRECTORY = "MEDIA_DIRECTORY"
    HOUSEKEEPING = "HOUSEKEEPING"
    LINKED_FOLDER = "LINKED_FOLDER"
    SEEN = "SEEN"
    SPECIAL = "SPECIAL"

    @property
    def words(self) -> str:
        """The reason in words."""
        return _WORDS[self]


_WORDS = {
    Skip.NOT_DICOM: "not DICOM",
    Skip.PICTURE: "JPEG or PNG pictures, which 'auscult ingest --wrap' takes as films",
    Skip.MEDIA_DIRECTORY: "table of contents of a medium (DICOMDIR)",
    Skip.HOUSEKEEPING: "hidden or the system's own",
    Skip.LINKED_FOLDER: "links to folders, which are taken when they are named themselves",
    Skip.SEEN: "further names of a file that was taken",
    Skip.SPECIAL: "neither file nor folder",
}


@dataclass(slots=True)
class Skipped:
    """The skipped files: how many for each reason, and the first names."""

    counts: Counter[Skip] = field(default_factory=Counter)
    names: dict[Skip, list[str]] = field(default_factory=dict)

    def add(self, why: Skip, name: str) -> None:
        """Count one more."""
        self.counts[why] += 1
        if self.counts[why] <= (_LINKS_NAMED if why is Skip.LINKED_FOLDER else _NAMED):
            self.names.setdefault(why, []).append(name)

    def as_dict(self) -> Mapping[str, int]:
        """How many of each kind."""
        return {why.value: self.counts[why] for why in Skip if self.counts[why]}

    def sentences(self) -> Iterator[str]:
        """A line for each kind, with the first names."""
        for why, names in self.names.items():
            more = ", ..." if self.counts[why] > len(names) else ""
            yield f"skipped {self.counts[why]}: {why.words} ({', '.join(names)}{more})"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, and whether the command line names it or it is below a folder."""

    path: Path
    is_named: bool


def existing(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths; raises UsageError that names those that do not exist or are neither file nor folder."""
    missing = [path for path in paths if not os.path.lexists(path)]
    # a pipe or a device may never end
    odd = [path for path in paths if path not in missing and not (_is(path, stat.S_ISREG) or _is(path, stat.S_ISDIR))]
    for wrong, what in ((missing, "no such file or folder"), (odd, "neither file nor folder")):
        if wrong:
            msg = f"{what}: {', '.join(map(str, wrong))}"
            raise UsageError(msg)
    return paths


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except OSError:
        return False


def gather(paths: Sequence[Path], skipped: Skipped, wanted: Container[Kind]) -> list[FoundFile]:
    """The files under these paths, those below folders that are not wanted counted in ``skipped``.

    Raises UsageError that names the paths that are not there, and the folders in which there is nothing.
    """
    found: list[FoundFile] = []
    empty: list[Path] = []
    for path in existing(paths):
        here = [item for item in walk([path], skipped) if item.is_named or _passes(item.path, skipped, wanted)]
        found += here
        if not here:
            empty.append(path)
    if empty:
        raise nothing_in(empty, skipped)
    return found


def nothing_in(paths: Iterable[Path], skipped: Skipped) -> UsageError:
    """The error of paths in which nothing was found."""
    named = ", ".join(map(str, paths))
    return UsageError("; ".join([f"no film in {named}", *skipped.sentences()]))


def _passes(path: Path, skipped: Skipped, wanted: Container[Kind]) -> bool:
    kind = kind_of(path)
    why = None if kind in wanted else skip_of(kind, path.name)
    if why:
        skipped.add(why, str(path))
    return why is None


def kind_of(path: Path) -> Kind:
    """What a file is, by its first bytes."""
    try:
        with path.open("rb") as file:
            return kind_of_stream(file)
    except OSError:
        return Kind.UNREADABLE


def kind_of_stream(stream: BinaryIO) -> Kind:
    """The kind of an open file, which is at its start; it is left there."""
    start = stream.read(132)
    stream.seek(0)
    try:
        meta = read_preface(stream).meta
    except NotDicom:
        if begins_like_picture(start):
            return Kind.PICTURE
        return Kind.ARCHIVE if begins_like_archive(start) else Kind.OTHER
    is_directory = meta.get(_MEDIA_SOP_CLASS, b"").decode("latin-1").strip(" \0") == MEDIA_DIRECTORY
    return Kind.MEDIA_DIRECTORY if is_directory else Kind.DICOM


def skip_of(kind: Kind, name: str) -> Skip | None:
    """Why a file that was not named is skipped; None for one that is DICOM, has a DICOM name or cannot be read."""
    if kind is Kind.MEDIA_DIRECTORY:
        return Skip.MEDIA_DIRECTORY
    if kind is Kind.PICTURE:
        return Skip.PICTURE
    if kind in (Kind.DICOM, Kind.UNREADABLE) or name.lower().endswith(_CLAIMS):
        return None
    return Skip.NOT_DICOM


def skip_by_name(path: PurePosixPath) -> Skip | None:
    """Why a path is skipped by its names alone: one of them belongs to the system or to a medium."""
    names = [name.lower() for name in path.parts]
    if any(name in _HOUSEKEEPING or (name.startswith(".") and name not in (".", "..")) for name in names):
        return Skip.HOUSEKEEPING
    return Skip.MEDIA_DIRECTORY if names and names[-1] == _DICOMDIR else None


def walk(paths: Iterable[Path], skipped: Skipped | None = None) -> Iterator[FoundFile]:
    """Every file under these paths, in order; below a folder the files that ``Skip`` names are left out.

    Links below a folder are followed to files, each file once, and not to folders. A broken link and an unreadable folder
    are yielded themselves, so that the caller reports the error when it opens them.
    """
    passed_over = skipped or Skipped()
    for path in paths:
        if path.is_dir():
            yield from _once(sorted(_below(path, passed_over)), passed_over)
        else:
            yield FoundFile(path, is_named=True)


def _once(found: Iterable[tuple[Path, bool]], skipped: Skipped) -> Iterator[FoundFile]:
    """Each real file once, where a link is one of its names; several hard links of one file are several files."""
    by_link: dict[tuple[int, int], bool] = {}
    for path, is_link in found:
        try:
            real = path.stat()
            key = (real.st_dev, real.st_ino)
        except OSError:
            yield FoundFile(path, is_named=False)
            continue
        if key in by_link and (is_link or by_link[key]):
            skipped.add(Skip.SEEN, str(path))
            continue
        by_link[key] = is_link
        yield FoundFile(path, is_named=False)


def _below(folder: Path, skipped: Skipped) -> Iterator[tuple[Path, bool]]:
    """Files and whether each is a link, without recursion: a path may nest deeper than Python does."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    why = _skip_of_entry(entry)
                    if why:
                        skipped.add(why, entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        yield Path(entry.path), entry.is_symlink()
        except OSError:
            yield here, False


def _skip_of_entry(entry: os.DirEntry[str]) -> Skip | None:
    why = skip_by_name(PurePosixPath(entry.name))
    if why or entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
        return why
    try:
        mode = Path(entry.path).stat().st_mode
    except OSError:
        # A link to nothing, or to itself.
        return None
    if stat.S_ISDIR(mode):
        return Skip.LINKED_FOLDER
    return None if stat.S_ISREG(mode) else Skip.SPECIAL
