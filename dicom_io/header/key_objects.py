"""Key Object Selection Documents that reject objects (IHE RAD TF-3 4.66, Imaging Object Change Management).

The title of the document (Concept Name Code Sequence, PS3.16 CID 7010 and 7011) says why. What it rejects stands twice:
in the Current Requested Procedure Evidence Sequence, with study and series, and as items of the content tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.errors import HeaderUnreadable
from dicom_io.header.elements import Elements
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, parse, read_preface
from dicom_io.header.rejection import NoteDefect, Reference, RejectionDocument, RejectionTitle
from dicom_io.own_device import MANUFACTURER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicom_io.header.facts import Facts

#: Key Object Selection Document Storage.
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
#: The most objects that one document may reject: a study of CT has about as many.
MAX_REFERENCES = 5_000
#: Items of a sequence, with nested ones: in the content tree an object has up to three.
_MAX_ITEMS = 4 * MAX_REFERENCES

_TITLE, _CODE_VALUE, _CODING_SCHEME = 0x0040A043, 0x00080100, 0x00080102
_EVIDENCE, _SERIES, _OBJECTS = 0x0040A375, 0x00081115, 0x00081199
_STUDY_UID, _SERIES_UID = 0x0020000D, 0x0020000E
_OBJECT_CLASS, _OBJECT_UID = 0x00081150, 0x00081155
_CONTENT = 0x0040A730
_WANTED = UID_TAGS | {_TITLE, _EVIDENCE, _CONTENT}


def is_own_note(facts: Facts) -> bool:
    """Whether a Key Object Selection Document is Auscult's own, so that it rejects nothing of the hospital's.

    Auscult must be its maker as well: an archive that copies the equipment of the objects that it rejects into a note of
    its own still rejects them.
    """
    return facts.is_own_result and facts.manufacturer == MANUFACTURER


def read_rejection(path: Path) -> RejectionDocument | None:
    """Read a Key Object Selection Document; None where its title rejects nothing.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file, whose header `read_facts` has read without an error.

    Returns
    -------
    RejectionDocument or None
        What it rejects and why.

    Raises
    ------
    NotDicom, HeaderUnreadable, OSError
        As `dicom_io.header.reader.read_facts`.
    """
    with path.open("rb") as fp:
        preface = read_preface(fp)
        ds = parse(
            fp,
            preface.transfer_syntax_uid,
            stop_when=lambda tag, _vr, _length: tag in PIXEL_TAGS,
            wanted=_WANTED,
            enough=UID_TAGS,
        )
    return rejection_of(Elements(ds))


def rejection_of(elements: Elements) -> RejectionDocument | None:
    """What the elements of a Key Object Selection Document reject; None where its title rejects nothing.

    Parameters
    ----------
    elements : Elements
        The data set.
    """
    title = _title(elements)
    if title is None:
        return None
    try:
        evidence = sorted(set(_evidence(elements)))
        content = set(_content(elements))
    except HeaderUnreadable:
        return RejectionDocument(title, defect=NoteDefect.UNREADABLE)
    if len(evidence) > MAX_REFERENCES:
        return RejectionDocument(title, defect=NoteDefect.UNREADABLE)
    if not evidence or not all(reference.sop_uid and reference.study_uid for reference in evidence):
        return RejectionDocument(title, defect=NoteDefect.NO_REFERENCES)
    if content and content != {reference.sop_uid for reference in evidence}:
        return RejectionDocument(title, defect=NoteDefect.REFERENCES_DIFFER)
    return RejectionDocument(title, tuple(evidence))


def _title(elements: Elements) -> RejectionTitle | None:
    codes = [(item.plain(_CODE_VALUE), item.plain(_CODING_SCHEME)) for item in elements.items(_TITLE)]
    return next((title for title in RejectionTitle if codes == [(title.value, title.scheme)]), None)


def _evidence(elements: Elements) -> Iterator[Reference]:
    for study in _items(elements, _EVIDENCE):
        for series in _items(study, _SERIES):
            for item in _items(series, _OBJECTS):
                yield Reference(
                    item.uid(_OBJECT_UID), study.uid(_STUDY_UID), series.uid(_SERIES_UID), item.uid(_OBJECT_CLASS)
                )


def _content(elements: Elements) -> Iterator[str]:
    for node in _items(elements, _CONTENT):
        for item in _items(node, _OBJECTS):
            yield item.uid(_OBJECT_UID)


def _items(elements: Elements, tag: int) -> list[Elements]:
    """The items of a sequence; raises `HeaderUnreadable` where they are too many or cannot be read."""
    items = list(elements.items(tag, _MAX_ITEMS))
    if elements.has(tag) and not items:
        raise HeaderUnreadable
    return items
