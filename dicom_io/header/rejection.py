"""What a rejection note says (IHE RAD TF-3 4.66): titles, defects and references, without the library that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RejectionTitle(StrEnum):
    """Why objects are rejected, by code value."""

    #: Rejected for Quality Reasons.
    QUALITY = "113001"
    #: Rejected for Patient Safety Reasons.
    PATIENT_SAFETY = "113037"
    #: Incorrect Modality Worklist Entry.
    WORKLIST_ENTRY = "113038"
    #: Data Retention Policy Expired.
    RETENTION_EXPIRED = "113039"
    #: Restore rejected instances: a code of dcm4chee (scheme 99DCM4CHEE), which no standard has.
    REVOKED = "REVOKE_REJECTION"

    @property
    def scheme(self) -> str:
        """Coding Scheme Designator (0008,0102) of the code."""
        return "99DCM4CHEE" if self is RejectionTitle.REVOKED else "DCM"


class NoteDefect(StrEnum):
    """Why a document cannot be followed."""

    #: It names no object, or one without a valid UID.
    NO_REFERENCES = "NO_REFERENCES"
    #: It names more objects than `MAX_REFERENCES`, or its sequences cannot be read.
    UNREADABLE = "UNREADABLE"
    #: Its content tree names other objects than its evidence.
    REFERENCES_DIFFER = "REFERENCES_DIFFER"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An object that a document names; `sop_class_uid` and `series_uid` are "" where it does not say."""

    sop_uid: str
    study_uid: str
    series_uid: str = ""
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class RejectionDocument:
    """A Key Object Selection Document with a rejection title; without references where it has a defect."""

    title: RejectionTitle
    references: tuple[Reference, ...] = ()
    defect: NoteDefect | None = None
