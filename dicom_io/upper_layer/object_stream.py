"""The object that an association is receiving, past pynetdicom: its bytes go from the connection to the listener.

pynetdicom collects a message in memory and copies it on the way. Here the values of the P-DATA-TF PDUs of a C-STORE
request are handed on as views of the receive buffer, and the response is encoded once. Any other message is pynetdicom's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from dicom_io.upper_layer.fragments import COMMAND, ends_command
from dicom_io.upper_layer.store_request import StoreRequest
from dicom_io.upper_layer.violation import AbortReason, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pynetdicom.presentation import PresentationContext

    from dicom_io.upper_layer.bounds import AssociationState
    from dicom_io.upper_layer.command_set import Command
    from dicom_io.upper_layer.store_request import Reception

_Item = tuple[int, memoryview]


class ObjectStream:
    """Hands on the data of one C-STORE request after the other; used by the provider's thread alone.

    Parameters
    ----------
    association : AssociationState
        Its watcher receives the objects.
    """

    def __init__(self, association: AssociationState) -> None:
        self._association = association
        self._request: StoreRequest | None = None
        self._reception: Reception | None = None
        self._parts: list[memoryview] = []

    @property
    def is_open(self) -> bool:
        """Whether an object is being received."""
        return self._reception is not None

    @property
    def context_id(self) -> int:
        """The presentation context of the object; 0 without one."""
        return self._request.context_id if self._request else 0

    def extend(self, parts: Sequence[memoryview]) -> None:
        """Take fragments of the object's data."""
        self._parts.extend(parts)

    def take(
        self, items: Iterable[_Item], command: Command | None, contexts: Mapping[int, PresentationContext]
    ) -> list[_Item]:
        """Take what belongs to an object; return the other items, which are pynetdicom's.

        Parameters
        ----------
        items : iterable of int and memoryview
            Context ids and values, as `Fragments.take` returns them.
        command : Command, optional
            The last complete command set.
        contexts : mapping of int to PresentationContext
            The accepted presentation contexts.

        Raises
        ------
        Violation
            If the data of an object come in another context than its command.
        """
        others = []
        for context_id, value in items:
            if ends_command(value) and command and self._begin(command, context_id, contexts[context_id]):
                continue
            if self._request is None or value[0] & COMMAND:
                others.append((context_id, value))
            elif context_id == self._request.context_id:
                self._parts.append(value[1:])
            else:
                # PS3.8 annex E: all fragments of a message have its context.
                raise Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER)
        return others

    def flush(self) -> bool:
        """Hand on what was taken; return whether it must stay valid until the next call but one."""
        parts, self._parts = self._parts, []
        return self._reception is not None and bool(parts) and self._reception.write(parts)

    def shed(self) -> None:
        """Drop what was received of an object that is too large; the rest is read, so that it can be answered."""
        self._parts.clear()
        if self._reception is not None:
            self._reception.discard()

    def finish(self, *, is_too_large: bool) -> list[bytes]:
        """End the object, which has arrived; return the values of the P-DATA-TF PDUs of the response."""
        request, reception, self._request, self._reception = self._request, self._reception, None, None
        if request is None or reception is None:
            return []
        status, comment = reception.finish(is_too_large=is_too_large)
        return request.response(status, comment, self._association.proposal.max_length)

    def drop(self) -> None:
        """Drop the object if there is one: the association ends."""
        reception, self._request, self._reception = self._reception, None, None
        self._parts.clear()
        if reception is not None:
            reception.discard()

    def _begin(self, command: Command, context_id: int, context: PresentationContext) -> bool:
        request = StoreRequest.of(command, context_id, context)
        reception = self._association.bounds.watcher.on_object(self._association, request) if request else None
        self._request, self._reception = request if reception is not None else None, reception
        return reception is not None
