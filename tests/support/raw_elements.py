"""DICOM elements and files written byte by byte, with contents that no library would write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path


def raw_element(keyword: str, vr: str, value: bytes) -> bytes:
    """One element, Explicit VR Little Endian, with any bytes for its value."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    value += b" " * (len(value) % 2)
    return (
        tag.to_bytes(4, "little")[2:]
        + tag.to_bytes(4, "little")[:2]
        + vr.encode()
        + len(value).to_bytes(2, "little")
        + value
    )


def raw_file(folder: Path, *elements: bytes) -> Path:
    """A DICOM file around elements written by hand, in order of their tags."""
    path = save(film(PixelData=None, Rows=None), folder)
    meta_and_more = path.read_bytes()
    end = meta_and_more.index(b"\x08\x00", 132)
    in_order = sorted(elements, key=_tag_of)
    path.write_bytes(meta_and_more[:end] + b"".join(in_order))
    return path


def _tag_of(element: bytes) -> tuple[int, int]:
    return int.from_bytes(element[:2], "little"), int.from_bytes(element[2:4], "little")
