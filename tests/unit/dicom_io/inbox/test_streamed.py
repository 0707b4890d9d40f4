"""An object received in pieces ends as one that was whole in memory: same file, same refusal, nothing left behind."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.errors import SpoolError, SpoolFull
from dicom_io.header.digests import ReceivedDigests
from dicom_io.header.file_meta import ObjectUids, Sender
from dicom_io.header.reader import read_object
from dicom_io.inbox.beginning import BEGINNING_BYTES
from dicom_io.inbox.hashing import LEAST_BYTES
from dicom_io.inbox.receipts import Receipts
from dicom_io.inbox.receive import Incoming, ObjectRefused, receive
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.status import StoreStatus
from dicom_io.inbox.streamed import StreamedObject
from dicom_io.inbox.water_mark import WaterMark
from tests.support.objects import CR, EXPLICIT_LE, Made

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_io.inbox.draft import Draft

SENDER = Sender("SENDER", "US", "127.0.0.1")
UIDS = ObjectUids(CR, "1.2.3.4", EXPLICIT_LE)
INCOMING = Incoming(b"", UIDS, CR)
WHOLE = Made(sop_uid="1.2.3.4", study_uid="1.2", series_uid="1.2.3", pixel_bytes=BEGINNING_BYTES + 1000).dataset()
META = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
LONG = Made(sop_uid="1.2.3.4", study_uid="1.2", series_uid="1.2.3", changes={0x00291010: (b"OB", bytes(70_000))})


def streamed(spool: Spool, parts: Sequence[bytes], *bounds: WaterMark) -> tuple[object, ...]:
    """How an object ends that comes in these parts."""
    received = StreamedObject(INCOMING, SENDER, spool, "US", *bounds)
    for number in range(0, len(parts), 3):
        received.write([memoryview(part) for part in parts[number : number + 3]])
    try:
        stored = received.finish()
    except ObjectRefused as refusal:
        return refusal.status, refusal.identity, entries(spool)
    return stored.identity, stored.left_out, entries(spool)


def collected(spool: Spool, data: bytes) -> tuple[object, ...]:
    """How the same object ends that is whole in memory."""
    try:
        stored = receive(Incoming(data, UIDS, CR), SENDER, spool, "US")
    except ObjectRefused as refusal:
        return refusal.status, refusal.identity, entries(spool)
    return stored.identity, stored.left_out, entries(spool)


def entries(spool: Spool) -> list[bytes]:
    """What is in the spool, in new/ and tmp/."""
    keys = spool.keys()
    for key in keys:
        path = spool.path(key)
        assert read_object(path, spool.receipts.of(key)) == read_object(path)
    return [path.read_bytes() for folder in ("new", "tmp") for path in (spool.root / folder).iterdir()]


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """The bytes of an object, whole, cut, changed or with something before it, and the same in parts."""
    before = draw(st.sampled_from([b"", b"", b"", META, bytes(128) + b"DICM" + META, b"\0\0\0\0\4\0\0\0abcd"]))
    body = draw(st.sampled_from([WHOLE, WHOLE, WHOLE[:5000], LONG.dataset()]))
    data = bytearray(before + body)
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, 300))] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    whole = bytes(data)
    edges = [0, *cuts, len(whole)]
    return whole, [whole[begin:end] for begin, end in pairwise(edges)]


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(objects())
def test_an_object_in_parts_ends_as_a_whole_one(given_object: tuple[bytes, list[bytes]]) -> None:
    whole, parts = given_object
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        assert streamed(Spool(Path(one)), parts) == collected(Spool(Path(other)), whole)


def test_large_parts_are_hashed_on_another_thread_and_in_order(tmp_path: Path) -> None:
    data = Made(sop_uid="1.2.3.4", study_uid="1.2", series_uid="1.2.3", pixel_bytes=10 * LEAST_BYTES).dataset()
    spool, step = Spool(tmp_path), 2 * LEAST_BYTES
    received = StreamedObject(INCOMING, SENDER, spool, "US")
    buffers = [bytearray(step), bytearray(step)]
    for number, start in enumerate(range(0, len(data), step)):
        part = data[start : start + step]
        # As the connection does: a buffer is used again once the next part has been taken.
        buffer = buffers[number % 2]
        buffer[: len(part)] = part
        received.write([memoryview(buffer)[: len(part)]])
    received.finish()
    (key,) = spool.keys()
    assert spool.receipts.of(key)
    assert spool.path(key).read_bytes().endswith(data)
    assert read_object(spool.path(key), spool.receipts.of(key)) == read_object(spool.path(key))


class FullDisk(Spool):
    """A disk that is full after so many writes."""

    def begin(self) -> Draft:
        draft = super().begin()
        left = [2]
        write = draft.write

        def full(parts: Sequence[bytes | memoryview | bytearray]) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise SpoolFull
            write(parts)

        draft.write = full  # type: ignore[method-assign]
        return draft


def test_a_disk_that_fills_up_ends_the_object_at_once_and_names_it(tmp_path: Path) -> None:
    spool = FullDisk(tmp_path)
    received = StreamedObject(INCOMING, SENDER, spool, "US")
    received.write([WHOLE[:BEGINNING_BYTES]])
    assert len(entries(spool)) == 1
    received.write([WHOLE[BEGINNING_BYTES:]])
    assert entries(spool) == []
    received.write([bytes(1000)])
    with pytest.raises(ObjectRefused) as refused:
        received.finish()
    assert refused.value.status is StoreStatus.OUT_OF_RESOURCES
    assert refused.value.identity is not None
    assert refused.value.identity.sop_uid == "1.2.3.4"


def test_below_the_water_mark_nothing_is_written_and_the_header_is_still_checked(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    mark = WaterMark(tmp_path, 1 << 60, 0)
    status, identity, left = streamed(spool, [WHOLE[:70_000], WHOLE[70_000:]], mark)
    assert (status, left) == (StoreStatus.OUT_OF_RESOURCES, [])
    assert identity
    other = WHOLE.replace(b"1.2.3.4", b"1.2.3.5")
    assert streamed(spool, [other], mark)[0] is StoreStatus.SOP_MISMATCH
    short = Made(sop_uid="1.2.3.4", changes={0x7FE00010: (b"", b"")}).dataset()
    assert streamed(spool, [short], mark)[0] is StoreStatus.OUT_OF_RESOURCES
    assert streamed(spool, [short[:50]], mark)[0] is StoreStatus.INVALID_STUDY_UID
    # Its beginning does not say whose object it is, and nothing else is kept.
    long = LONG.dataset()
    assert streamed(spool, [long[:66_000], long[66_000:]], mark) == (StoreStatus.OUT_OF_RESOURCES, None, [])


def test_a_wrong_object_is_not_written_to_its_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    received = StreamedObject(INCOMING, SENDER, spool, "US")
    received.write([WHOLE.replace(b"1.2.3.4", b"1.2.3.5")])
    assert entries(spool) == []
    with pytest.raises(ObjectRefused) as refused:
        received.finish()
    assert refused.value.status is StoreStatus.SOP_MISMATCH


@pytest.mark.parametrize("size", [10, BEGINNING_BYTES, len(WHOLE)])
def test_what_is_dropped_leaves_nothing(size: int, tmp_path: Path) -> None:
    spool = Spool(tmp_path, holds=True)
    received = StreamedObject(INCOMING, SENDER, spool, "US")
    received.write([WHOLE[:size]])
    received.discard()
    received.discard()
    assert entries(spool) == []


def test_a_folder_that_has_gone_refuses_the_object(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "new").rmdir()
    received = StreamedObject(INCOMING, SENDER, spool, "US")
    received.write([WHOLE])
    with pytest.raises(ObjectRefused) as refused:
        received.finish()
    assert refused.value.status is StoreStatus.CANNOT_WRITE
    assert isinstance(refused.value.__cause__, SpoolError)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_digests_are_not_used_for_other_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    streamed(spool, [WHOLE])
    (key,) = spool.keys()
    path, digests = spool.path(key), spool.receipts.of(key)
    assert digests
    assert read_object(path, digests)[1].dataset == digests.dataset
    wrong = ReceivedDigests("x", "y", digests.size, digests.pixels_at, digests.pixels_length - 2)
    assert read_object(path, wrong) == read_object(path)
    with path.open("ab") as file:
        file.write(b"\0\0")
    assert read_object(path, digests) == read_object(path)


def test_digests_go_with_their_object_and_the_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    streamed(spool, [WHOLE])
    (key,) = spool.keys()
    spool.remove(key)
    assert spool.receipts.of(key) is None
    receipts = Receipts(most=2)
    digests = ReceivedDigests("", "", 0, None, 0)
    for name in "abc":
        receipts.note(name, digests)
    assert [name for name in "abc" if receipts.of(name)] == ["b", "c"]
