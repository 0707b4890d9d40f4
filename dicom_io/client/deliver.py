"""C-STORE of a few objects that belong together, and the request for storage commitment, over one association."""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pynetdicom import build_context, evt

from dicom_io.client.association import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    association,
)
from dicom_io.client.commitment import CommitmentReport, ReportUnreadable, ask_for_commitment, read_report
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydicom.dataset import Dataset
    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from dicom_io.client.association import Caller
    from dicom_io.client.peer import Peer

_SUCCESS, _INVALID_ARGUMENT = 0x0000, 0x0115
#: Warnings of C-STORE (PS3.4 Table B.2-1): the object is stored, with elements coerced, left out or against its class.
_STORED = (0x0000, 0xB000, 0xB006, 0xB007)


@dataclass(frozen=True, slots=True)
class Commitment:
    """A request for storage commitment.

    Attributes
    ----------
    transaction_uid : str
        Names it.
    objects : tuple of tuple of str
        SOP Class UID and SOP Instance UID of each object; at least one.
    wait_s : float
        For how long its answer is waited for over this association, in seconds.
    """

    transaction_uid: str
    objects: tuple[tuple[str, str], ...]
    wait_s: float


@dataclass(slots=True)
class Stored:
    """What a peer did.

    Attributes
    ----------
    statuses : list of int or None
        The status of each object, in order; None where the association ended before, and no more than until the first
        one that was not stored.
    not_accepted : list of str
        SOP Class UIDs that the peer does not accept; then nothing was sent.
    offers_commitment : bool
        Whether the peer accepted the presentation context of storage commitment.
    is_asked : bool
        Whether it accepted the request.
    report : CommitmentReport or None
        Its answer, where that came over this association.
    """

    statuses: list[int | None] = field(default_factory=list)
    not_accepted: list[str] = field(default_factory=list)
    offers_commitment: bool = False
    is_asked: bool = False
    report: CommitmentReport | None = None

    @property
    def is_stored(self) -> bool:
        """Whether every object that was sent was stored."""
        return not self.not_accepted and all(status in _STORED for status in self.statuses)

    @property
    def refusal(self) -> int | None:
        """The status of the object that was not stored; None where there is none or it has no answer."""
        return next((status for status in self.statuses if status is not None and status not in _STORED), None)


def store_together(
    peer: Peer,
    caller: Caller,
    datasets: Sequence[Dataset],
    commitment: Commitment | None = None,
    *,
    before: Callable[[], None] = lambda: None,
) -> Stored:
    """Send objects to a peer in order, and ask it to commit itself to them.

    Parameters
    ----------
    peer : Peer
        The application entity to call.
    caller : Caller
        Our own AE title, TLS and timeouts.
    datasets : sequence of pydicom.dataset.Dataset
        With file meta information, encoded as that says. The first one that is not stored ends the sending.
    commitment : Commitment, optional
        Asked for where the peer offers it and everything was stored.
    before : callable, optional
        Called once the peer accepts every class, before the first object is sent; where it raises, nothing is sent.

    Returns
    -------
    Stored
        What the peer did.

    Raises
    ------
    CannotConnect
        If there is no connection.
    PeerRefused
        If the peer rejects the association.
    """
    kinds = dict.fromkeys((str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in datasets)
    contexts = [build_context(*kind) for kind in kinds]
    if commitment:
        contexts.append(build_context(STORAGE_COMMITMENT_UID, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]))
    answers: queue.Queue[CommitmentReport] = queue.Queue()
    handlers = [(evt.EVT_N_EVENT_REPORT, _handler(answers, commitment))] if commitment else []
    stored = Stored()
    with association(peer, contexts, caller, handlers=handlers) as opened:
        accepted = {str(context.abstract_syntax) for context in opened.accepted_contexts}
        stored.offers_commitment = opened.is_established and STORAGE_COMMITMENT_UID in accepted
        stored.not_accepted = [uid for uid, _ in kinds if not opened.is_established or uid not in accepted]
        if stored.not_accepted:
            return stored
        before()
        _send(opened, datasets, stored)
        if commitment and stored.offers_commitment and stored.is_stored:
            stored.is_asked = ask_for_commitment(opened, commitment.transaction_uid, commitment.objects)
            if stored.is_asked:
                with suppress(queue.Empty):
                    stored.report = answers.get(timeout=commitment.wait_s)
    return stored


def _send(opened: Association, datasets: Sequence[Dataset], stored: Stored) -> None:
    for ds in datasets:
        try:
            status = opened.send_c_store(ds).get("Status")
        except RuntimeError:
            # The association has ended since it was last looked at.
            status = None
        stored.statuses.append(None if status is None else int(status))
        if stored.statuses[-1] not in _STORED:
            return


def _handler(answers: queue.Queue[CommitmentReport], commitment: Commitment) -> Callable[[Event], tuple[int, Any]]:
    def on_report(event: Event) -> tuple[int, None]:
        try:
            report = read_report(event)
        except ReportUnreadable:
            return _INVALID_ARGUMENT, None
        if report.transaction_uid == commitment.transaction_uid:
            answers.put(report)
        return _SUCCESS, None

    return on_report
