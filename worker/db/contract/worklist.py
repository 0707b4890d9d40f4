"""The worklist, and who its patients are."""

from __future__ import annotations

from dataclasses import replace

from worker.db.contract.column import Kind, View, ViewColumn

WORKLIST_V3 = View(
    "worklist_v3",
    "The worklist in version 3 of its contract: one row for each patient of each study received",
    (
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "Study Instance UID (0020,000D); with `side` the key",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn(
            "accession_number",
            Kind.TEXT,
            "Accession Number (0008,0050) of the study's newest object; empty: it has none",
            example="A12345",
        ),
        ViewColumn(
            "patient_id",
            Kind.TEXT,
            "Patient ID (0010,0020) of the study's newest object; empty: it has none",
            example="4711",
        ),
        ViewColumn(
            "study_date",
            Kind.DATE,
            "Study Date (0008,0020) of the study's newest object",
            null="the header gives none, or a placeholder",
            example="2026-01-02",
        ),
        ViewColumn(
            "ai_status",
            Kind.TEXT,
            "how far the answer is: RECEIVING, QUEUED, PROVISIONAL, FINAL, WITHHELD, NOT_APPLICABLE or FAILED",
            example="FINAL",
        ),
        ViewColumn(
            "label",
            Kind.TEXT,
            "NORMAL or PNEUMONIA. NORMAL is the name of the model's class, stands only in FINAL rows, and is no reading of the film",
            null="there is no answer: never to be read as normal",
            example="PNEUMONIA",
        ),
        ViewColumn(
            "probability",
            Kind.REAL,
            "of pneumonia, by the film that decides",
            unit="0 to 1",
            null="there is no label",
            example="0.91",
        ),
        ViewColumn(
            "threshold",
            Kind.REAL,
            "the label is PNEUMONIA from this probability on",
            unit="0 to 1",
            null="there is no label",
            example="0.5",
        ),
        ViewColumn(
            "reason",
            Kind.TEXT,
            "why there is no answer, as a reason code",
            null="there is an answer, or there may still be one",
            example="LATERAL_VIEW",
        ),
        ViewColumn(
            "flags",
            Kind.CODES,
            "codes of what the answer was given in spite of; an empty list for none",
            example='["AGE_UNKNOWN"]',
        ),
        ViewColumn(
            "model_name",
            Kind.TEXT,
            "name of the bundle that answered",
            null="no model has answered",
            example="notebook",
        ),
        ViewColumn(
            "model_version",
            Kind.TEXT,
            "version of the bundle that answered",
            null="no model has answered",
            example="2.1",
        ),
        ViewColumn(
            "revision",
            Kind.INTEGER,
            "goes up by 1 when an image of a finished study is added or changed",
            unit="count from 1",
            example="1",
        ),
        ViewColumn("n_images", Kind.INTEGER, "images that count", unit="images", example="2"),
        ViewColumn("n_scored", Kind.INTEGER, "images that count and were judged", unit="images", example="1"),
        ViewColumn(
            "received_at",
            Kind.MOMENT,
            "when the study's first object came",
            unit="UTC",
            example="2026-01-02 10:00:00+00",
        ),
        ViewColumn(
            "finished_at",
            Kind.MOMENT,
            "when the answer became what it is; a re-run that changes the answer moves it",
            unit="UTC",
            null="the study is open",
            example="2026-01-02 10:01:10+00",
        ),
        ViewColumn(
            "waiting_s",
            Kind.BIGINT,
            "how long an unfinished study has waited since the first object of this revision came",
            unit="seconds",
            null="the study is finished",
            example="12",
        ),
        ViewColumn(
            "priority_rank",
            Kind.BIGINT,
            "reading order: the smallest is read first. It is the moment at which the row is due, and of a row that was read "
            "100000000000000 more",
            unit="milliseconds since 1970",
            example="1767348900000",
        ),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
        ViewColumn(
            "band",
            Kind.TEXT,
            "LOW, INTERMEDIATE or HIGH: the band of the probability",
            null="there is no label, or the model has no bands",
            example="HIGH",
        ),
        ViewColumn(
            "side",
            Kind.INTEGER,
            "0; objects of another patient under the same study UID have a row of their own, with 1 and up",
            example="0",
        ),
        ViewColumn(
            "completeness",
            Kind.TEXT,
            "COUNTED or SHORT where the source gave the number of objects in the study, else ASSUMED",
            example="ASSUMED",
        ),
        ViewColumn(
            "n_expected",
            Kind.INTEGER,
            "the number of objects that the source gave",
            unit="objects",
            null="the source was not asked",
            example="2",
        ),
        ViewColumn("finding", Kind.TEXT, "what the film is looked at for; always PNEUMONIA", example="PNEUMONIA"),
        ViewColumn(
            "finding_status",
            Kind.TEXT,
            "DETECTED, NOT_DETECTED, or INDETERMINATE for the middle band. A doubt in `flags` leaves DETECTED as it is",
            null="there is no answer: never to be read as not detected",
            example="DETECTED",
        ),
        ViewColumn(
            "n_failed",
            Kind.BIGINT,
            "images that count and should have been judged, but were not (outcome FAILED or BAD_INPUT)",
            unit="images",
            example="0",
        ),
        ViewColumn(
            "last_received_at",
            Kind.MOMENT,
            "when the study's last object came",
            unit="UTC",
            example="2026-01-02 10:00:03+00",
        ),
        ViewColumn(
            "completed_at",
            Kind.MOMENT,
            "when the study was answered after it was last open; a re-run does not move it",
            unit="UTC",
            null="the study is open",
            example="2026-01-02 10:01:10+00",
        ),
        ViewColumn(
            "first_finished_at",
            Kind.MOMENT,
            "when the study was first answered; it never moves",
            unit="UTC",
            null="the study was never answered",
            example="2026-01-02 10:01:10+00",
        ),
        ViewColumn(
            "updated_at", Kind.MOMENT, "when this row last changed", unit="UTC", example="2026-01-02 10:01:10+00"
        ),
        ViewColumn(
            "turnaround_s",
            Kind.BIGINT,
            "from `received_at` to `first_finished_at`",
            unit="seconds",
            null="the study was never answered",
            example="70",
        ),
        ViewColumn(
            "change_id",
            Kind.BIGINT,
            "number of the row's last change; read it through the view `changes`, which leaves no gap; 0: none since schema 0018",
            example="48151",
        ),
        ViewColumn(
            "requested_priority",
            Kind.TEXT,
            "STAT, HIGH, ROUTINE, MEDIUM or LOW, as the order says; empty: it says nothing",
            example="STAT",
        ),
        ViewColumn(
            "previous_label",
            Kind.TEXT,
            "label that the model before this one gave to the same films; other than `label`: the answer has flipped",
            null="no other model has answered, or there is no label",
            example="NORMAL",
        ),
        ViewColumn(
            "read_at",
            Kind.MOMENT,
            "when a person last read this revision (view `assessments`)",
            unit="UTC",
            null="nobody has, or films came since",
            example="2026-01-02 11:00:00+00",
        ),
        ViewColumn(
            "reader_label",
            Kind.TEXT,
            "NORMAL or PNEUMONIA, as the reader sees it",
            null="the reader gave none",
            example="PNEUMONIA",
        ),
        ViewColumn(
            "verdict",
            Kind.TEXT,
            "AGREE or DISAGREE: what the reader says of the present label",
            null="nobody has said, or there is no label",
            example="AGREE",
        ),
        ViewColumn(
            "manufacturer",
            Kind.TEXT,
            "Manufacturer (0008,0070) of the device of the study's first film; empty: not said",
            null="no film counts",
            example="ACME",
        ),
        ViewColumn(
            "device_model",
            Kind.TEXT,
            "Manufacturer's Model Name (0008,1090) of that device; empty: not said",
            null="no film counts",
            example="DR 500",
        ),
        ViewColumn(
            "station_name",
            Kind.TEXT,
            "Station Name (0008,1010) of that device; empty: not said",
            null="no film counts",
            example="ROOM1",
        ),
        ViewColumn(
            "institution",
            Kind.TEXT,
            "Institution Name (0008,0080) of that film; empty: not said",
            null="no film counts",
            example="CITY HOSPITAL",
        ),
        ViewColumn(
            "calling_aet",
            Kind.TEXT,
            "AE title of the sender of that film; empty: it was ingested",
            null="no film counts",
            example="PACS1",
        ),
        ViewColumn(
            "priority_reason",
            Kind.TEXT,
            "why the row stands where it does: what it says, how urgent its order is, and when it was due after it came",
            example="failed, STAT: due 9000 s after it came",
        ),
    ),
)

