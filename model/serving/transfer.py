"""Export of a bundle as a zip that is always the same bytes, and import of one without trust in its contents.

Digests prove that a bundle is whole, not who made it: import only what comes from somebody you trust.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from model.config import NAME, VERSION
from model.errors import BundleError
from model.serving.bundle import load_bundle
from model.serving.manifest import CARD_FILE, KERAS_FILE, LITERT_FILE, MANIFEST, read_manifest
from model.serving.sizes import MAX_NETWORK_BYTES, MAX_OTHER_BYTES, archive_fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.serving.bundle import Bundle

MAX_FILES = 32
#: The earliest time that a zip can hold; the real time would change its bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
_OWNER_WRITES = 0o100644 << 16
_DRAFT = ".import-"
#: Age in seconds at which a draft without a lock is taken for dead: machines that share the folder may see no locks.
_DEAD_AFTER_S = 3600.0


def export_bundle(bundle: Bundle, out: Path) -> Path:
    """Write a bundle for another site.

    Parameters
    ----------
    bundle : Bundle
        What to write.
    out : Path
        A file ending in ``.zip``, or a folder in which the bundle's own folder is made.

    Returns
    -------
    Path
        What was written. A zip of the same bundle is the same bytes on every machine: stored, not compressed (the
        network does not become smaller), in order, without times.

    Raises
    ------
    BundleError
        If it exists already or cannot be written.
    """
    is_zip = out.suffix.lower() == ".zip"
    target = out if is_zip else out / bundle.label
    if target.exists():
        raise BundleError(f"{target} exists already: remove it or choose another place")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_zip:
            _write_zip(bundle, target)
        else:
            target.mkdir()
            for name in _names(bundle.path):
                shutil.copyfile(bundle.path / name, target / name)
    except OSError as error:
        raise BundleError(f"{target} cannot be written ({error.strerror})") from error
    return target


def _names(path: Path) -> list[str]:
    return sorted({MANIFEST, CARD_FILE, *read_manifest(path)["files"]})


def _write_zip(bundle: Bundle, target: Path) -> None:
    draft = target.with_name(f"{target.name}.part")
    with zipfile.ZipFile(draft, "w") as archive:
        for name in _names(bundle.path):
            entry = zipfile.ZipInfo(f"{bundle.label}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, _OWNER_WRITES
            archive.writestr(entry, (bundle.path / name).read_bytes())
    draft.rename(target)


def import_bundle(source: Path, folder: Path) -> Bundle:
    """Import a bundle into a folder of bundles.

    Parameters
    ----------
    source : Path
        A zip that ``export_bundle`` wrote, or a bundle's folder.
    folder : Path
        Folder of bundles; made where it is missing.

    Returns
    -------
    Bundle
        As it is in ``folder``. A bundle that is there already with the same contents stays as it is.

    Raises
    ------
    BundleError
        If it is not a bundle, is incomplete, or a different bundle of its name is there.
    """
    if not source.exists():
        raise BundleError(f"there is no {source}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_dead_drafts(folder)
        with _draft(folder) as draft:
            _copy(source, draft)
            _sync(draft)
            return _settle(load_bundle(draft), folder)
    except OSError as error:
        raise BundleError(f"the bundle cannot be taken into {folder} ({error.strerror})") from error


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A folder for the copy, locked as long as this import lives."""
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=folder) as passing:
        descriptor = os.open(passing, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(descriptor)
            draft = Path(passing) / "bundle"
            draft.mkdir(mode=0o700)
            yield draft
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_dead_drafts(folder: Path) -> None:
    """Remove what imports that were killed left behind."""
    for left in folder.glob(f"{_DRAFT}*"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if time.time() - os.fstat(descriptor).st_mtime > _DEAD_AFTER_S and _lock(descriptor):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)


def _sync(folder: Path) -> None:
    """Make a folder and its files durable: after a power cut a bundle is complete or not there."""
    for path in folder.iterdir():
        _fsync(path)
    _sync_names(folder)


def _sync_names(folder: Path) -> None:
    try:
        _fsync(folder)
    except OSError as error:
        # Some file systems cannot sync a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(bundle: Bundle, folder: Path) -> Bundle:
    """Rename the checked copy, in one step: a bundle is in the folder complete or not at all."""
    if not NAME.fullmatch(bundle.name) or not VERSION.fullmatch(bundle.version):
        raise BundleError("the bundle has a name or version that no bundle can have")
    if not bundle.card_path.is_file():
        raise BundleError(f"the bundle {bundle.label} lacks {CARD_FILE}: copy or export the bundle again")
    target = folder / bundle.label
    try:
        bundle.path.rename(target)
    except OSError:
        # It is there already, or another import was quicker: a folder can only be renamed over an empty one.
        if not target.is_dir():
            raise
        if read_manifest(target)["manifest_sha256"] != read_manifest(bundle.path)["manifest_sha256"]:
            raise BundleError(
                f"{target} holds another bundle of that name: the new one needs another version"
            ) from None
    _sync_names(folder)
    return load_bundle(target)


def _copy(source: Path, draft: Path) -> None:
    if source.is_dir():
        # The description first: the list of files comes from the copy.
        _copy_file(source, draft, MANIFEST)
        for name in _names(draft):
            if name != MANIFEST:
                _copy_file(source, draft, _plain(name))
        return
    if not source.is_file():
        raise BundleError(f"{source} is neither a file nor a folder")
    try:
        with zipfile.ZipFile(source) as archive:
            _unpack(archive, draft, source.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise BundleError(f"{source} is not a zip archive that can be read: export or copy the bundle again") from error


def _copy_file(source: Path, draft: Path, name: str) -> None:
    """Copy a regular file of a folder, if it exists. A link may lead anywhere, and a pipe or device may never end."""
    try:
        descriptor = os.open(source / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise BundleError(f"{source / name} is a link: copy the file itself into the folder") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _largest(name):
        os.close(descriptor)
        what = "larger than any of a bundle" if stat.S_ISREG(found.st_mode) else "not a file"
        raise BundleError(f"{source / name} is {what}")
    with os.fdopen(descriptor, "rb") as stream, (draft / name).open("wb") as file:
        shutil.copyfileobj(stream, file)


def _unpack(archive: zipfile.ZipFile, draft: Path, size: int) -> None:
    """Unpack flat, under names checked to be bare: no path of the archive is ever used as one."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_FILES:
        raise BundleError("the archive holds more files than a bundle has")
    named = [(_plain(PurePosixPath(member.filename).name), member) for member in members]
    if len({name for name, _ in named}) < len(named):
        raise BundleError("the archive holds two files of one name")
    if not archive_fits(members, size) or any(member.file_size > _largest(name) for name, member in named):
        raise BundleError("the archive holds a file that is encrypted or larger than any of a bundle")
    for name, member in named:
        with archive.open(member) as stream, (draft / name).open("wb") as file:
            shutil.copyfileobj(stream, file)
    extra = {path.name for path in draft.iterdir()} - set(_names(draft))
    if extra:
        raise BundleError("the archive holds files that do not belong to its bundle")


def _largest(name: str) -> int:
    return MAX_NETWORK_BYTES if name in (KERAS_FILE, LITERT_FILE) else MAX_OTHER_BYTES


def _plain(name: str) -> str:
    """Check that a name is a bare file name; raises BundleError. Archives and descriptions may hold any text."""
    if name != PurePosixPath(name).name or name in ("", ".", "..") or "\\" in name or "\0" in name:
        raise BundleError("the bundle names a file by a path")
    return name
