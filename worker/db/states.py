"""Where studies, tasks and models stand: the closed lists of states."""

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

    @property
    def is_terminal(self) -> bool:
        """Whether the study waits for nothing."""
        return self in TERMINAL_STATES


TERMINAL_STATES = (StudyState.FINAL, StudyState.NOT_APPLICABLE, StudyState.FAILED)
OPEN_STATES = (StudyState.RECEIVING, StudyState.QUEUED, StudyState.PROVISIONAL)


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


OPEN_TASK_STATES = (TaskState.PENDING, TaskState.CLAIMED)


class ModelState(StrEnum):
    """Whether new images are scored by a model."""

    ACTIVE = "active"
    AVAILABLE = "available"
