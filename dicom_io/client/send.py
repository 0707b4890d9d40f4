"""C-STORE to a peer, used by the demo and the tests.

Files are sent byte for byte, in their own transfer syntax. By default pynetdicom decodes and encodes them, which changes
an object and fails on invalid values.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import _config, build_context

from dicom_io.client.association import Caller, PeerRefused, association
from dicom_io.client.outgoing import Outgoing, batches, outgoing_of
from dicom_io.client.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pydicom.dataset import Dataset
    from pynetdicom.association import Association

__all__ = ["CALLED_AET", "PeerRefused", "SendProblem", "SendResult", "send"]

CALLED_AET = "AUSCULT"


class SendProblem(StrEnum):
    """Why a status is set by us and not by the peer."""

    #: The file is missing, is not a DICOM file, or lacks a UID that a request needs.
    UNREADABLE = "UNREADABLE"
    #: The peer does not accept this class in this transfer syntax.
    NOT_ACCEPTED = "NOT_ACCEPTED"
    #: The association ended before the answer, twice.
    NO_ANSWER = "NO_ANSWER"


#: The statuses (PS3.7 annex C) for our problems.
_STATUS_OF = {SendProblem.UNREADABLE: 0xC000, SendProblem.NOT_ACCEPTED: 0x0122, SendProblem.NO_ANSWER: 0x0110}


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result for one object."""

    #: The file, None for a data set in memory.
    path: Path | None
    #: "" if it could not be read.
    sop_uid: str
    #: The answer of the peer, 0x0000 for success; with a `problem` the corresponding status.
    status: int
    problem: SendProblem | None = None


def send(
    sources: Iterable[Path | Dataset],
    host: str,
    port: int,
    called_aet: str = CALLED_AET,
    caller: Caller | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[SendResult]:
    """Send objects to a peer (C-STORE, PS3.7 section 9.1.1), over as many associations as their kinds need.

    Parameters
    ----------
    sources : iterable of Path or Dataset
        DICOM files, sent byte for byte, or data sets with ``file_meta``, encoded as that says.
    host, port
        Address of the peer.
    called_aet
        Its AE title.
    caller : Caller, optional
        Our own AE title, TLS and timeouts; with TLS set, TLS is used.
    on_progress : callable, optional
        Called with the number of objects done so far, after each.

    Returns
    -------
    list of SendResult
        One for each source, in order.

    Raises
    ------
    CannotConnect
        If there is no connection. Objects answered before have been received; sending them again does no harm.
    PeerRefused
        If the peer rejects the association.
    """
    # Makes pynetdicom send a file without decoding it; there is no other switch.
    _config.STORE_SEND_CHUNKED_DATASET = True
    caller = caller or Caller()
    peer = Peer(called_aet, host, port, is_tls=caller.tls is not None)
    with tempfile.TemporaryDirectory(prefix="auscult-send-") as scratch:
        items = list(enumerate(outgoing_of(source, Path(scratch)) for source in sources))
        done = _Results(on_progress)
        for number, item in items:
            if not item.sendable:
                done.add(number, item, SendProblem.UNREADABLE)
        for batch in batches([numbered for numbered in items if numbered[1].sendable]):
            _send_batch(batch, peer, caller, done)
    return [done.results[number] for number, _ in items]


class _Results:
    """The results so far, by the number of the object."""

    def __init__(self, on_progress: Callable[[int], None] | None) -> None:
        self.results: dict[int, SendResult] = {}
        self._on_progress = on_progress

    def add(self, number: int, item: Outgoing, answer: int | SendProblem) -> None:
        if isinstance(answer, SendProblem):
            result = SendResult(item.path, item.uids.sop_uid, _STATUS_OF[answer], answer)
        else:
            result = SendResult(item.path, item.uids.sop_uid, answer)
        self.results[number] = result
        if self._on_progress:
            self._on_progress(len(self.results))


def _send_batch(batch: Sequence[tuple[int, Outgoing]], peer: Peer, caller: Caller, done: _Results) -> None:
    """Send objects whose contexts fit into one association; a lost association is opened again."""
    waiting = list(batch)
    failed_once = -1
    while waiting:
        contexts = [build_context(*context) for context in dict.fromkeys(item.context for _, item in waiting)]
        with association(peer, contexts, caller) as opened:
            if not opened.is_established:
                for number, item in waiting:
                    done.add(number, item, SendProblem.NOT_ACCEPTED)
                return
            while waiting and opened.is_established:
                number, item = waiting[0]
                answer = _send_one(opened, item)
                # An association may be lost for other reasons: only after a second try the object is at fault.
                if answer is SendProblem.NO_ANSWER and failed_once != number:
                    failed_once = number
                    break
                done.add(number, item, answer)
                waiting.pop(0)


def _send_one(opened: Association, item: Outgoing) -> int | SendProblem:
    try:
        status = opened.send_c_store(item.source).get("Status")
    except (ValueError, AttributeError):
        # pynetdicom raises these without an accepted presentation context, and for data sets it cannot encode.
        return SendProblem.NOT_ACCEPTED
    except OSError:
        return SendProblem.UNREADABLE
    except RuntimeError:
        # The association has ended since it was last checked.
        return SendProblem.NO_ANSWER
    return SendProblem.NO_ANSWER if status is None else int(status)