WORKLIST = View(
    "worklist",
    "The worklist: the columns of worklist_v3, with flags as JSON in a text",
    tuple(
        replace(column, kind=Kind.CODES_TEXT) if column.kind is Kind.CODES else column for column in WORKLIST_V3.columns
    ),
)

WORKLIST_NAMES = View(
    "worklist_names",
    "Names and birth dates for the rows of the worklist, for the role auscult_names",
    (
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "Study Instance UID (0020,000D); with `side` the key",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID, as in `worklist`", example="0"),
        ViewColumn("accession_number", Kind.TEXT, "Accession Number (0008,0050); empty: none", example="A12345"),
        ViewColumn("patient_id", Kind.TEXT, "Patient ID (0010,0020); empty: none", example="4711"),
        ViewColumn(
            "issuer_of_patient_id", Kind.TEXT, "Issuer of Patient ID (0010,0021); empty: not said", example="CITY"
        ),
        ViewColumn(
            "patient_name",
            Kind.TEXT,
            "Patient's Name (0010,0010), family and given name separated by ^; empty: none",
            example="DOE^JANE",
        ),
        ViewColumn(
            "patient_birth_date",
            Kind.DATE,
            "Patient's Birth Date (0010,0030)",
            null="not said, or a placeholder",
            example="2022-05-01",
        ),
        ViewColumn("patient_sex", Kind.TEXT, "Patient's Sex (0010,0040): M, F or O; empty: not said", example="F"),
        ViewColumn(
            "study_date", Kind.DATE, "Study Date (0008,0020)", null="not said, or a placeholder", example="2026-01-02"
        ),
        ViewColumn("study_description", Kind.TEXT, "Study Description (0008,1030); empty: none", example="CHEST AP"),
    ),
)

CHANGES = View(
    "changes",
    "The rows of the worklist by the number of their last change, for who polls: no change is missed",
    (
        ViewColumn(
            "change_id",
            Kind.BIGINT,
            "number of the row's last change, which only rises; rows that changed together may share it",
            example="48151",
        ),
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "Study Instance UID; with `side` the key of `worklist`",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn("changed_at", Kind.MOMENT, "when it changed", unit="UTC", example="2026-01-02 10:01:10+00"),
        ViewColumn(
            "is_shown",
            Kind.BOOLEAN,
            "false: its films went to another row, and the worklist no longer shows it",
            example="true",
        ),
    ),
)
