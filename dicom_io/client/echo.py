"""C-ECHO to a peer: whether it answers, and if not, which step failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.client.association import IMPLICIT_VR_LITTLE_ENDIAN, Caller, association
from dicom_io.client.connect import ConnectionStage, ConnectionStep, StepTimer
from dicom_io.errors import PeerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.client.peer import Peer

_NOT_TAKEN = "The peer accepts the association, but not Verification (C-ECHO)."
_NO_ANSWER = "The peer accepted the association and did not answer C-ECHO."


@dataclass(frozen=True, slots=True)
class Echo:
    """The result of a C-ECHO."""

    #: The stages that were done.
    steps: tuple[ConnectionStep, ...]
    #: Why it failed; "" after success.
    problem: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether the peer answered with success."""
        return not self.problem


def echo(peer: Peer, caller: Caller | None = None) -> Echo:
    """Verify that a peer answers (C-ECHO, PS3.7 section 9.1.5).

    Parameters
    ----------
    peer : Peer
        The application entity to call.
    caller : Caller, optional
        Our own AE title, TLS and timeouts.

    Returns
    -------
    Echo
        The stages that were done, and why it failed.
    """
    steps: list[ConnectionStep] = []
    try:
        problem = _echo(peer, caller or Caller(), steps.append)
    except PeerUnreachable as unreachable:
        problem = str(unreachable)
    return Echo(tuple(steps), problem)


def _echo(peer: Peer, caller: Caller, on_step: Callable[[ConnectionStep], None]) -> str:
    context = build_context(Verification, IMPLICIT_VR_LITTLE_ENDIAN)
    with association(peer, [context], caller, on_step=on_step) as opened:
        if not opened.is_established:
            return _NOT_TAKEN
        steps = StepTimer(on_step)
        status = opened.send_c_echo().get("Status")
        if status != 0:
            return _NO_ANSWER if status is None else f"The peer answers C-ECHO with status 0x{status:04X}."
        steps.done(ConnectionStage.ANSWERED, "C-ECHO, success")
    return ""
