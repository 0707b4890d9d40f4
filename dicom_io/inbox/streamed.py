"""Step 1 of the flow for objects of the listener: the bytes go to the temporary file as they arrive.

`dicom_io.inbox.receive` does the same with an object that is whole in memory: both end with the same file and the same
status. Here the object is checked as soon as its header is there, and hashed while it arrives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicom_io.errors import SpoolError
from dicom_io.header.digests import RunningDigests
from dicom_io.header.file_meta import encode_file_meta
from dicom_io.inbox.beginning import BEGINNING_BYTES, Beginning, read_beginning
from dicom_io.inbox.hashing import DigestsBehind
from dicom_io.inbox.receive import ObjectRefused, ReceivedObject, check_identity, checked, refusal_of
from dicom_io.inbox.status import StoreStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_io.header.facts import Identity
    from dicom_io.header.file_meta import Sender
    from dicom_io.inbox.draft import Draft
    from dicom_io.inbox.receive import Incoming
    from dicom_io.inbox.spool import Spool
    from dicom_io.inbox.water_mark import Backlog, WaterMark


class StreamedObject:
    """An object that is received in pieces; after the last `write` either `finish` or `discard` is called.

    Parameters
    ----------
    incoming : Incoming
        The request, without its data.
    sender : Sender
        The sender; written into the file meta information.
    spool : Spool
        Receives the object.
    ae_title : str
        Our AE title.
    *bounds : WaterMark or Backlog
        Beyond them nothing is accepted; asked before the first byte is written.
    """

    def __init__(
        self, incoming: Incoming, sender: Sender, spool: Spool, ae_title: str, *bounds: WaterMark | Backlog
    ) -> None:
        self._incoming = incoming
        self._spool = spool
        self._meta = encode_file_meta(incoming.uids, sender, ae_title)
        self._bounds = bounds
        self._head = bytearray()
        #: Whether `_head` has been examined, and whether more than that has arrived.
        self._is_open = self._has_more = False
        self._beginning: Beginning | None = None
        self._digests: DigestsBehind | None = None
        self._draft: Draft | None = None
        #: Why nothing is written any more.
        self._refusal: ObjectRefused | None = None

    def write(self, parts: Sequence[bytes | memoryview]) -> bool:
        """Take the next bytes of the data set. A refusal is kept for `finish`; what follows it is dropped.

        Returns
        -------
        bool
            Whether the bytes are still being hashed: they must not change before the next call has returned.
        """
        rest = parts if self._is_open else self._gather(parts)
        if rest:
            self._has_more = True
            self._store(rest)
        return self._digests is not None and self._digests.is_behind

    def finish(self) -> ReceivedObject:
        """Make the object durable.

        Returns
        -------
        ReceivedObject
            The object: the request can be answered with success.

        Raises
        ------
        ObjectRefused
            With the status to answer with. Nothing of the object is kept.
        """
        try:
            return self._finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop the object; does nothing once it is durable."""
        draft, self._draft = self._draft, None
        if draft:
            draft.discard()
        if self._digests:
            self._digests.wait()

    def _gather(self, parts: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        """Collect the beginning; return what came after it."""
        for number, part in enumerate(parts):
            self._head += part
            if len(self._head) >= BEGINNING_BYTES:
                self._open()
                return parts[number + 1 :]
        return ()

    def _open(self) -> None:
        """Examine the beginning, and write it."""
        self._is_open = True
        beginning = read_beginning(self._head, self._incoming.uids.transfer_syntax_uid)
        self._beginning = beginning
        try:
            if beginning:
                check_identity(beginning.identity, self._incoming)
                self._digests = DigestsBehind(RunningDigests(beginning.pixels_at, beginning.pixels_length))
            for bound in self._bounds:
                bound.check()
            self._draft = self._spool.begin()
            self._draft.write((self._meta,))
        except ObjectRefused as refusal:
            self._refusal = refusal
        except SpoolError as exc:
            self._refuse(exc)
        self._store((memoryview(self._head),))

    def _store(self, parts: Sequence[bytes | memoryview]) -> None:
        if self._draft is None:
            return
        try:
            if self._digests:
                self._digests.update(parts)
            self._draft.write(parts)
        except SpoolError as exc:
            self._refuse(exc)

    def _refuse(self, exc: SpoolError) -> None:
        self._refusal = refusal_of(exc, self._beginning.identity if self._beginning else None)
        self.discard()

    def _finish(self) -> ReceivedObject:
        if not self._is_open:
            self._open()
        if self._beginning is None:
            return self._finish_whole()
        if self._refusal:
            raise self._refusal
        return self._commit(self._beginning.identity)

    def _finish_whole(self) -> ReceivedObject:
        """Make an object durable of which its beginning does not say enough."""
        try:
            incoming, identity, left_out = checked(replace(self._incoming, data=self._whole()))
            if self._refusal:
                raise ObjectRefused(self._refusal.status, identity) from self._refusal
            if left_out:
                self.discard()
                return ReceivedObject(self._spool.put((self._meta, incoming.data)), identity, left_out)
        except SpoolError as exc:
            raise refusal_of(exc, None) from exc
        return self._commit(identity)

    def _whole(self) -> bytes:
        """Return the whole data set; raises the refusal if it was not kept."""
        if not self._has_more:
            return bytes(self._head)
        if self._draft is None:
            raise self._refusal or ObjectRefused(StoreStatus.CANNOT_WRITE)
        return self._draft.read(len(self._meta))

    def _commit(self, identity: Identity) -> ReceivedObject:
        draft, self._draft = self._draft, None
        if draft is None:
            raise ObjectRefused(StoreStatus.CANNOT_WRITE, identity)
        try:
            self._spool.commit(draft)
        except SpoolError as exc:
            raise refusal_of(exc, identity) from exc
        if self._digests:
            self._spool.receipts.note(draft.key, self._digests.result())
        return ReceivedObject(draft.key, identity, left_out=0)
