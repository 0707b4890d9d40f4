"""The tables that a study goes through, with the constraints that hold for every row.

Times for people are UTC moments; times that the scheduler compares are milliseconds of the database's clock, which sets both, so
that a wrong clock of a worker does no harm. Patient fields are in `study`, `correction` and `schema.withdrawal` (merges) alone.

Some columns are read by views alone: device and institution, and the patient's name, birth date and sex. For who looks for the
cause of a problem: `last_rx_at`, `image.rx_count`, `image.revision`, `task.error_class`, `suspension.ended_how`, and of `worker`
its host, process, start, model, engine and number of tasks.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Double,
    FetchedValue,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from dicom_io.header.evidence import Derivation, Species
from dicom_io.reasons import Outcome
from model.labels import Band, Label
from worker.db.schema.audit import AuditEvent, AuditExport, AuditObject
from worker.db.schema.delivery import Delivery, Destination
from worker.db.schema.models import LookOfFilm, Model, ModelDay, ModelEvent
from worker.db.schema.retention import Commitment, Purge, Removal
from worker.db.schema.site import (
    Assessment,
    Batch,
    ChangeClock,
    Conflict,
    Correction,
    Inbox,
    PriorityRule,
    ProbeReading,
    Receipt,
    Refusal,
    Suspension,
    Worker,
)
from worker.db.schema.states import StudyState, TaskState
from worker.db.schema.types import Base, CodeList, EnumText, UtcDateTime, index_of_named, index_of_rows, one_of
from worker.db.schema.withdrawal import PatientMerge, RejectedObject, RejectionNote, StudyHeader, Withdrawal

__all__ = [
    "Assessment",
    "AuditEvent",
    "AuditExport",
    "AuditObject",
    "Base",
    "Batch",
    "ChangeClock",
    "Commitment",
    "Conflict",
    "Correction",
    "Delivery",
    "Destination",
    "Image",
    "Inbox",
    "Model",
    "ModelDay",
    "ModelEvent",
    "PatientMerge",
    "PriorityRule",
    "ProbeReading",
    "Purge",
    "Receipt",
    "Refusal",
    "RejectedObject",
    "RejectionNote",
    "Removal",
    "Result",
    "Study",
    "StudyHeader",
    "Suspension",
    "Task",
    "Withdrawal",
    "Worker",
]


def _kept() -> tuple[FetchedValue, FetchedValue]:
    """A column that a trigger keeps: its value is read again when it is asked for."""
    return FetchedValue(), FetchedValue(for_update=True)


class Study(Base):
    """A study as received, and its answer."""

    __tablename__ = "study"
    __table_args__ = (
        one_of("state", StudyState, "state"),
        one_of("label", Label, "label"),
        CheckConstraint("label IS NULL OR label <> 'NORMAL' OR state = 'FINAL'", name="normal_only_when_final"),
        CheckConstraint("state <> 'FINAL' OR label IS NOT NULL", name="final_has_label"),
        CheckConstraint(
            "label IS NULL OR state NOT IN ('FAILED', 'NOT_APPLICABLE', 'WITHHELD')", name="no_label_without_answer"
        ),
        CheckConstraint("state <> 'WITHHELD' OR reason IS NOT NULL", name="withheld_has_reason"),
        UniqueConstraint("study_uid", "side"),
        CheckConstraint("label IS NULL OR (probability IS NOT NULL AND threshold IS NOT NULL)", name="label_has_score"),
        one_of("band", Band, "band"),
        CheckConstraint("band IS NULL OR label IS NOT NULL", name="band_has_label"),
        CheckConstraint("ready_at_ms <= force_at_ms", name="ready_by_force"),
        index_of_rows("ix_study_open", "ready_at_ms", where="state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
        index_of_rows("ix_study_listener_silent", "ready_at_ms", where="flags LIKE '%LISTENER_SILENT%'"),
        index_of_rows("ix_study_reading_order", "priority_rank", where="merged_into_id IS NULL"),
        index_of_rows(
            "ix_study_unanswered",
            "state",
            "priority_rank",
            where="state IN ('FAILED', 'WITHHELD') AND merged_into_id IS NULL",
        ),
        Index("ix_study_accession_number", "accession_number"),
        Index("ix_study_first_rx_at", "first_rx_at"),
        Index("ix_study_last_rx_at", "last_rx_at"),
        Index("ix_study_patient_id", "patient_id"),
        index_of_named("study", "merged_into_id"),
        index_of_rows("ix_study_change_id", "change_id", where="change_id > 0"),
        {"comment": "a study as received, and its answer"},
    )

    study_uid: Mapped[str] = mapped_column(String(64), comment="Study Instance UID (0020,000D)")
    patient_id: Mapped[str] = mapped_column(String(128), comment="Patient ID (0010,0020)")
    patient_name: Mapped[str] = mapped_column(String(512), comment="Patient's Name (0010,0010)")
    patient_birth_date: Mapped[date | None] = mapped_column(Date, comment="Patient's Birth Date (0010,0030)")
    patient_sex: Mapped[str] = mapped_column(String(16), comment="Patient's Sex (0010,0040)")
    accession_number: Mapped[str] = mapped_column(String(64), comment="Accession Number (0008,0050)")
    study_date: Mapped[date | None] = mapped_column(Date, comment="Study Date (0008,0020)")
    study_description: Mapped[str] = mapped_column(String(255), comment="Study Description (0008,1030)")
    first_rx_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when its first object came")
    last_rx_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when its last object came")
    revision_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when the present revision began")
    ready_at_ms: Mapped[int] = mapped_column(BigInteger, comment="counts as complete from then on (database clock)")
    force_at_ms: Mapped[int] = mapped_column(BigInteger, comment="latest ready_at_ms of this revision (database clock)")
    revision: Mapped[int] = mapped_column(Integer, comment="counts up when a finished study gains or changes an image")
    state: Mapped[StudyState] = mapped_column(EnumText(StudyState, 16), comment="see the worklist's ai_status")
    label: Mapped[Label | None] = mapped_column(EnumText(Label, 16), comment="NORMAL only when FINAL")
    probability: Mapped[float | None] = mapped_column(Double, comment="of pneumonia, of the film that decides; 0 to 1")
    threshold: Mapped[float | None] = mapped_column(Double, comment="operating point the probability was held against")
    reason: Mapped[str | None] = mapped_column(String(40), comment="why there is no answer: the most telling reason")
    flags: Mapped[tuple[str, ...]] = mapped_column(CodeList, comment="JSON list: what was answered in spite of")
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model.id"), comment="model of the result that decides")
    n_images: Mapped[int] = mapped_column(Integer, comment="current images")
    n_scored: Mapped[int] = mapped_column(Integer, comment="current images whose current result is OK")
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when the answer became what it is")
    priority: Mapped[int] = mapped_column(Integer, comment="smaller is sooner; 0 is ordinary")
    band: Mapped[Band | None] = mapped_column(EnumText(Band, 16), comment="band of the film that decides")
    side: Mapped[int] = mapped_column(
        Integer, comment="0; counts up for each other patient that objects of the same Study Instance UID name"
    )
    issuer_of_patient_id: Mapped[str] = mapped_column(String(64), comment="Issuer of Patient ID (0010,0021)")
    columns_at_ms: Mapped[int] = mapped_column(
        BigInteger, comment="arrival of the object that patient and study columns follow (database clock)"
    )
    quiet_ms: Mapped[int] = mapped_column(Integer, comment="quiet time it waits; bounds ready_at_ms after now")
    max_wait_ms: Mapped[int] = mapped_column(Integer, comment="longest wait; bounds force_at_ms after now")
    n_expected: Mapped[int | None] = mapped_column(
        Integer, comment="Number of Study Related Instances (0020,1208) as the source answered; NULL: not asked"
    )
    merged_into_id: Mapped[int | None] = mapped_column(
        ForeignKey("study.id"), comment="the study that took its films over; such a row is shown nowhere"
    )
    requested_priority: Mapped[str] = mapped_column(
        String(16), server_default="", comment="Requested Procedure Priority (0040,1003), or what stands for it"
    )
    # Kept by triggers (revisions 0018 and 0019), so that whatever changes the row, they are right.
    priority_rank: Mapped[int] = mapped_column(
        BigInteger,
        *_kept(),
        deferred=True,
        comment="reading order: read or not, and the ms since 1970 at which it is due",
    )
    change_id: Mapped[int] = mapped_column(
        BigInteger, *_kept(), deferred=True, comment="counts up with each change that the worklist shows; 0: none yet"
    )
    updated_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, *_kept(), deferred=True, comment="when the worklist's row last changed; NULL: before schema 0018"
    )
    first_finished_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, *_kept(), deferred=True, comment="when it was first answered; never moves"
    )
    completed_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, *_kept(), deferred=True, comment="when it was answered after it was last open; NULL: it is open"
    )
    read_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, *_kept(), deferred=True, comment="when a person last read this revision"
    )
    reader_label: Mapped[str | None] = mapped_column(
        String(16), *_kept(), deferred=True, comment="label that the reader gave this revision"
    )
    verdict: Mapped[str | None] = mapped_column(
        String(16), *_kept(), deferred=True, comment="AGREE or DISAGREE of the reader with the present label"
    )


class Image(Base):
    """One version of a received object: one content of its bytes."""

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("sop_uid", "sha256"),
        one_of("species", Species, "species"),
        one_of("derivation", Derivation, "derivation"),
        index_of_rows("uq_image_current", "study_id", "sop_uid", where="is_current", unique=True),
        Index("ix_image_sop_uid", "sop_uid"),
        Index("ix_image_study_id", "study_id"),
        index_of_rows("ix_image_patient_key", "patient_key", where="patient_key <> ''"),
        {"comment": "one received object in one version of its bytes"},
    )

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), comment="its study")
    series_uid: Mapped[str] = mapped_column(String(64), comment="Series Instance UID (0020,000E)")
    sop_uid: Mapped[str] = mapped_column(String(64), comment="SOP Instance UID (0008,0018)")
    sop_class_uid: Mapped[str] = mapped_column(String(64), comment="SOP Class UID (0008,0016)")
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64), comment="Transfer Syntax UID (0002,0010)")
    sha256: Mapped[str] = mapped_column(String(64), comment="of the data set without preamble and group 2")
    modality: Mapped[str] = mapped_column(String(16), comment="Modality (0008,0060)")
    body_part: Mapped[str] = mapped_column(String(64), comment="Body Part Examined (0018,0015), or what stands for it")
    view_position: Mapped[str] = mapped_column(String(32), comment="View Position (0018,5101), or what stands for it")
    age_months: Mapped[int | None] = mapped_column(Integer, comment="age at the study in completed months")
    rows: Mapped[int] = mapped_column(Integer, comment="Rows (0028,0010), 0 when unknown")
    columns: Mapped[int] = mapped_column(Integer, comment="Columns (0028,0011), 0 when unknown")
    presentation_intent: Mapped[str] = mapped_column(String(32), comment="Presentation Intent Type (0008,0068)")
    number_of_frames: Mapped[int] = mapped_column(Integer, comment="Number of Frames (0028,0008), 1 when unknown")
    has_pixel_data: Mapped[bool] = mapped_column(comment="whether it has pixel data")
    revision: Mapped[int] = mapped_column(Integer, comment="the study's revision in which it came")
    calling_aet: Mapped[str] = mapped_column(String(64), comment="AE title of the sender")
    peer: Mapped[str] = mapped_column(String(64), comment="address of the sender")
    store_key: Mapped[str] = mapped_column(String(64), comment="name of the original in the store")
    film_key: Mapped[str | None] = mapped_column(String(64), comment="name of the film, once it is made")
    film_version: Mapped[int | None] = mapped_column(Integer, comment="code and route that made the film")
    film_sha256: Mapped[str | None] = mapped_column(String(64), comment="of the film's size and pixels")
    rx_count: Mapped[int] = mapped_column(Integer, comment="how often these bytes came")
    is_current: Mapped[bool] = mapped_column(comment="the version of this SOP Instance UID that counts in its study")
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when these bytes came first")
    species: Mapped[Species] = mapped_column(
        EnumText(Species, 16), comment="what the header says of the patient's species"
    )
    derivation: Mapped[Derivation] = mapped_column(
        EnumText(Derivation, 16), comment="what the picture was computed into, empty for a film"
    )
    is_test_object: Mapped[bool] = mapped_column(comment="whether the header names a phantom or test pattern")
    burned_in_annotation: Mapped[bool] = mapped_column(comment="Burned In Annotation (0028,0301) YES")
    polarity_in_doubt: Mapped[bool] = mapped_column(comment="whether tags contradict each other about what is white")
    patient_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of its Patient ID, empty where it has none")
    issuer_of_patient_id: Mapped[str] = mapped_column(String(64), comment="Issuer of Patient ID (0010,0021)")
    pixel_sha256: Mapped[str] = mapped_column(
        String(64), comment="BLAKE3 (before schema 0024 SHA-256) from Pixel Data on; empty: not known, or no pixel data"
    )
    film_header_sha256: Mapped[str] = mapped_column(
        String(64),
        server_default="",
        comment="of what gate, film and score depend on before Pixel Data, and more; empty: not known",
    )
    original_purged_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when a purge took its original; NULL: it is kept"
    )
    film_purged_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when a purge took its film; NULL: it is kept, or there is none"
    )
    manufacturer: Mapped[str] = mapped_column(String(64), server_default="", comment="Manufacturer (0008,0070)")
    device_model: Mapped[str] = mapped_column(
        String(64), server_default="", comment="Manufacturer's Model Name (0008,1090)"
    )
    station_name: Mapped[str] = mapped_column(String(64), server_default="", comment="Station Name (0008,1010)")
    institution: Mapped[str] = mapped_column(String(64), server_default="", comment="Institution Name (0008,0080)")


class Task(Base):
    """A piece of work on one image; the row is the queue, a message is only a hint."""

    __tablename__ = "task"
    __table_args__ = (
        one_of("state", TaskState, "state"),
        CheckConstraint("kind IN ('SCORE')", name="kind"),
        CheckConstraint(
            "(state = 'CLAIMED') = (lease_owner IS NOT NULL AND lease_until_ms IS NOT NULL)", name="claimed_has_lease"
        ),
        index_of_rows(
            "ix_task_open_live", "priority", "id", where="state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL"
        ),
        index_of_rows("ix_task_open_live_age", "id", where="state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL"),
        index_of_rows(
            "ix_task_open_batch", "priority", "id", where="state IN ('PENDING', 'CLAIMED') AND batch_id IS NOT NULL"
        ),
        index_of_rows("ix_task_open_attempts", "attempts", where="state IN ('PENDING', 'CLAIMED')"),
        index_of_rows(
            "ix_task_open_of_batch", "batch_id", "id", where="state IN ('PENDING', 'CLAIMED') AND batch_id IS NOT NULL"
        ),
        index_of_rows("ix_task_claimed", "id", where="state = 'CLAIMED'"),
        index_of_rows("ix_task_interrupted", "id", where="state IN ('PENDING', 'CLAIMED') AND interruptions > 0"),
        Index("ix_task_image_id", "image_id"),
        Index("ix_task_batch_id_state", "batch_id", "state"),
        {"comment": "a piece of work on one image; the row is the queue, a message is only a hint"},
    )

    kind: Mapped[str] = mapped_column(String(16), comment="SCORE")
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), comment="the image to work on")
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model to use")
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batch.id"), comment="the re-run; NULL for live work")
    revision: Mapped[int] = mapped_column(Integer, comment="the study's revision when the task was made")
    idem_key: Mapped[str] = mapped_column(String(96), unique=True, comment="score:image:model[:batch]: each work once")
    state: Mapped[TaskState] = mapped_column(EnumText(TaskState, 16), comment="DONE and FAILED both have a result")
    priority: Mapped[int] = mapped_column(Integer, comment="smaller is sooner; 0 is ordinary")
    attempts: Mapped[int] = mapped_column(Integer, comment="how often it was claimed")
    not_before_ms: Mapped[int] = mapped_column(BigInteger, comment="not to be claimed earlier (database clock)")
    lease_owner: Mapped[str | None] = mapped_column(String(160), comment="the worker that holds it")
    lease_token: Mapped[int] = mapped_column(Integer, comment="counts up with each claim; only its holder may finish")
    lease_until_ms: Mapped[int | None] = mapped_column(
        BigInteger, comment="the claim holds until then (database clock)"
    )
    hinted_at_ms: Mapped[int | None] = mapped_column(
        BigInteger, comment="when a message last named it (database clock)"
    )
    hint_count: Mapped[int] = mapped_column(Integer, comment="messages since it last became claimable")
    error_class: Mapped[str | None] = mapped_column(
        String(128), comment="class of the last attempt's error, never its text"
    )
    error_code: Mapped[str | None] = mapped_column(String(40), comment="reason code of the last attempt's error")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was made")
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it ended")
    interruptions: Mapped[int] = mapped_column(
        Integer, server_default="0", comment="attempts not counted, because everything around them ended too"
    )
    claimed_at_ms: Mapped[int | None] = mapped_column(BigInteger, comment="its last claim (database clock)")


class Result(LookOfFilm, Base):
    """The result of one task; rows are only added, and only `is_current` ever changes."""

    __tablename__ = "result"
    __table_args__ = (
        one_of("outcome", Outcome, "outcome"),
        one_of("label", Label, "label"),
        CheckConstraint(
            "(outcome = 'OK') = (probability IS NOT NULL AND threshold IS NOT NULL AND label IS NOT NULL)",
            name="ok_has_label",
        ),
        CheckConstraint("(outcome = 'OK') = (reason_code IS NULL)", name="reason_unless_ok"),
        CheckConstraint("probability >= 0 AND probability <= 1", name="probability_range"),
        CheckConstraint("(label = 'PNEUMONIA') = (probability >= threshold)", name="label_by_threshold"),
        one_of("band", Band, "band"),
        CheckConstraint("band IS NULL OR outcome = 'OK'", name="band_if_ok"),
        CheckConstraint("unlikeness >= 0", name="unlikeness_range"),
        index_of_rows("uq_result_current", "image_id", where="is_current", unique=True),
        Index("ix_result_image_id", "image_id"),
        Index("ix_result_batch_id", "batch_id"),
        Index("ix_result_created_at", "created_at"),
        index_of_rows("ix_result_not_ok", "created_at", where="outcome <> 'OK'"),
        index_of_named("result", "supersedes_id"),
        index_of_named("result", "compared_id"),
        index_of_named("result", "taken_from_id"),
        {"comment": "what one task found; rows are only added, never changed but for is_current"},
    )

    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"), unique=True, comment="the task: one result each")
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), comment="the image")
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="the model")
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batch.id"), comment="the re-run; NULL for live work")
    outcome: Mapped[Outcome] = mapped_column(EnumText(Outcome, 16), comment="how the work ended")
    reason_code: Mapped[str | None] = mapped_column(String(40), comment="why it was not judged")
    flags: Mapped[tuple[str, ...]] = mapped_column(CodeList, comment="JSON list: what was answered in spite of")
    probability: Mapped[float | None] = mapped_column(Double, comment="of pneumonia, 0 to 1")
    logit: Mapped[float | None] = mapped_column(Double, comment="the network's output before the sigmoid")
    threshold: Mapped[float | None] = mapped_column(Double, comment="operating point at the time")
    label: Mapped[Label | None] = mapped_column(EnumText(Label, 16), comment="PNEUMONIA at or above the threshold")
    film_sha256: Mapped[str | None] = mapped_column(String(64), comment="of the film that was judged")
    film_version: Mapped[int | None] = mapped_column(Integer, comment="code and route that made the film")
    decode_ms: Mapped[float | None] = mapped_column(Double, comment="time to load or make the film")
    inference_ms: Mapped[float | None] = mapped_column(Double, comment="time in the network")
    engine: Mapped[str | None] = mapped_column(String(16), comment="litert or keras")
    is_current: Mapped[bool] = mapped_column(comment="the result that counts for the image")
    supersedes_id: Mapped[int | None] = mapped_column(
        ForeignKey("result.id"), comment="the current result it took over from"
    )
    compared_id: Mapped[int | None] = mapped_column(
        ForeignKey("result.id"), comment="the current result when it was written"
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was written")
    band: Mapped[Band | None] = mapped_column(EnumText(Band, 16), comment="band of the probability")
    unlikeness: Mapped[float | None] = mapped_column(
        Double, comment="from the training films; above 1 is out of the model's scope"
    )
    decoder: Mapped[str | None] = mapped_column(String(32), comment="what read the film's pixel data")
    taken_from_id: Mapped[int | None] = mapped_column(
        ForeignKey("result.id"), comment="the result of an earlier version with the same film that it repeats"
    )
    worker_process_id: Mapped[int | None] = mapped_column(
        ForeignKey("worker_process.id"), comment="what judged it; NULL: nothing did, or it is older"
    )
