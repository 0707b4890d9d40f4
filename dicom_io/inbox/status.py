"""The statuses of C-STORE responses (PS3.4 Table B.2-1, PS3.7 annex C): one for each way to fail.

CONFORMANCE.md shows this table. A sender's log often only keeps the number, so each cause has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pydicom.dataset import Dataset

from dicom_io.reasons import Reason


@dataclass(frozen=True, slots=True)
class _Definition:
    code: int
    #: Error Comment (0000,0902): LO, at most 64 characters, a fixed text without patient data.
    comment: str
    #: What happened and what to do about it.
    sentence: str
    #: The code in the journal of refusals; None for success.
    reason: Reason | None = None


class StoreStatus(Enum):
    """The status of a C-STORE response."""

    SUCCESS = _Definition(0x0000, "", "The object is on disk: written, synced, renamed and its folder synced.")
    PROCESSING_FAILURE = _Definition(
        0x0110,
        "internal error, see the log of Auscult; send again",
        "An error inside Auscult; its log names it. The object is not stored, so send it again.",
        Reason.INTERNAL_ERROR,
    )
    OUT_OF_RESOURCES = _Definition(
        0xA700,
        "no space left in the inbox; send again later",
        "The inbox is full: its disk, or the number of objects that wait. Free space, or see why they wait; then send again.",
        Reason.OUT_OF_RESOURCES,
    )
    CANNOT_WRITE = _Definition(
        0xA701,
        "the inbox cannot be written; send again later",
        "The inbox cannot be written though there is space: permissions or a failing disk. Send again afterwards.",
        Reason.OUT_OF_RESOURCES,
    )
    SOP_MISMATCH = _Definition(
        0xA900,
        "SOP Class or Instance UID differs from the request",
        "The data set is another object than the request or the presentation context announced; correct the sender.",
        Reason.SOP_MISMATCH,
    )
    HEADER_UNREADABLE = _Definition(
        0xC210,
        "header cannot be parsed in the negotiated transfer syntax",
        "The header cannot be parsed: the object is damaged or not in the negotiated transfer syntax.",
        Reason.HEADER_UNREADABLE,
    )
    INVALID_STUDY_UID = _Definition(
        0xC211,
        "Study Instance UID (0020,000D) missing or invalid",
        "The Study Instance UID is missing or invalid; correct the object at its source.",
        Reason.INVALID_STUDY_UID,
    )
    INVALID_SERIES_UID = _Definition(
        0xC212,
        "Series Instance UID (0020,000E) missing or invalid",
        "The Series Instance UID is missing or invalid; correct the object at its source.",
        Reason.INVALID_SERIES_UID,
    )
    INVALID_SOP_UID = _Definition(
        0xC213,
        "SOP Class or Instance UID missing or invalid",
        "The SOP Class UID or SOP Instance UID is missing or invalid; correct the object at its source.",
        Reason.INVALID_SOP_UID,
    )
    TOO_LARGE = _Definition(
        0xC214,
        "object larger than the limit of Auscult",
        "The object is larger than the settings allow (max_object_mb); nothing of it is kept. Sending it again does not help.",
        Reason.OBJECT_TOO_LARGE,
    )

    @property
    def code(self) -> int:
        """The number in Status (0000,0900)."""
        return self.value.code

    @property
    def comment(self) -> str:
        """The text in Error Comment (0000,0902); "" for success."""
        return self.value.comment

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return self.value.sentence

    @property
    def reason(self) -> Reason | None:
        """The code in the journal of refusals; None for success."""
        return self.value.reason

    def as_dataset(self) -> Dataset:
        """Return the elements of the response that depend on the status."""
        ds = Dataset()
        ds.Status = self.code
        if self.comment:
            ds.ErrorComment = self.comment
        return ds
