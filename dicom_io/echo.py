"""C-ECHO to a peer: whether it answers, and if not, which step failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.association import IMPLICIT_VR_LITTLE_ENDIAN, Caller, association
from dicom_io.errors import PeerUnreachable
from dicom_io.link import Stage, Step, Steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.peer import Peer

_NOT_TAKEN = "The peer accepts the association, but not Verification (C-ECHO)."
_NO_ANSWER = "The peer accepted the association and did not answer C-ECHO."


@dataclass(frozen=True, slots=True)
class Echo:
    """What became of a C-ECHO."""

    #: The stages that were passed.
    steps: tuple[Step, ...]
    #: Why it failed; "" if it was answered with success.
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
        Whom to call.
    caller : Caller, optional
        Who calls.

    Returns
    -------
    Echo
        The stages passed, and what stopped it.
    """
    steps: list[Step] = []
    try:
        problem = _echo(peer, caller or Caller(), steps.append)
    except PeerUnreachable as unreachable:
        problem = str(unreachable)
    return Echo(tuple(steps), problem)


def _echo(peer: Peer, caller: Caller, on_step: Callable[[Step], None]) -> str:
    context = build_context(Verification, IMPLICIT_VR_LITTLE_ENDIAN)
    with association(peer, [context], caller, on_step=on_step) as opened:
        if not opened.is_established:
            return _NOT_TAKEN
        steps = Steps(on_step)
        status = opened.send_c_echo().get("Status")
        if status != 0:
            return _NO_ANSWER if status is None else f"The peer answers C-ECHO with status 0x{status:04X}."
        steps.done(Stage.ANSWERED, "C-ECHO, success")
    return ""
