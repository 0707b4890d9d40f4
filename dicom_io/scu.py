"""The sending side: C-STORE and C-ECHO to a peer, used by the demo, the tests and later for results.

Files are sent as they are: their own transfer syntax, their own bytes. pynetdicom's usual way decodes and encodes
again, which changes an object and fails on values it does not like.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import AE, _config, build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.connection import take_over
from dicom_io.errors import PeerUnreachable
from dicom_io.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.network_log import quiet_network_libraries
from dicom_io.outgoing import Outgoing, batches, outgoing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydicom.dataset import Dataset
    from pynetdicom.association import Association

CALLING_AET = "AUSCULT_SCU"
CALLED_AET = "AUSCULT"
#: How long to wait for a connection and for an answer.
TIMEOUT_S = 30.0
_MAX_PDU = 131072
_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


class PeerRefused(PeerUnreachable):
    """The DICOM peer refuses the association; check both AE titles and the peer's allow-list."""


class SendProblem(StrEnum):
    """Why a status is our own word and not the peer's."""

    #: The file is missing, is no DICOM file, or lacks a UID that a request needs.
    UNREADABLE = "UNREADABLE"
    #: The peer does not take this class in this transfer syntax.
    NOT_ACCEPTED = "NOT_ACCEPTED"
    #: The association ended before the answer, twice.
    NO_ANSWER = "NO_ANSWER"


#: The statuses (PS3.7 annex C) that say the same as our problems.
_STATUS_OF = {SendProblem.UNREADABLE: 0xC000, SendProblem.NOT_ACCEPTED: 0x0122, SendProblem.NO_ANSWER: 0x0110}


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one object."""

    #: The file, None for a data set in memory.
    path: Path | None
    #: "" if it could not be read.
    sop_uid: str
    #: What the peer answered, 0x0000 for success; with a `problem` the status that says the same.
    status: int
    problem: SendProblem | None = None


def echo(host: str, port: int, called_aet: str = CALLED_AET, calling_aet: str = CALLING_AET) -> bool:
    """Verify that a peer answers (C-ECHO, PS3.7 section 9.1.5).

    Parameters
    ----------
    host, port
        Where the peer listens.
    called_aet, calling_aet
        Its AE title and ours.

    Returns
    -------
    bool
        Whether it answered with success.

    Raises
    ------
    PeerUnreachable
        If there is no connection.
    PeerRefused
        If the peer refuses the association.
    """
    peer = _Peer(host, port, called_aet, calling_aet)
    with _association(peer, [(str(Verification), _IMPLICIT_VR_LITTLE_ENDIAN)]) as association:
        return association.is_established and association.send_c_echo().get("Status") == 0


def send(
    sources: Iterable[Path | Dataset],
    host: str,
    port: int,
    called_aet: str = CALLED_AET,
    calling_aet: str = CALLING_AET,
    on_progress: Callable[[int], None] | None = None,
) -> list[SendResult]:
    """Send objects to a peer (C-STORE, PS3.7 section 9.1.1), over as many associations as their kinds need.

    Parameters
    ----------
    sources : iterable of Path or Dataset
        DICOM files, sent byte for byte, or data sets with ``file_meta``, encoded as that says.
    host, port
        Where the peer listens.
    called_aet, calling_aet
        Its AE title and ours.
    on_progress : callable, optional
        Called with the number of objects done so far, after each.

    Returns
    -------
    list of SendResult
        One for each source, in order.

    Raises
    ------
    PeerUnreachable
        If there is no connection. What was answered before that, the peer has; sending it again does no harm.
    PeerRefused
        If the peer refuses the association.
    """
    # pynetdicom's way of sending a file without decoding it; it has no other switch than this one.
    _config.STORE_SEND_CHUNKED_DATASET = True
    peer = _Peer(host, port, called_aet, calling_aet)
    with tempfile.TemporaryDirectory(prefix="auscult-send-") as scratch:
        items = list(enumerate(outgoing_of(source, Path(scratch)) for source in sources))
        done = _Results(on_progress)
        for number, item in items:
            if not item.sendable:
                done.add(number, item, SendProblem.UNREADABLE)
        for batch in batches([numbered for numbered in items if numbered[1].sendable]):
            _send_batch(batch, peer, done)
    return [done.results[number] for number, _ in items]


@dataclass(frozen=True, slots=True)
class _Peer:
    host: str
    port: int
    called_aet: str
    calling_aet: str


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


def _send_batch(batch: Sequence[tuple[int, Outgoing]], peer: _Peer, done: _Results) -> None:
    """Send what the contexts of one association cover; a broken association is opened again."""
    waiting = list(batch)
    failed_once = -1
    while waiting:
        contexts = list(dict.fromkeys(item.context for _, item in waiting))
        with _association(peer, contexts) as association:
            if not association.is_established:
                for number, item in waiting:
                    done.add(number, item, SendProblem.NOT_ACCEPTED)
                return
            while waiting and association.is_established:
                number, item = waiting[0]
                answer = _send_one(association, item)
                # An association may break for reasons of its own: one more try, then it is this object's doing.
                if answer is SendProblem.NO_ANSWER and failed_once != number:
                    failed_once = number
                    break
                done.add(number, item, answer)
                waiting.pop(0)


def _send_one(association: Association, item: Outgoing) -> int | SendProblem:
    try:
        status = association.send_c_store(item.source).get("Status")
    except (ValueError, AttributeError):
        # pynetdicom's words for "no accepted presentation context" and for a data set that cannot be encoded.
        return SendProblem.NOT_ACCEPTED
    except OSError:
        return SendProblem.UNREADABLE
    except RuntimeError:
        # The association ended since the last look at it.
        return SendProblem.NO_ANSWER
    return SendProblem.NO_ANSWER if status is None else int(status)


@contextmanager
def _association(peer: _Peer, contexts: Sequence[tuple[str, str]]) -> Iterator[Association]:
    """Open an association; one that is not established is yielded only if the peer refused every context."""
    quiet_network_libraries()
    ae = AE(peer.calling_aet)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT_S
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=[build_context(sop_class, transfer_syntax) for sop_class, transfer_syntax in contexts],
        ae_title=peer.called_aet,
        max_pdu=_MAX_PDU,
        evt_handlers=[(evt.EVT_CONN_OPEN, take_over)],
    )
    if association.is_rejected:
        raise PeerRefused
    if not association.is_established and not association.rejected_contexts:
        raise PeerUnreachable
    try:
        yield association
    finally:
        association.release()
