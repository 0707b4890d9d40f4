"""What was handed on to other systems."""

from __future__ import annotations

from worker.db.contract.column import Kind, View, ViewColumn

DELIVERIES = View(
    "deliveries",
    "What each destination was told about each study: one row for each answer, or withdrawal of one, and destination",
    (
        ViewColumn("delivery_id", Kind.BIGINT, "number of the delivery", example="12"),
        ViewColumn("study_uid", Kind.TEXT, "Study Instance UID", example="1.2.840.113619.2.5.1"),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn("destination", Kind.TEXT, "what the site calls the destination", example="PACS"),
        ViewColumn("kind", Kind.TEXT, "C_STORE or WEBHOOK", example="C_STORE"),
        ViewColumn(
            "number", Kind.INTEGER, "counts what this destination was told about this study, from 1", example="1"
        ),
        ViewColumn(
            "action",
            Kind.TEXT,
            "REPORT: the answer; WITHDRAW: that what was said before does not hold",
            example="REPORT",
        ),
        ViewColumn(
            "state",
            Kind.TEXT,
            "PENDING, CLAIMED (being sent), UNCONFIRMED (taken, storage commitment asked for), DELIVERED, CONFIRMED "
            "(committed), FAILED (given up), SUPERSEDED (a later one says what holds)",
            example="CONFIRMED",
        ),
        ViewColumn(
            "reason",
            Kind.TEXT,
            "code: why the last attempt failed, or what was not confirmed",
            null="nothing is wrong",
            example="PEER_AWAY",
        ),
        ViewColumn("attempts", Kind.INTEGER, "times it was tried", unit="attempts", example="1"),
        ViewColumn(
            "next_try_s",
            Kind.BIGINT,
            "how long until it is tried, or asked after, again; 0: it is due",
            unit="seconds",
            null="it has ended",
            example="40",
        ),
        ViewColumn(
            "report_uid",
            Kind.TEXT,
            "SOP Instance UID of the report that was sent",
            null="none was made",
            example="2.25.1234567890",
        ),
        ViewColumn(
            "created_at", Kind.MOMENT, "when the answer became known", unit="UTC", example="2026-01-02 10:00:00+00"
        ),
        ViewColumn(
            "delivered_at",
            Kind.MOMENT,
            "when the destination had taken everything",
            unit="UTC",
            null="it has not",
            example="2026-01-02 10:00:04+00",
        ),
        ViewColumn(
            "finished_at", Kind.MOMENT, "when it ended", unit="UTC", null="it is open", example="2026-01-02 10:00:05+00"
        ),
        ViewColumn("is_last", Kind.BOOLEAN, "whether it is the last one of this study and destination", example="true"),
    ),
)
