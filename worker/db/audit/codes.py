"""The acts that are audited, one line each, with their codes of DICOM PS3.15 A.5.3 and PS3.16 CID 400 to 403."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

#: Meanings of the codes of the scheme DCM that `CODES` uses (PS3.16, CID 400 Audit Event ID, CID 401 Audit Event Type Code).
MEANINGS = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110107": "Import",
    "110110": "Patient Record",
    "110111": "Procedure Record",
    "110112": "Query",
    "110113": "Security Alert",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110126": "Node Authentication",
    "110129": "Security Configuration",
    "110131": "Software Configuration",
    "110132": "Use of Restricted Function",
    "110135": "Object Security Attributes Changed",
}


class EventOutcome(IntEnum):
    """EventOutcomeIndicator of PS3.15 A.5.2."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class Action(StrEnum):
    """EventActionCode of PS3.15 A.5.2."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Act(StrEnum):
    """What is audited; `audit_event.act` holds the name, so a name once released keeps its meaning."""

    PROCESS_STARTED = "PROCESS_STARTED"
    PROCESS_STOPPED = "PROCESS_STOPPED"
    SETTINGS_CHANGED = "SETTINGS_CHANGED"
    ASSOCIATION_REFUSED = "ASSOCIATION_REFUSED"
    OBJECT_REFUSED = "OBJECT_REFUSED"
    STUDY_RECEIVED = "STUDY_RECEIVED"
    STUDY_INGESTED = "STUDY_INGESTED"
    PEER_QUERIED = "PEER_QUERIED"
    STUDY_FETCHED = "STUDY_FETCHED"
    PATIENT_SHOWN = "PATIENT_SHOWN"
    WORKLIST_SHOWN = "WORKLIST_SHOWN"
    STUDIES_EXPORTED = "STUDIES_EXPORTED"
    RESULTS_EXPORTED = "RESULTS_EXPORTED"
    PICTURE_EXPORTED = "PICTURE_EXPORTED"
    RESULT_OBJECTS_EXPORTED = "RESULT_OBJECTS_EXPORTED"
    RESULT_DELIVERED = "RESULT_DELIVERED"
    RESULT_NOTIFIED = "RESULT_NOTIFIED"
    DELIVERY_RETRIED = "DELIVERY_RETRIED"
    DESTINATION_CHANGED = "DESTINATION_CHANGED"
    CONFLICT_RESOLVED = "CONFLICT_RESOLVED"
    PATIENT_MERGED = "PATIENT_MERGED"
    PATIENT_UNMERGED = "PATIENT_UNMERGED"
    REJECTION_NOTE_RECEIVED = "REJECTION_NOTE_RECEIVED"
    REJECTION_NOTE_REFUSED = "REJECTION_NOTE_REFUSED"
    REJECTION_NOTE_ACCEPTED = "REJECTION_NOTE_ACCEPTED"
    REJECTION_NOTE_REVOKED = "REJECTION_NOTE_REVOKED"
    STUDY_RETRIED = "STUDY_RETRIED"
    VERDICT_GIVEN = "VERDICT_GIVEN"
    STUDY_WITHDRAWN = "STUDY_WITHDRAWN"
    STUDY_RESTORED = "STUDY_RESTORED"
    RERUN_ORDERED = "RERUN_ORDERED"
    LISTENER_RETIRED = "LISTENER_RETIRED"
    MODEL_IMPORTED = "MODEL_IMPORTED"
    MODEL_EXPORTED = "MODEL_EXPORTED"
    MODEL_ACTIVATED = "MODEL_ACTIVATED"
    MODEL_CHANGED = "MODEL_CHANGED"
    MODEL_SUSPENDED = "MODEL_SUSPENDED"
    MODEL_SUSPENSION_ENDED = "MODEL_SUSPENSION_ENDED"
    STUDY_PURGED = "STUDY_PURGED"
    RECORDS_PURGED = "RECORDS_PURGED"
    PATIENT_EXPORTED = "PATIENT_EXPORTED"
    PATIENT_ERASED = "PATIENT_ERASED"
    COMMITMENT_GIVEN = "COMMITMENT_GIVEN"
    QUARANTINE_RELEASED = "QUARANTINE_RELEASED"
    QUARANTINE_DISCARDED = "QUARANTINE_DISCARDED"
    AUDIT_READ = "AUDIT_READ"
    AUDIT_PURGED = "AUDIT_PURGED"


@dataclass(frozen=True, slots=True)
class Code:
    """EventID, EventActionCode and EventTypeCode of an act; codes of the scheme DCM, the type empty where none fits."""

    event: str
    action: Action
    type: str = ""


#: One line for each act. What Auscult calls the act goes out as a second EventTypeCode of the scheme 99AUSCULT.
CODES = {
    Act.PROCESS_STARTED: Code("110100", Action.EXECUTE, "110120"),
    Act.PROCESS_STOPPED: Code("110100", Action.EXECUTE, "110121"),
    Act.SETTINGS_CHANGED: Code("110113", Action.EXECUTE, "110131"),
    Act.ASSOCIATION_REFUSED: Code("110113", Action.EXECUTE, "110126"),
    Act.OBJECT_REFUSED: Code("110104", Action.CREATE),
    Act.STUDY_RECEIVED: Code("110104", Action.CREATE),
    Act.STUDY_INGESTED: Code("110107", Action.CREATE),
    Act.PEER_QUERIED: Code("110112", Action.EXECUTE),
    Act.STUDY_FETCHED: Code("110102", Action.EXECUTE),
    Act.PATIENT_SHOWN: Code("110110", Action.READ),
    # One event for all rows: a query and its answer. Patient Record would have to name each patient.
    Act.WORKLIST_SHOWN: Code("110112", Action.EXECUTE),
    Act.STUDIES_EXPORTED: Code("110106", Action.READ),
    Act.RESULTS_EXPORTED: Code("110106", Action.READ),
    Act.PICTURE_EXPORTED: Code("110106", Action.READ),
    Act.RESULT_OBJECTS_EXPORTED: Code("110106", Action.READ),
    # Objects by C-STORE, and a message by another way.
    Act.RESULT_DELIVERED: Code("110104", Action.READ),
    Act.RESULT_NOTIFIED: Code("110106", Action.READ),
    Act.DELIVERY_RETRIED: Code("110103", Action.EXECUTE),
    Act.DESTINATION_CHANGED: Code("110113", Action.EXECUTE, "110131"),
    Act.CONFLICT_RESOLVED: Code("110110", Action.UPDATE),
    Act.PATIENT_MERGED: Code("110110", Action.UPDATE),
    Act.PATIENT_UNMERGED: Code("110110", Action.UPDATE),
    Act.REJECTION_NOTE_RECEIVED: Code("110103", Action.CREATE),
    Act.REJECTION_NOTE_REFUSED: Code("110103", Action.CREATE),
    Act.REJECTION_NOTE_ACCEPTED: Code("110103", Action.UPDATE),
    Act.REJECTION_NOTE_REVOKED: Code("110103", Action.UPDATE),
    # Written by the trigger of the view `assessments` (revision 0018), which has these codes too.
    Act.VERDICT_GIVEN: Code("110111", Action.CREATE),
    Act.STUDY_RETRIED: Code("110103", Action.EXECUTE),
    Act.STUDY_WITHDRAWN: Code("110103", Action.UPDATE),
    Act.STUDY_RESTORED: Code("110103", Action.UPDATE),
    Act.RERUN_ORDERED: Code("110103", Action.READ),
    Act.LISTENER_RETIRED: Code("110113", Action.EXECUTE, "110131"),
    Act.MODEL_IMPORTED: Code("110113", Action.EXECUTE, "110131"),
    Act.MODEL_EXPORTED: Code("110106", Action.READ),
    Act.MODEL_ACTIVATED: Code("110113", Action.EXECUTE, "110131"),
    Act.MODEL_CHANGED: Code("110113", Action.EXECUTE, "110131"),
    Act.MODEL_SUSPENDED: Code("110113", Action.EXECUTE, "110131"),
    Act.MODEL_SUSPENSION_ENDED: Code("110113", Action.EXECUTE, "110131"),
    Act.STUDY_PURGED: Code("110105", Action.DELETE),
    Act.RECORDS_PURGED: Code("110105", Action.DELETE),
    Act.PATIENT_EXPORTED: Code("110106", Action.READ),
    Act.PATIENT_ERASED: Code("110110", Action.DELETE),
    Act.COMMITMENT_GIVEN: Code("110103", Action.EXECUTE),
    Act.QUARANTINE_RELEASED: Code("110103", Action.UPDATE),
    Act.QUARANTINE_DISCARDED: Code("110103", Action.DELETE),
    Act.AUDIT_READ: Code("110101", Action.READ),
    Act.AUDIT_PURGED: Code("110101", Action.DELETE),
}
