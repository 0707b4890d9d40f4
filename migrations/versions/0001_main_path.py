"""The tables and views of the main path.

Revision 0001, the first.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
VIEW_NAMES = ("worklist", "result_history", "refused", "batch_progress", "queue_health")
TABLES = ("model", "refusal", "batch", "study", "image", "task", "result", "worker")


def upgrade() -> None:
    _model()
    _refusal()
    _batch()
    _study()
    _image()
    _task()
    _result()
    _worker()
    for name in VIEW_NAMES:
        create_view(op.get_bind(), VIEWS, name, 1)


def downgrade() -> None:
    for name in reversed(VIEW_NAMES):
        drop_view(op.get_bind(), name)
    for name in reversed(TABLES):
        op.drop_table(name)


def _model() -> None:
    op.create_table(
        "model",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("name", sa.String(length=64), nullable=False, comment="name of the bundle"),
        sa.Column("version", sa.String(length=32), nullable=False, comment="version of the bundle"),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False, comment="of the weights"),
        sa.Column("preprocess_version", sa.Integer(), nullable=False, comment="version of film to input"),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="of calibration and threshold"),
        sa.Column("threshold", sa.Double(), nullable=False, comment="operating point; a film at it is PNEUMONIA"),
        sa.Column("min_age_years", sa.Integer(), nullable=False, comment="youngest age judged, completed years"),
        sa.Column("max_age_years", sa.Integer(), nullable=False, comment="oldest age judged, completed years"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="active: scores new images; one at most"),
        sa.Column("created_at", MOMENT, nullable=False, comment="when it was made known"),
        sa.CheckConstraint("state IN ('active', 'available')", name=op.f("ck_model_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_name_version")),
        comment="a model bundle that tasks name",
    )
    op.create_index(
        "uq_model_active",
        "model",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
        sqlite_where=sa.text("state = 'active'"),
    )


def _refusal() -> None:
    op.create_table(
        "refusal",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column(
            "uid", sa.String(length=64), nullable=False, comment="the journal's id: reading it twice adds nothing"
        ),
        sa.Column("at", MOMENT, nullable=False, comment="when, by the listener's clock"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="association or object"),
        sa.Column("reason_code", sa.String(length=40), nullable=False, comment="why"),
        sa.Column("calling_aet", sa.String(length=64), nullable=False, comment="AE title of the sender"),
        sa.Column("called_aet", sa.String(length=64), nullable=False, comment="AE title it called"),
        sa.Column("peer", sa.String(length=64), nullable=False, comment="address of the sender"),
        sa.Column("study_uid", sa.String(length=64), nullable=False, comment="if it could be read"),
        sa.Column("sop_uid", sa.String(length=64), nullable=False, comment="if it could be read"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
        sa.UniqueConstraint("uid", name=op.f("uq_refusal_uid")),
        comment="an association or object that was turned away at the door",
    )
    op.create_index("ix_refusal_at", "refusal", ["at"], unique=False)


def _batch() -> None:
    op.create_table(
        "batch",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("who", sa.String(length=128), nullable=False, comment="who ordered it"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("selector", sa.Text(), nullable=False, comment="canonical JSON: which studies"),
        sa.Column(
            "selector_sha256",
            sa.String(length=64),
            nullable=False,
            comment="of the selector: an open batch is resumed, not doubled",
        ),
        sa.Column("model_id", ID, nullable=False, comment="the model that scores"),
        sa.Column(
            "keep_current", sa.Boolean(), nullable=False, comment="its results are added and never become current"
        ),
        sa.Column("created_at", MOMENT, nullable=False, comment="when it was ordered"),
        sa.Column("closed_at", MOMENT, nullable=True, comment="when its last task ended"),
        sa.Column("n_tasks", sa.Integer(), nullable=False, comment="images in it"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_batch_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        comment="one re-run: who ordered it, why, and for which images",
    )
    op.create_index(
        "uq_batch_open",
        "batch",
        ["selector_sha256", "model_id", "keep_current"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
        sqlite_where=sa.text("closed_at IS NULL"),
    )


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("study_uid", sa.String(length=64), nullable=False, comment="Study Instance UID (0020,000D)"),
        sa.Column("patient_id", sa.String(length=128), nullable=False, comment="Patient ID (0010,0020)"),
        sa.Column("patient_name", sa.String(length=512), nullable=False, comment="Patient's Name (0010,0010)"),
        sa.Column("patient_birth_date", sa.Date(), nullable=True, comment="Patient's Birth Date (0010,0030)"),
        sa.Column("patient_sex", sa.String(length=16), nullable=False, comment="Patient's Sex (0010,0040)"),
        sa.Column("accession_number", sa.String(length=64), nullable=False, comment="Accession Number (0008,0050)"),
        sa.Column("study_date", sa.Date(), nullable=True, comment="Study Date (0008,0020)"),
        sa.Column("study_description", sa.String(length=255), nullable=False, comment="Study Description (0008,1030)"),
        sa.Column("first_rx_at", MOMENT, nullable=False, comment="when its first object came"),
        sa.Column("last_rx_at", MOMENT, nullable=False, comment="when its last object came"),
        sa.Column("revision_at", MOMENT, nullable=False, comment="when the present revision began"),
        sa.Column(
            "ready_at_ms", sa.BigInteger(), nullable=False, comment="counts as complete from then on (database clock)"
        ),
        sa.Column(
            "force_at_ms",
            sa.BigInteger(),
            nullable=False,
            comment="latest ready_at_ms of this revision (database clock)",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="counts up when a finished study gains or changes an image",
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="see the worklist's ai_status"),
        sa.Column("label", sa.String(length=16), nullable=True, comment="NORMAL only when FINAL"),
        sa.Column("probability", sa.Double(), nullable=True, comment="of pneumonia, of the film that decides; 0 to 1"),
        sa.Column("threshold", sa.Double(), nullable=True, comment="operating point the probability was held against"),
        sa.Column(
            "reason", sa.String(length=40), nullable=True, comment="why there is no answer: the most telling reason"
        ),
        sa.Column("flags", sa.Text(), nullable=False, comment="JSON list: what was answered in spite of"),
        sa.Column("model_id", ID, nullable=True, comment="model of the result that decides"),
        sa.Column("n_images", sa.Integer(), nullable=False, comment="current images"),
        sa.Column("n_scored", sa.Integer(), nullable=False, comment="current images whose current result is OK"),
        sa.Column("finished_at", MOMENT, nullable=True, comment="when the answer became what it is"),
        sa.Column("priority", sa.Integer(), nullable=False, comment="smaller is sooner; 0 is ordinary"),
        sa.CheckConstraint("label IN ('NORMAL', 'PNEUMONIA')", name=op.f("ck_study_label")),
        sa.CheckConstraint(
            "label IS NULL OR label <> 'NORMAL' OR state = 'FINAL'", name=op.f("ck_study_normal_only_when_final")
        ),
        sa.CheckConstraint(
            "label IS NULL OR state NOT IN ('FAILED', 'NOT_APPLICABLE')", name=op.f("ck_study_no_label_without_answer")
        ),
        sa.CheckConstraint("state <> 'FINAL' OR label IS NOT NULL", name=op.f("ck_study_final_has_label")),
        sa.CheckConstraint(
            "state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL', 'FINAL', 'NOT_APPLICABLE', 'FAILED')",
            name=op.f("ck_study_state"),
        ),
        sa.CheckConstraint(
            "label IS NULL OR (probability IS NOT NULL AND threshold IS NOT NULL)",
            name=op.f("ck_study_label_has_score"),
        ),
        sa.CheckConstraint("ready_at_ms <= force_at_ms", name=op.f("ck_study_ready_by_force")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_study_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_study_study_uid")),
        comment="a study as received, and its answer",
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"], unique=False)
    op.create_index("ix_study_first_rx_at", "study", ["first_rx_at"], unique=False)
    op.create_index(
        "ix_study_open",
        "study",
        ["ready_at_ms"],
        unique=False,
        postgresql_where=sa.text("state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
        sqlite_where=sa.text("state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
    )


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("study_id", ID, nullable=False, comment="its study"),
        sa.Column("series_uid", sa.String(length=64), nullable=False, comment="Series Instance UID (0020,000E)"),
        sa.Column("sop_uid", sa.String(length=64), nullable=False, comment="SOP Instance UID (0008,0018)"),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False, comment="SOP Class UID (0008,0016)"),
        sa.Column(
            "transfer_syntax_uid", sa.String(length=64), nullable=False, comment="Transfer Syntax UID (0002,0010)"
        ),
        sa.Column(
            "sha256", sa.String(length=64), nullable=False, comment="of the data set without preamble and group 2"
        ),
        sa.Column("modality", sa.String(length=16), nullable=False, comment="Modality (0008,0060)"),
        sa.Column(
            "body_part",
            sa.String(length=64),
            nullable=False,
            comment="Body Part Examined (0018,0015), or what stands for it",
        ),
        sa.Column(
            "view_position",
            sa.String(length=32),
            nullable=False,
            comment="View Position (0018,5101), or what stands for it",
        ),
        sa.Column("age_months", sa.Integer(), nullable=True, comment="age at the study in completed months"),
        sa.Column("rows", sa.Integer(), nullable=False, comment="Rows (0028,0010), 0 when unknown"),
        sa.Column("columns", sa.Integer(), nullable=False, comment="Columns (0028,0011), 0 when unknown"),
        sa.Column(
            "presentation_intent", sa.String(length=32), nullable=False, comment="Presentation Intent Type (0008,0068)"
        ),
        sa.Column(
            "number_of_frames", sa.Integer(), nullable=False, comment="Number of Frames (0028,0008), 1 when unknown"
        ),
        sa.Column("has_pixel_data", sa.Boolean(), nullable=False, comment="whether it has pixel data"),
        sa.Column("revision", sa.Integer(), nullable=False, comment="the study's revision in which it came"),
        sa.Column("calling_aet", sa.String(length=64), nullable=False, comment="AE title of the sender"),
        sa.Column("peer", sa.String(length=64), nullable=False, comment="address of the sender"),
        sa.Column("store_key", sa.String(length=64), nullable=False, comment="name of the original in the store"),
        sa.Column("film_key", sa.String(length=64), nullable=True, comment="name of the film, once it is made"),
        sa.Column("film_version", sa.Integer(), nullable=True, comment="code and route that made the film"),
        sa.Column("film_sha256", sa.String(length=64), nullable=True, comment="of the film's size and pixels"),
        sa.Column("rx_count", sa.Integer(), nullable=False, comment="how often these bytes came"),
        sa.Column("is_current", sa.Boolean(), nullable=False, comment="the newest bytes of this SOP Instance UID"),
        sa.Column("received_at", MOMENT, nullable=False, comment="when these bytes came first"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_image_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sop_uid", "sha256", name=op.f("uq_image_sop_uid_sha256")),
        comment="one received object in one version of its bytes",
    )
    op.create_index("ix_image_study_id", "image", ["study_id"], unique=False)
    op.create_index(
        "uq_image_current",
        "image",
        ["sop_uid"],
        unique=True,
        postgresql_where=sa.text("is_current"),
        sqlite_where=sa.text("is_current"),
    )


def _task() -> None:
    op.create_table(
        "task",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="SCORE"),
        sa.Column("image_id", ID, nullable=False, comment="the image to work on"),
        sa.Column("model_id", ID, nullable=False, comment="the model to use"),
        sa.Column("batch_id", ID, nullable=True, comment="the re-run; NULL for live work"),
        sa.Column("revision", sa.Integer(), nullable=False, comment="the study's revision when the task was made"),
        sa.Column(
            "idem_key", sa.String(length=96), nullable=False, comment="score:image:model[:batch]: each work once"
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="DONE and FAILED both have a result"),
        sa.Column("priority", sa.Integer(), nullable=False, comment="smaller is sooner; 0 is ordinary"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="how often it was claimed"),
        sa.Column(
            "not_before_ms", sa.BigInteger(), nullable=False, comment="not to be claimed earlier (database clock)"
        ),
        sa.Column("lease_owner", sa.String(length=160), nullable=True, comment="the worker that holds it"),
        sa.Column(
            "lease_token", sa.Integer(), nullable=False, comment="counts up with each claim; only its holder may finish"
        ),
        sa.Column(
            "lease_until_ms", sa.BigInteger(), nullable=True, comment="the claim holds until then (database clock)"
        ),
        sa.Column(
            "hinted_at_ms", sa.BigInteger(), nullable=True, comment="when a message last named it (database clock)"
        ),
        sa.Column("hint_count", sa.Integer(), nullable=False, comment="messages since it last became claimable"),
        sa.Column(
            "error_class",
            sa.String(length=128),
            nullable=True,
            comment="class of the last attempt's error, never its text",
        ),
        sa.Column("error_code", sa.String(length=40), nullable=True, comment="reason code of the last attempt's error"),
        sa.Column("created_at", MOMENT, nullable=False, comment="when it was made"),
        sa.Column("finished_at", MOMENT, nullable=True, comment="when it ended"),
        sa.CheckConstraint(
            "(state = 'CLAIMED') = (lease_owner IS NOT NULL AND lease_until_ms IS NOT NULL)",
            name=op.f("ck_task_claimed_has_lease"),
        ),
        sa.CheckConstraint("kind IN ('SCORE')", name=op.f("ck_task_kind")),
        sa.CheckConstraint(
            "state IN ('PENDING', 'CLAIMED', 'DONE', 'FAILED', 'CANCELLED')", name=op.f("ck_task_state")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_task_batch_id_batch")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_task_image_id_image")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_task_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("idem_key", name=op.f("uq_task_idem_key")),
        comment="a piece of work on one image; the row is the queue, a message is only a hint",
    )
    op.create_index("ix_task_batch_id_state", "task", ["batch_id", "state"], unique=False)
    op.create_index("ix_task_image_id", "task", ["image_id"], unique=False)
    op.create_index(
        "ix_task_open_attempts",
        "task",
        ["attempts"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING', 'CLAIMED')"),
        sqlite_where=sa.text("state IN ('PENDING', 'CLAIMED')"),
    )
    op.create_index(
        "ix_task_open_batch",
        "task",
        ["priority", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING', 'CLAIMED') AND batch_id IS NOT NULL"),
        sqlite_where=sa.text("state IN ('PENDING', 'CLAIMED') AND batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_task_open_live",
        "task",
        ["priority", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL"),
        sqlite_where=sa.text("state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL"),
    )


def _result() -> None:
    op.create_table(
        "result",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("task_id", ID, nullable=False, comment="the task: one result each"),
        sa.Column("image_id", ID, nullable=False, comment="the image"),
        sa.Column("model_id", ID, nullable=False, comment="the model"),
        sa.Column("batch_id", ID, nullable=True, comment="the re-run; NULL for live work"),
        sa.Column("outcome", sa.String(length=16), nullable=False, comment="how the work ended"),
        sa.Column("reason_code", sa.String(length=40), nullable=True, comment="why it was not judged"),
        sa.Column("flags", sa.Text(), nullable=False, comment="JSON list: what was answered in spite of"),
        sa.Column("probability", sa.Double(), nullable=True, comment="of pneumonia, 0 to 1"),
        sa.Column("logit", sa.Double(), nullable=True, comment="the network's output before the sigmoid"),
        sa.Column("threshold", sa.Double(), nullable=True, comment="operating point at the time"),
        sa.Column("label", sa.String(length=16), nullable=True, comment="PNEUMONIA at or above the threshold"),
        sa.Column("film_sha256", sa.String(length=64), nullable=True, comment="of the film that was judged"),
        sa.Column("film_version", sa.Integer(), nullable=True, comment="code and route that made the film"),
        sa.Column("decode_ms", sa.Double(), nullable=True, comment="time to load or make the film"),
        sa.Column("inference_ms", sa.Double(), nullable=True, comment="time in the network"),
        sa.Column("engine", sa.String(length=16), nullable=True, comment="litert or keras"),
        sa.Column("is_current", sa.Boolean(), nullable=False, comment="the result that counts for the image"),
        sa.Column("supersedes_id", ID, nullable=True, comment="the current result it took over from"),
        sa.Column("compared_id", ID, nullable=True, comment="the current result when it was written"),
        sa.Column("created_at", MOMENT, nullable=False, comment="when it was written"),
        sa.CheckConstraint(
            "(label = 'PNEUMONIA') = (probability >= threshold)", name=op.f("ck_result_label_by_threshold")
        ),
        sa.CheckConstraint(
            "(outcome = 'OK') = (probability IS NOT NULL AND threshold IS NOT NULL AND label IS NOT NULL)",
            name=op.f("ck_result_ok_has_label"),
        ),
        sa.CheckConstraint("(outcome = 'OK') = (reason_code IS NULL)", name=op.f("ck_result_reason_unless_ok")),
        sa.CheckConstraint("label IN ('NORMAL', 'PNEUMONIA')", name=op.f("ck_result_label")),
        sa.CheckConstraint(
            "outcome IN ('OK', 'NOT_APPLICABLE', 'BAD_INPUT', 'FAILED')", name=op.f("ck_result_outcome")
        ),
        sa.CheckConstraint("probability >= 0 AND probability <= 1", name=op.f("ck_result_probability_range")),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_result_batch_id_batch")),
        sa.ForeignKeyConstraint(["compared_id"], ["result.id"], name=op.f("fk_result_compared_id_result")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_result_image_id_image")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_result_model_id_model")),
        sa.ForeignKeyConstraint(["supersedes_id"], ["result.id"], name=op.f("fk_result_supersedes_id_result")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_result_task_id_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
        sa.UniqueConstraint("task_id", name=op.f("uq_result_task_id")),
        comment="what one task found; rows are only added, never changed but for is_current",
    )
    op.create_index("ix_result_batch_id", "result", ["batch_id"], unique=False)
    op.create_index("ix_result_created_at", "result", ["created_at"], unique=False)
    op.create_index("ix_result_image_id", "result", ["image_id"], unique=False)
    op.create_index(
        "uq_result_current",
        "result",
        ["image_id"],
        unique=True,
        postgresql_where=sa.text("is_current"),
        sqlite_where=sa.text("is_current"),
    )


def _worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("name", sa.String(length=160), nullable=False, comment="host:pid:random"),
        sa.Column("host", sa.String(length=128), nullable=False, comment="its machine"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="its process"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="how it gets its work"),
        sa.Column("started_at", MOMENT, nullable=False, comment="first heartbeat"),
        sa.Column("heartbeat_at", MOMENT, nullable=False, comment="last heartbeat"),
        sa.Column("model", sa.String(length=97), nullable=False, comment="name-version of its model"),
        sa.Column("engine", sa.String(length=16), nullable=False, comment="litert or keras"),
        sa.Column("task_id", ID, nullable=True, comment="what it works on"),
        sa.Column("tasks_done", sa.Integer(), nullable=False, comment="since it started"),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_worker_task_id_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sa.UniqueConstraint("name", name=op.f("uq_worker_name")),
        comment="a process that works on tasks, by its heartbeat",
    )
