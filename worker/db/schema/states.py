"""The closed lists of states of studies, tasks, batches, models and probes."""

from __future__ import annotations

from enum import StrEnum


class StudyState(StrEnum):
    """The state of a study; the worklist shows it as `ai_status`."""

    #: Objects may still come; this revision has no result yet.
    RECEIVING = "RECEIVING"
    #: Complete; this revision has no result yet.
    QUEUED = "QUEUED"
    #: This revision has a result; objects may still come, or tasks are open.
    PROVISIONAL = "PROVISIONAL"
    #: Complete and answered by a label.
    FINAL = "FINAL"
    #: Nothing in the study may be judged.
    NOT_APPLICABLE = "NOT_APPLICABLE"
    #: A film that should have been judged was not; never to be read as normal.
    FAILED = "FAILED"
    #: Every film was judged below its threshold, but a doubt forbids NORMAL; the reason names the doubt.
    WITHHELD = "WITHHELD"

    @property
    def is_terminal(self) -> bool:
        """Whether the study is complete and all its work has ended."""
        return self in TERMINAL_STATES


TERMINAL_STATES = (StudyState.FINAL, StudyState.NOT_APPLICABLE, StudyState.FAILED, StudyState.WITHHELD)
OPEN_STATES = (StudyState.RECEIVING, StudyState.QUEUED, StudyState.PROVISIONAL)


class TaskState(StrEnum):
    """The state of a task."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


OPEN_TASK_STATES = (TaskState.PENDING, TaskState.CLAIMED)


class ConflictKind(StrEnum):
    """What two studies contradict each other about."""

    #: The same SOP Instance UID came in two studies.
    SOP_INSTANCE = "SOP_INSTANCE"
    #: Objects of one Study Instance UID name two patients.
    PATIENT = "PATIENT"


class ConflictEnd(StrEnum):
    """How a conflict ended."""

    #: The source sent the object again in the study that held it.
    WITHDRAWN = "WITHDRAWN"
    #: The first study is right; the other's object no longer counts.
    HELD = "HELD"
    #: The later study is right; the first one's object no longer counts.
    CLAIM = "CLAIM"
    #: Both are right, each for itself.
    BOTH = "BOTH"
    #: Both name the same patient; their films are one study.
    SAME = "SAME"


#: What `correction.column_name` says of a film that went to the row of another patient.
FILM = "film"


class MergeKind(StrEnum):
    """How two Patient IDs became one person's."""

    #: A patient merge (HL7 ADT A40): two records were one person's.
    MERGE = "MERGE"
    #: A change of the identifier (HL7 ADT A47).
    RENAME = "RENAME"


class NoteEffect(StrEnum):
    """What a rejection note does to the films that it names; decided by its title and the settings when it comes."""

    #: They do not count.
    WITHDRAWS = "WITHDRAWS"
    #: They do not count, but a PNEUMONIA stays until a later film of the study is judged.
    KEEPS_PNEUMONIA = "KEEPS_PNEUMONIA"
    #: They count, and their pixels may go by the site's rule of retention.
    EXPIRES = "EXPIRES"
    #: They count again, whatever an earlier note says.
    RESTORES = "RESTORES"
    #: Nothing, by the settings.
    NONE = "NONE"


class NoteVerdict(StrEnum):
    """What came of a rejection note, as a whole or for one image."""

    #: The note is followed.
    APPLIED = "APPLIED"
    #: The film came again after it was rejected, and the settings let it count.
    RESTORED = "RESTORED"
    #: The film came later than the note is kept for films that are not there yet.
    TOO_LATE = "TOO_LATE"
    #: The image is of another patient than the note.
    PATIENT_DIFFERS = "PATIENT_DIFFERS"
    #: The image is in another study than the note, or the note names an object of another study than its own.
    STUDY_DIFFERS = "STUDY_DIFFERS"
    #: The image is in another series than the note says.
    SERIES_DIFFERS = "SERIES_DIFFERS"
    #: The image has another SOP class than the note says.
    CLASS_DIFFERS = "CLASS_DIFFERS"
    #: The sender of the note is not listed for rejections.
    SOURCE_NOT_LISTED = "SOURCE_NOT_LISTED"
    #: The note names no object that can be read.
    NO_REFERENCES = "NO_REFERENCES"
    #: The note names too many objects, or cannot be read.
    UNREADABLE = "UNREADABLE"
    #: The content of the note names other objects than its evidence.
    REFERENCES_DIFFER = "REFERENCES_DIFFER"


