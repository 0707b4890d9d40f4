"""Objects to send: their class, instance and transfer syntax, and their bytes after a correct file meta group."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.header.elements import Elements, valid_uid
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.header.part10 import Preface, read_preface
from dicom_io.header.reader import read_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydicom.dataset import Dataset

#: A presentation context ID is an odd number below 256 (PS3.8 section 9.3.2.2).
MAX_CONTEXTS = 128
_SOP_CLASS_UID, _SOP_UID, _TRANSFER_SYNTAX_UID = 0x00080016, 0x00080018, 0x00020010
_META_SOP_CLASS_UID, _META_SOP_UID = 0x00020002, 0x00020003


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object to send."""

    #: The file as the caller named it, None for a data set in memory.
    path: Path | None
    #: A file with complete meta information, which is sent byte for byte, or a data set.
    source: Path | Dataset
    uids: ObjectUids

    @property
    def sendable(self) -> bool:
        """Whether it has the UIDs that a request needs."""
        return all(map(valid_uid, (self.uids.sop_class_uid, self.uids.sop_uid, self.uids.transfer_syntax_uid)))

    @property
    def context(self) -> tuple[str, str]:
        """The presentation context it needs: class and transfer syntax."""
        return self.uids.sop_class_uid, self.uids.transfer_syntax_uid


def outgoing_of(source: Path | Dataset, scratch: Path) -> Outgoing:
    """Prepare an object for sending.

    Parameters
    ----------
    source : Path or Dataset
        A DICOM file, a bare data set in a file, or a data set in memory.
    scratch : Path
        A folder for copies of files whose meta information is missing or names another object.

    Returns
    -------
    Outgoing
        Not `Outgoing.sendable` if the source cannot be read or lacks a UID.
    """
    if not isinstance(source, Path):
        return Outgoing(None, source, _uids_of(source))
    try:
        return _from_file(source, scratch)
    except (NotDicom, HeaderUnreadable, OSError):
        return Outgoing(source, source, ObjectUids("", "", ""))


def batches(items: Iterable[tuple[int, Outgoing]]) -> Iterator[list[tuple[int, Outgoing]]]:
    """Divide numbered objects, in order, so that the contexts of each part fit into one association."""
    batch: list[tuple[int, Outgoing]] = []
    contexts: set[tuple[str, str]] = set()
    for number, item in items:
        if item.context not in contexts and len(contexts) == MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        contexts.add(item.context)
        batch.append((number, item))
    if batch:
        yield batch


def _uids_of(ds: Dataset) -> ObjectUids:
    elements, meta = Elements(ds), getattr(ds, "file_meta", None)
    transfer_syntax_uid = Elements(meta).uid(_TRANSFER_SYNTAX_UID) if meta is not None else ""
    return ObjectUids(elements.uid(_SOP_CLASS_UID), elements.uid(_SOP_UID), transfer_syntax_uid)


def _from_file(path: Path, scratch: Path) -> Outgoing:
    facts = read_facts(path)
    uids = ObjectUids(facts.sop_class_uid, facts.sop_uid, facts.transfer_syntax_uid)
    with path.open("rb") as file:
        preface = read_preface(file)
        item = Outgoing(path, path, uids)
        if not item.sendable or _matches(preface, uids):
            return item
        copy = scratch / uuid4().hex
        with copy.open("wb") as target:
            file.seek(preface.offset)
            target.write(encode_file_meta(uids, Sender("", "", "localhost"), ""))
            shutil.copyfileobj(file, target, 1 << 20)
    return Outgoing(path, copy, uids)


def _matches(preface: Preface, uids: ObjectUids) -> bool:
    """Whether the file meta information matches the object that follows it."""
    said = (preface.meta.get(tag, b"").decode("latin-1").strip(" \0") for tag in (_META_SOP_CLASS_UID, _META_SOP_UID))
    return (*said, preface.transfer_syntax_uid) == (uids.sop_class_uid, uids.sop_uid, uids.transfer_syntax_uid)
