"""Where studies, tasks, batches and models stand: the closed lists of states."""

from __future__ import annotations

from enum import StrEnum


class StudyState(StrEnum):
    """Where a study stands; the worklist shows it as `ai_status`."""

    #: Objects may still come; no result of this revision yet.
    RECEIVING = "RECEIVING"
    #: Complete, no result of this revision yet.
    QUEUED = "QUEUED"
    #: Some result; objects may still come, or tasks are open.
    PROVISIONAL = "PROVISIONAL"
    #: The answer stands.
    FINAL = "FINAL"
    #: Nothing in the study may be judged.
    NOT_APPLICABLE = "NOT_APPLICABLE"
    #: A film that should have been judged was not; never to be read as normal.
    FAILED = "FAILED"
    #: Every film was judged below its threshold, but a doubt forbids to say NORMAL; the reason names the doubt.
    WITHHELD = "WITHHELD"

    @property
    def is_terminal(self) -> bool:
        """Whether the study waits for nothing."""
        return self in TERMINAL_STATES


TERMINAL_STATES = (StudyState.FINAL, StudyState.NOT_APPLICABLE, StudyState.FAILED, StudyState.WITHHELD)
OPEN_STATES = (StudyState.RECEIVING, StudyState.QUEUED, StudyState.PROVISIONAL)


class TaskState(StrEnum):
    """Where a task stands."""

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


class BatchKind(StrEnum):
    """Why a batch's tasks are made."""

    #: Somebody asked for it, once.
    RERUN = "RERUN"
    #: A shadow model scores every new image beside the active one; its results never count.
    SHADOW = "SHADOW"


class ModelState(StrEnum):
    """What a model is used for."""

    #: Known, and free for re-runs.
    AVAILABLE = "AVAILABLE"
    #: Scores new images; one at most.
    ACTIVE = "ACTIVE"
    #: Scores new images beside the active one; one at most.
    SHADOW = "SHADOW"
    #: Not to be used for anything new.
    RETIRED = "RETIRED"


class ModelChange(StrEnum):
    """What was done with a model: each change of its state is a row of `model_event`."""

    ACTIVATED = "ACTIVATED"
    DEACTIVATED = "DEACTIVATED"
    SHADOWED = "SHADOWED"
    UNSHADOWED = "UNSHADOWED"
    RETIRED = "RETIRED"
    REINSTATED = "REINSTATED"


class Level(StrEnum):
    """How well a part of the system is."""

    OK = "OK"
    #: A person should look, but nothing is at risk yet.
    WARN = "WARN"
    #: A promise is or will soon be broken.
    FAIL = "FAIL"
