"""The error that ends an association: the reason that we record, and the reason in the A-ABORT."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError

if TYPE_CHECKING:
    from dicom_io.reasons import Reason


class AbortReason(IntEnum):
    """Reason/diag. of an A-ABORT by the service provider (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class Violation(DicomIoError):
    """The peer breaks the protocol or a limit.

    Parameters
    ----------
    reason : Reason
        The reason to record.
    abort : AbortReason
        The reason in the A-ABORT.
    """

    def __init__(self, reason: Reason, abort: AbortReason = AbortReason.NOT_SPECIFIED) -> None:
        super().__init__(reason.sentence)
        self.reason = reason
        self.abort = abort
