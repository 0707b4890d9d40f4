"""How the site works, and what it keeps."""

from __future__ import annotations

from worker.db.contract.column import Kind, View, ViewColumn

BATCH_PROGRESS = View(
    "batch_progress",
    "One row for each re-run or shadow",
    (
        ViewColumn("batch_id", Kind.BIGINT, "number of the re-run or shadow", example="3"),
        ViewColumn("who", Kind.TEXT, "who ordered it", example="ada"),
        ViewColumn("why", Kind.TEXT, "why", example="new model"),
        ViewColumn("selector", Kind.TEXT, "JSON: which films", example='{"states":["FINAL"]}'),
        ViewColumn("model_name", Kind.TEXT, "name of the bundle that scores", example="notebook"),
        ViewColumn("model_version", Kind.TEXT, "its version", example="2.1"),
        ViewColumn("keep_current", Kind.BOOLEAN, "true: results are only added, and never count", example="false"),
        ViewColumn("created_at", Kind.MOMENT, "when it was ordered", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn(
            "closed_at",
            Kind.MOMENT,
            "when its last film ended",
            unit="UTC",
            null="it is open",
            example="2026-01-02 10:30:00+00",
        ),
        ViewColumn("n_tasks", Kind.BIGINT, "all its films", unit="films", example="100"),
        ViewColumn("n_done", Kind.BIGINT, "films done", unit="films", example="97"),
        ViewColumn("n_failed", Kind.BIGINT, "films that failed", unit="films", example="1"),
        ViewColumn("n_cancelled", Kind.BIGINT, "films cancelled", unit="films", example="0"),
        ViewColumn("n_open", Kind.BIGINT, "films still open", unit="films", example="2"),
        ViewColumn("kind", Kind.TEXT, "RERUN or SHADOW", example="RERUN"),
        ViewColumn("state", Kind.TEXT, "OPENING (it still takes films), OPEN or CLOSED", example="CLOSED"),
    ),
)

REFUSED = View(
    "refused",
    "Associations and objects that the listener refused, and images that the gate refused",
    (
        ViewColumn("source", Kind.TEXT, "door (the listener) or gate", example="gate"),
        ViewColumn("at", Kind.MOMENT, "time of the refusal", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn("kind", Kind.TEXT, "what was refused: association or object; image for the gate", example="image"),
        ViewColumn("reason", Kind.TEXT, "reason code", example="LATERAL_VIEW"),
        ViewColumn(
            "study_uid", Kind.TEXT, "Study Instance UID; empty: it could not be read", example="1.2.840.113619.2.5.1"
        ),
        ViewColumn(
            "sop_uid", Kind.TEXT, "SOP Instance UID; empty: it could not be read", example="1.2.840.113619.2.5.3"
        ),
        ViewColumn("calling_aet", Kind.TEXT, "AE title of the caller", example="PACS1"),
        ViewColumn("called_aet", Kind.TEXT, "AE title that it called; empty for the gate", example="AUSCULT"),
        ViewColumn("peer", Kind.TEXT, "address of the caller", example="10.0.0.1"),
        ViewColumn(
            "times",
            Kind.INTEGER,
            "refusals of one caller for one reason within a minute share a row",
            unit="refusals",
            example="1",
        ),
    ),
)

QUEUE_HEALTH = View(
    "queue_health",
    "One row: is the work being done? Each count ends at 10000, which means that many or more",
    (
        ViewColumn("live_pending", Kind.BIGINT, "newly received images that wait", unit="images", example="3"),
        ViewColumn("batch_pending", Kind.BIGINT, "images of batches that wait", unit="images", example="900"),
        ViewColumn("claimed", Kind.BIGINT, "images that workers process now", unit="images", example="2"),
        ViewColumn(
            "live_oldest_s",
            Kind.BIGINT,
            "how long the oldest newly received image has waited",
            unit="seconds",
            null="none waits",
            example="4",
        ),
        ViewColumn(
            "stale_leases",
            Kind.BIGINT,
            "claimed images whose worker has not renewed its lease",
            unit="images",
            example="0",
        ),
        ViewColumn(
            "live_workers", Kind.BIGINT, "workers with a heartbeat in the last minute", unit="workers", example="2"
        ),
        ViewColumn("silent_workers", Kind.BIGINT, "workers without one", unit="workers", example="0"),
        ViewColumn(
            "failed_24h", Kind.BIGINT, "results of the last day with outcome FAILED", unit="results", example="1"
        ),
        ViewColumn("open_studies", Kind.BIGINT, "studies that are not finished", unit="studies", example="5"),
        ViewColumn("failed_studies", Kind.BIGINT, "studies with ai_status FAILED", unit="studies", example="1"),
        ViewColumn("urgent_pending", Kind.BIGINT, "images of urgent studies that wait", unit="images", example="0"),
        ViewColumn(
            "urgent_oldest_s",
            Kind.BIGINT,
            "how long the oldest of these has waited",
            unit="seconds",
            null="none waits",
            example="2",
        ),
        ViewColumn("rerun_pending", Kind.BIGINT, "images of re-runs that wait", unit="images", example="900"),
        ViewColumn(
            "rerun_oldest_s",
            Kind.BIGINT,
            "how long the oldest of these has waited",
            unit="seconds",
            null="none waits",
            example="60",
        ),
        ViewColumn("shadow_pending", Kind.BIGINT, "images of the shadow that wait", unit="images", example="0"),
        ViewColumn(
            "shadow_oldest_s",
            Kind.BIGINT,
            "how long the oldest of these has waited",
            unit="seconds",
            null="none waits",
            example="9",
        ),
        ViewColumn(
            "timed_out_24h", Kind.BIGINT, "results of the last day of images that hung", unit="results", example="0"
        ),
        ViewColumn(
            "worker_lost_24h",
            Kind.BIGINT,
            "results of the last day of images that ended their worker",
            unit="results",
            example="0",
        ),
        ViewColumn(
            "too_large_24h",
            Kind.BIGINT,
            "results of the last day of images that need too much memory",
            unit="results",
            example="0",
        ),
        ViewColumn(
            "interrupted",
            Kind.BIGINT,
            "open images whose work was interrupted by the end of all processes, which is not counted as an attempt",
            unit="images",
            example="0",
        ),
    ),
)

HEALTH = View(
    "health",
    "The last findings of each process about itself: one row for each process and probe",
    (
        ViewColumn("source", Kind.TEXT, "the process, its host and its process id", example="listener host:4711"),
        ViewColumn("probe", Kind.TEXT, "what it checked", example="SPOOL_DISK"),
        ViewColumn("level", Kind.TEXT, "OK, WARN or FAIL", example="OK"),
        ViewColumn(
            "value",
            Kind.REAL,
            "the measured number, in the unit that the sentence names",
            null="there is none",
            example="81.5",
        ),
        ViewColumn("sentence", Kind.TEXT, "what is wrong and what to do; empty: all is well"),
        ViewColumn("at", Kind.MOMENT, "when it checked", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn(
            "age_s",
            Kind.BIGINT,
            "how long ago; a running process checks every ten seconds",
            unit="seconds",
            example="4",
        ),
    ),
)

RETENTION = View(
    "retention",
    "One row for each version of a received object: what of it is still held",
    (
        ViewColumn("study_uid", Kind.TEXT, "Study Instance UID", example="1.2.840.113619.2.5.1"),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn("series_uid", Kind.TEXT, "Series Instance UID (0020,000E)", example="1.2.840.113619.2.5.2"),
        ViewColumn("sop_uid", Kind.TEXT, "SOP Instance UID (0008,0018)", example="1.2.840.113619.2.5.3"),
        ViewColumn("image_sha256", Kind.TEXT, "SHA-256 of the object as received", example="9f86d081..."),
        ViewColumn("image_is_current", Kind.BOOLEAN, "whether this version of the image counts", example="true"),
        ViewColumn("received_at", Kind.MOMENT, "when it came first", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn("original", Kind.TEXT, "HELD or PURGED", example="HELD"),
        ViewColumn(
            "original_purged_at",
            Kind.MOMENT,
            "since when",
            unit="UTC",
            null="it is held",
            example="2026-06-02 10:00:00+00",
        ),
        ViewColumn("film", Kind.TEXT, "HELD, PURGED or NONE (never made)", example="HELD"),
        ViewColumn(
            "film_purged_at",
            Kind.MOMENT,
            "since when",
            unit="UTC",
            null="it is held, or was never made",
            example="2026-06-02 10:00:00+00",
        ),
        ViewColumn(
            "committed_until",
            Kind.MOMENT,
            "until when storage commitment keeps the original",
            unit="UTC",
            null="none was given",
            example="2026-02-02 10:00:00+00",
        ),
    ),
)

PURGES = View(
    "purges",
    "One row for each purge, and for each erasure of a person",
    (
        ViewColumn("purge_id", Kind.BIGINT, "number", example="2"),
        ViewColumn(
            "kind",
            Kind.TEXT,
            "PIXELS (originals and films), RECORDS (rows beyond the floor) or PERSON",
            example="PIXELS",
        ),
        ViewColumn("who", Kind.TEXT, "who ordered it; schedule: the listener's own", example="schedule"),
        ViewColumn("why", Kind.TEXT, "why"),
        ViewColumn("rules", Kind.TEXT, "JSON: the rules by which it chose", example="{}"),
        ViewColumn("started_at", Kind.MOMENT, "when it began", unit="UTC", example="2026-06-02 10:00:00+00"),
        ViewColumn(
            "finished_at", Kind.MOMENT, "when it ended", unit="UTC", null="it runs", example="2026-06-02 10:01:00+00"
        ),
        ViewColumn("ended_how", Kind.TEXT, "DONE, or STOPPED before it was done", null="it runs", example="DONE"),
        ViewColumn("n_studies", Kind.INTEGER, "studies that it took something from", unit="studies", example="10"),
        ViewColumn("n_originals", Kind.INTEGER, "originals removed", unit="files", example="20"),
        ViewColumn("n_films", Kind.INTEGER, "films removed", unit="files", example="0"),
        ViewColumn("n_records", Kind.INTEGER, "studies whose rows were deleted", unit="studies", example="0"),
        ViewColumn("freed_bytes", Kind.BIGINT, "what that freed", unit="bytes", example="90000000"),
        ViewColumn(
            "files_left",
            Kind.BIGINT,
            "files that are marked and could not be removed yet; the next purge tries again",
            unit="files",
            example="0",
        ),
    ),
)

AUDIT = View(
    "audit",
    "The audit trail after DICOM PS3.15 A.5: one row for each act",
    (
        ViewColumn("event_id", Kind.BIGINT, "number, which only rises", example="99"),
        ViewColumn("at", Kind.MOMENT, "when", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn("act", Kind.TEXT, "what was done, by Auscult's name for it", example="STUDY_RECEIVED"),
        ViewColumn("event_code", Kind.TEXT, "EventID, a code of the scheme DCM", example="110104"),
        ViewColumn("event_type_code", Kind.TEXT, "EventTypeCode, a code of the scheme DCM; empty: none fits"),
        ViewColumn("action", Kind.TEXT, "EventActionCode: C, R, U, D or E", example="C"),
        ViewColumn(
            "outcome",
            Kind.SMALLINT,
            "EventOutcomeIndicator: 0 success, 4 minor, 8 serious, 12 major failure",
            example="0",
        ),
        ViewColumn("who", Kind.TEXT, "user of a command, AE title, or process that acts by itself", example="PACS1"),
        ViewColumn("from_where", Kind.TEXT, "address or host; empty: not known", example="10.0.0.1"),
        ViewColumn("study_uid", Kind.TEXT, "the study; empty: none is concerned", example="1.2.840.113619.2.5.1"),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn(
            "patient_id", Kind.TEXT, "of the study, as it is today; empty: none, or the study is erased", example="4711"
        ),
        ViewColumn("issuer_of_patient_id", Kind.TEXT, "of the study, as it is today; empty: not said", example="CITY"),
        ViewColumn(
            "patient_key",
            Kind.TEXT,
            "SHA-256 of the patient's identity; empty: none is concerned",
            example="9f86d081...",
        ),
        ViewColumn(
            "sop_uid", Kind.TEXT, "the object; empty: no single one is concerned", example="1.2.840.113619.2.5.3"
        ),
        ViewColumn(
            "detail", Kind.TEXT, "JSON: what else tells, such as counts and names of settings", example='{"revision":1}'
        ),
    ),
)

AUDIT_OBJECTS = View(
    "audit_objects",
    "Every study and patient that an audit event names",
    (
        ViewColumn("event_id", Kind.BIGINT, "the event", example="99"),
        ViewColumn("at", Kind.MOMENT, "when", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn("act", Kind.TEXT, "what was done, by Auscult's name for it", example="RERUN_ORDERED"),
        ViewColumn("who", Kind.TEXT, "who did it", example="ada"),
        ViewColumn(
            "study_uid", Kind.TEXT, "the study; empty: the event names a patient alone", example="1.2.840.113619.2.5.1"
        ),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn(
            "patient_id", Kind.TEXT, "of the study, as it is today; empty: none, or the study is erased", example="4711"
        ),
        ViewColumn("issuer_of_patient_id", Kind.TEXT, "of the study, as it is today; empty: not said", example="CITY"),
        ViewColumn(
            "patient_key", Kind.TEXT, "SHA-256 of the patient's identity; empty: not known", example="9f86d081..."
        ),
    ),
)
