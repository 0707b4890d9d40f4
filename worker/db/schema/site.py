"""The tables of the site itself: its models, its listeners and workers, refusals, and who sent what when.

`schema.study` has the tables that a study goes through, and names these too: import from there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from model.labels import Label
from worker.db.schema.states import BatchKind, ConflictEnd, ConflictKind, Level, SuspensionEnd
from worker.db.schema.types import Base, EnumText, UtcDateTime, index_of_named, one_of


class Batch(Base):
    """One re-run, or the work of one shadow model: who ordered it, why, and for which images."""

    __tablename__ = "batch"
    __table_args__ = (
        one_of("kind", BatchKind, "kind"),
        CheckConstraint("kind = 'RERUN' OR keep_current", name="shadow_never_counts"),
        CheckConstraint("closed_at IS NULL OR opening_after_id IS NULL", name="opened_before_closed"),
        Index(
            "uq_batch_open",
            "selector_sha256",
            "model_id",
            "keep_current",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
            sqlite_where=text("closed_at IS NULL"),
        ),
        {"comment": "one re-run, or the work of one shadow model: who ordered it, why, and for which images"},
    )

    who: Mapped[str] = mapped_column(String(128), comment="who ordered it")
    why: Mapped[str] = mapped_column(Text, comment="why")
    selector: Mapped[str] = mapped_column(Text, comment="canonical JSON: which studies")
    selector_sha256: Mapped[str] = mapped_column(
        String(64), comment="of the selector: an open batch is resumed, not doubled"
    )
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model that scores")
    keep_current: Mapped[bool] = mapped_column(comment="its results are added and never become current")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was ordered")
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when its last task ended")
    n_tasks: Mapped[int] = mapped_column(Integer, comment="images in it when it was ordered")
    kind: Mapped[BatchKind] = mapped_column(
        EnumText(BatchKind, 16), server_default=BatchKind.RERUN.value, comment="RERUN, or SHADOW: grows with each image"
    )
    opening_after_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="it has the films of studies up to this number; NULL: of all, it is opened"
    )
    opening_last_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="the last study whose films it may take; NULL: it took them all at once"
    )
    opening_at_ms: Mapped[int | None] = mapped_column(
        BigInteger, comment="when its command last went on opening it (database clock); NULL: as before"
    )
    n_done: Mapped[int | None] = mapped_column(Integer, comment="tasks done when it was closed; NULL: counted")
    n_failed: Mapped[int | None] = mapped_column(Integer, comment="tasks failed when it was closed; NULL: counted")
    n_cancelled: Mapped[int | None] = mapped_column(
        Integer, comment="tasks cancelled when it was closed; NULL: counted"
    )


class Suspension(Base):
    """A time in which the results of a model are in doubt: they are kept, but give no NORMAL in the worklist."""

    __tablename__ = "suspension"
    __table_args__ = (
        one_of("ended_how", SuspensionEnd, "ended_how"),
        CheckConstraint(
            "(ended_at IS NULL) = (ended_how IS NULL) AND (ended_at IS NULL) = (last_task_id IS NULL)",
            name="ended_has_how",
        ),
        Index(
            "uq_suspension_open",
            "model_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
        {"comment": "a time in which a model's results are in doubt"},
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was suspended")
    since: Mapped[datetime] = mapped_column(UtcDateTime, comment="last good check: results from then on are in doubt")
    who: Mapped[str] = mapped_column(String(128), comment="who suspended it")
    why: Mapped[str] = mapped_column(Text, comment="why")
    ended_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when it ended; NULL: the model is suspended"
    )
    ended_how: Mapped[SuspensionEnd | None] = mapped_column(
        EnumText(SuspensionEnd, 16), comment="what became of the results in doubt"
    )
    first_result_id: Mapped[int] = mapped_column(
        BigInteger, comment="results of the model from this one on are in doubt"
    )
    last_task_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="results of later tasks are not in doubt; 0 once released, NULL while suspended"
    )
    next_result_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="studies of results below this one are still to be answered again; NULL: all are"
    )


class Refusal(Base):
    """An association or object that the listener refused."""

    __tablename__ = "refusal"
    __table_args__ = (
        Index("ix_refusal_at", "at"),
        {"comment": "an association or object that was turned away at the door"},
    )

    uid: Mapped[str] = mapped_column(String(64), unique=True, comment="the journal's id: reading it twice adds nothing")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when, by the listener's clock")
    kind: Mapped[str] = mapped_column(String(16), comment="association or object")
    reason_code: Mapped[str] = mapped_column(String(40), comment="why")
    calling_aet: Mapped[str] = mapped_column(String(64), comment="AE title of the sender")
    called_aet: Mapped[str] = mapped_column(String(64), comment="AE title it called")
    peer: Mapped[str] = mapped_column(String(64), comment="address of the sender")
    study_uid: Mapped[str] = mapped_column(String(64), comment="if it could be read")
    sop_uid: Mapped[str] = mapped_column(String(64), comment="if it could be read")
    times: Mapped[int] = mapped_column(
        Integer, server_default="1", comment="how often the same was turned away since its last row"
    )


class Worker(Base):
    """A process that works on tasks, kept by its heartbeat; an orderly end removes the row."""

    __tablename__ = "worker"
    __table_args__ = ({"comment": "a process that works on tasks, by its heartbeat"},)

    name: Mapped[str] = mapped_column(String(160), unique=True, comment="host:pid:random")
    host: Mapped[str] = mapped_column(String(128), comment="its machine")
    pid: Mapped[int] = mapped_column(Integer, comment="its process")
    kind: Mapped[str] = mapped_column(String(16), comment="how it gets its work")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="first heartbeat")
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="last heartbeat")
    model: Mapped[str] = mapped_column(String(97), comment="name-version of its model")
    engine: Mapped[str] = mapped_column(String(16), comment="litert or keras")
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.id"), comment="what it works on")
    tasks_done: Mapped[int] = mapped_column(Integer, comment="since it started")


class WorkerProcess(Base):
    """A process that claimed tasks, with its versions: one row for all of its results, which outlives its `Worker`."""

    __tablename__ = "worker_process"
    __table_args__ = ({"comment": "a process that claimed tasks, with its versions; it stays, as results name it"},)

    name: Mapped[str] = mapped_column(String(160), unique=True, comment="host:pid:random")
    host: Mapped[str] = mapped_column(String(128), comment="its machine")
    pid: Mapped[int] = mapped_column(Integer, comment="its process")
    auscult: Mapped[str] = mapped_column(String(32), comment="its version of Auscult")
    python: Mapped[str] = mapped_column(String(32), comment="its version of Python")
    libraries: Mapped[str] = mapped_column(Text, comment="JSON: its versions of what a score depends on")
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="its first claim")


class Receipt(Base):
    """That one source sent one version of an object, and when: the version that counts is decided from these rows."""

    __tablename__ = "receipt"
    __table_args__ = (
        UniqueConstraint("image_id", "source"),
        {"comment": "one version of an object as one source sent it"},
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), comment="the version")
    source: Mapped[str] = mapped_column(String(64), comment="calling AE title of the sender; empty for ingest")
    first_at_ms: Mapped[int] = mapped_column(BigInteger, comment="first arrival from this source (database clock)")
    last_at_ms: Mapped[int] = mapped_column(BigInteger, comment="last arrival from this source (database clock)")
    last_key: Mapped[str] = mapped_column(
        String(64), comment="spool key of the last one: registering it again counts nothing"
    )


class Conflict(Base):
    """A contradiction of two studies about a patient or an object; while it is open, neither says NORMAL."""

    __tablename__ = "conflict"
    __table_args__ = (
        one_of("kind", ConflictKind, "kind"),
        one_of("resolution", ConflictEnd, "resolution"),
        CheckConstraint("(closed_at IS NULL) = (resolution IS NULL)", name="closed_has_resolution"),
        Index(
            "uq_conflict_open",
            "held_study_id",
            "claim_study_id",
            "sop_uid",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
            sqlite_where=text("closed_at IS NULL"),
        ),
        Index("ix_conflict_claim_study_id", "claim_study_id"),
        Index("ix_conflict_held_study_id", "held_study_id"),
        {"comment": "two studies that contradict each other about a patient or an object"},
    )

    kind: Mapped[ConflictKind] = mapped_column(EnumText(ConflictKind, 16), comment="SOP_INSTANCE or PATIENT")
    held_study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="the study that was there first")
    claim_study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="the study that contradicts it")
    sop_uid: Mapped[str] = mapped_column(String(64), comment="the object in both studies; empty for kind PATIENT")
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was found")
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it ended")
    resolution: Mapped[ConflictEnd | None] = mapped_column(EnumText(ConflictEnd, 16), comment="how it ended")
    who: Mapped[str | None] = mapped_column(String(128), comment="who or what ended it")
    why: Mapped[str | None] = mapped_column(Text, comment="why")


class Correction(Base):
    """A patient or study column that a newer version of an object changed; rows are only added."""

    __tablename__ = "correction"
    __table_args__ = (
        Index("ix_correction_study_id", "study_id"),
        index_of_named("correction", "image_id"),
        {"comment": "a patient or study column that a newer version of an object changed; rows are only added"},
    )

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="the study")
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"), comment="the version that brought it")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was registered")
    source: Mapped[str] = mapped_column(String(64), comment="calling AE title of the sender; empty for ingest")
    column_name: Mapped[str] = mapped_column(String(64), comment="column of study")
    old_value: Mapped[str] = mapped_column(String(512), comment="value before, empty where there was none")
    new_value: Mapped[str] = mapped_column(String(512), comment="value after")


class Assessment(Base):
    """That a person has read a study, and the verdict on its answer, if there is one; rows are only added.

    A trigger of the view `assessments` writes them, with the answer as it stood.
    """

    __tablename__ = "assessment"
    __table_args__ = (
        one_of("label", Label, "label"),
        one_of("answer_label", Label, "answer_label"),
        CheckConstraint("verdict IN ('AGREE', 'DISAGREE')", name="verdict"),
        CheckConstraint("verdict IS NULL OR answer_label IS NOT NULL", name="verdict_on_an_answer"),
        CheckConstraint("verdict <> 'AGREE' OR label = answer_label", name="agree_is_the_same_label"),
        CheckConstraint("verdict <> 'DISAGREE' OR label IS NULL OR label <> answer_label", name="disagree_is_another"),
        CheckConstraint("reader <> ''", name="reader"),
        Index("ix_assessment_study_id", "study_id"),
        Index("ix_assessment_at", "at"),
        {"comment": "that a person has read a study, and the verdict on its answer; rows are only added"},
    )

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="the study")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was recorded, by the database's clock")
    reader: Mapped[str] = mapped_column(String(128), comment="who has read the study")
    verdict: Mapped[str | None] = mapped_column(String(16), comment="AGREE or DISAGREE; NULL: read without a verdict")
    label: Mapped[str | None] = mapped_column(String(16), comment="NORMAL or PNEUMONIA, as the reader sees it")
    blinded: Mapped[bool] = mapped_column(comment="whether it was given without sight of the answer")
    airai_code: Mapped[str | None] = mapped_column(
        String(16), comment="code of the scheme 99IHE that the reader's system gave (IHE AIRAI)"
    )
    revision: Mapped[int] = mapped_column(Integer, comment="the study's revision at that time")
    answer_state: Mapped[str] = mapped_column(String(16), comment="its state at that time")
    answer_label: Mapped[str | None] = mapped_column(String(16), comment="its label at that time")
    probability: Mapped[float | None] = mapped_column(Double, comment="its probability at that time")
    threshold: Mapped[float | None] = mapped_column(Double, comment="its threshold at that time")
    band: Mapped[str | None] = mapped_column(String(16), comment="its band at that time")
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"), comment="the model of its answer at that time")


class ChangeClock(Base):
    """One row, from which changes of studies get their numbers."""

    __tablename__ = "change_clock"
    __table_args__ = ({"comment": "one row: what numbers of changes are counted from"},)

    value: Mapped[int] = mapped_column(
        BigInteger, comment="SQLite: the last number; PostgreSQL: what is added to the number of a transaction"
    )


class PriorityRule(Base):
    """How long after its arrival a row of the worklist is due; a site may change the times."""

    __tablename__ = "priority_rule"
    __table_args__ = (
        CheckConstraint("routine_s >= 0 AND routine_s <= 31536000", name="routine"),
        CheckConstraint("urgent_s >= 0 AND urgent_s <= routine_s", name="urgent"),
        {
            "comment": "how long after its arrival a row of the worklist is due, by what it says; a site may change the times"
        },
    )

    kind: Mapped[str] = mapped_column(String(16), unique=True, comment="which rows of the worklist")
    routine_s: Mapped[int] = mapped_column(Integer, comment="how long after its arrival such a row is due")
    urgent_s: Mapped[int] = mapped_column(Integer, comment="the same where its order is urgent")


class Inbox(Base):
    """The spool of a listener, and up to when everything it acknowledged is registered."""

    __tablename__ = "inbox"
    __table_args__ = ({"comment": "a listener's spool, and how far everything it acknowledged is registered"},)

    uid: Mapped[str] = mapped_column(String(32), unique=True, comment="identity of the spool, kept in its folder")
    host: Mapped[str] = mapped_column(String(128), comment="machine of its listener")
    pid: Mapped[int] = mapped_column(Integer, comment="process of its listener")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when its listener started")
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when its listener last said so")
    registered_until_ms: Mapped[int] = mapped_column(
        BigInteger, comment="everything acknowledged until then is registered (database clock)"
    )
    waiting: Mapped[int] = mapped_column(Integer, comment="acknowledged objects not yet registered")
    closed_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="orderly end with nothing left to register; holds up no study"
    )
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="by command: holds up no study any more")
    retired_by: Mapped[str | None] = mapped_column(String(128), comment="who retired it")
    retired_why: Mapped[str | None] = mapped_column(Text, comment="why")


class ProbeReading(Base):
    """The last finding of one probe of one process."""

    __tablename__ = "probe"
    __table_args__ = (
        UniqueConstraint("source", "probe"),
        one_of("level", Level, "level"),
        {"comment": "what a process last found of itself"},
    )

    source: Mapped[str] = mapped_column(String(160), comment="the process, by what it is and where")
    probe: Mapped[str] = mapped_column(String(40), comment="what was looked at")
    level: Mapped[Level] = mapped_column(EnumText(Level, 8), comment="OK, WARN or FAIL")
    value: Mapped[float | None] = mapped_column(Double, comment="what was measured, in the unit the sentence names")
    sentence: Mapped[str] = mapped_column(String(255), comment="what it means; empty when well")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when")