class BatchKind(StrEnum):
    """Why a batch's tasks are made."""

    #: By command, once.
    RERUN = "RERUN"
    #: A shadow model scores every new image beside the active one; its results never count.
    SHADOW = "SHADOW"


class DaySource(StrEnum):
    """Whose results a row of `model_day` counts."""

    #: The active model, on new images.
    LIVE = "LIVE"
    SHADOW = "SHADOW"
    RERUN = "RERUN"


class ModelState(StrEnum):
    """What a model is used for."""

    #: Known and usable for re-runs.
    AVAILABLE = "AVAILABLE"
    #: Scores new images; at most one model.
    ACTIVE = "ACTIVE"
    #: Scores new images beside the active model; at most one model.
    SHADOW = "SHADOW"
    #: Not used for anything new.
    RETIRED = "RETIRED"


class ModelChange(StrEnum):
    """What was done with a model: each is a row of `model_event`."""

    ACTIVATED = "ACTIVATED"
    DEACTIVATED = "DEACTIVATED"
    SHADOWED = "SHADOWED"
    UNSHADOWED = "UNSHADOWED"
    RETIRED = "RETIRED"
    REINSTATED = "REINSTATED"
    SUSPENDED = "SUSPENDED"
    #: A suspension ended, see `SuspensionEnd`.
    RELEASED = "RELEASED"
    DISCARDED = "DISCARDED"
    REQUEUED = "REQUEUED"


class SuspensionEnd(StrEnum):
    """How a suspension ended: what becomes of the results in doubt."""

    #: They were right: answers are shown again as they were.
    RELEASED = "RELEASED"
    #: They stay in doubt; later results count.
    DISCARDED = "DISCARDED"
    #: They stay in doubt until a re-run by the model that is active at the end of the suspension replaces them.
    REQUEUED = "REQUEUED"

    @property
    def event(self) -> ModelChange:
        """The event of the model that records this end."""
        return ModelChange(self.value)


#: Events that leave a model's state as it is.
SUSPENSION_EVENTS = (ModelChange.SUSPENDED, *(end.event for end in SuspensionEnd))


class PurgeKind(StrEnum):
    """What a purge is about."""

    #: Originals and films, by age, state and free space.
    PIXELS = "PIXELS"
    #: Rows of studies beyond the floor of retention.
    RECORDS = "RECORDS"
    #: What may be erased of one person.
    PERSON = "PERSON"


class PurgeEnd(StrEnum):
    """How a purge ended."""

    DONE = "DONE"
    #: It was ended before it was done, or its process died.
    STOPPED = "STOPPED"


class HeldFile(StrEnum):
    """The two files that are kept of an image."""

    ORIGINAL = "ORIGINAL"
    FILM = "FILM"


class Level(StrEnum):
    """How well a part of the system works."""

    #: It works.
    OK = "OK"
    #: A person should look, but nothing is at risk yet.
    WARN = "WARN"
    #: A promise is broken, or will be soon.
    FAIL = "FAIL"


class DestinationKind(StrEnum):
    """By what a result reaches a destination; `worker.delivering` says how a kind is added."""

    #: DICOM objects to an application entity.
    C_STORE = "C_STORE"
    #: A signed message to a URL.
    WEBHOOK = "WEBHOOK"


class DeliveryAction(StrEnum):
    """What a delivery tells its destination about a study."""

    #: The answer; what was said before is replaced.
    REPORT = "REPORT"
    #: That what was said before does not hold any more, and nothing is said in its place.
    WITHDRAW = "WITHDRAW"


class DeliveryState(StrEnum):
    """The state of a delivery."""

    #: It waits for its turn, or for its next attempt.
    PENDING = "PENDING"
    #: A sender works on it, as long as its lease lasts.
    CLAIMED = "CLAIMED"
    #: The destination has taken everything, and was asked for storage commitment.
    UNCONFIRMED = "UNCONFIRMED"
    #: The destination has taken everything; it offers no commitment, or has given none (then with a reason).
    DELIVERED = "DELIVERED"
    #: The destination has taken everything and committed itself to it.
    CONFIRMED = "CONFIRMED"
    #: Given up; `auscult deliver retry` tries again.
    FAILED = "FAILED"
    #: The answer changed before this was sent; a later delivery says what holds.
    SUPERSEDED = "SUPERSEDED"


#: `worker.kind` of a command that works on its own tasks.
LOCAL_KIND = "local"

OPEN_DELIVERY_STATES = (DeliveryState.PENDING, DeliveryState.CLAIMED, DeliveryState.UNCONFIRMED)
