"""What people say of the answers."""

from __future__ import annotations

from worker.db.contract.column import Kind, View, ViewColumn

ASSESSMENTS = View(
    "assessments",
    "One row for each time that a person said they had read a study; INSERT adds one, for the role auscult_assessor",
    (
        ViewColumn("assessment_id", Kind.BIGINT, "number of the assessment, which only rises", example="17"),
        ViewColumn("at", Kind.MOMENT, "when it was recorded", unit="UTC", example="2026-01-02 11:00:00+00"),
        ViewColumn("study_uid", Kind.TEXT, "Study Instance UID; to be inserted", example="1.2.840.113619.2.5.1"),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID; may be inserted, 0 by default", example="0"),
        ViewColumn(
            "accession_number", Kind.TEXT, "Accession Number (0008,0050) of the study; empty: none", example="A12345"
        ),
        ViewColumn(
            "reader",
            Kind.TEXT,
            "who has read the study, as the reader's system calls them; to be inserted",
            example="dr.lee",
        ),
        ViewColumn(
            "verdict",
            Kind.TEXT,
            "AGREE or DISAGREE with the label; may be inserted, and follows from `label` where it is not",
            null="the study was read without a verdict, or had no label",
            example="AGREE",
        ),
        ViewColumn(
            "label",
            Kind.TEXT,
            "NORMAL or PNEUMONIA, as the reader sees it; may be inserted",
            null="the reader gave none",
            example="PNEUMONIA",
        ),
        ViewColumn(
            "blinded",
            Kind.BOOLEAN,
            "whether it was given without sight of the answer; may be inserted, false by default",
            example="false",
        ),
        ViewColumn(
            "airai_code",
            Kind.TEXT,
            "code of the scheme 99IHE that the reader's system gave (IHE AIRAI); may be inserted, and is not checked",
            null="none was given",
        ),
        ViewColumn(
            "is_latest", Kind.BOOLEAN, "whether no later one is about the same revision and model", example="true"
        ),
        ViewColumn("revision", Kind.INTEGER, "revision of the study at that time", unit="count from 1", example="1"),
        ViewColumn("answer_state", Kind.TEXT, "ai_status at that time", example="FINAL"),
        ViewColumn("answer_label", Kind.TEXT, "label at that time", null="there was none", example="PNEUMONIA"),
        ViewColumn(
            "probability",
            Kind.REAL,
            "probability of pneumonia at that time",
            unit="0 to 1",
            null="there was no label",
            example="0.91",
        ),
        ViewColumn(
            "threshold", Kind.REAL, "threshold at that time", unit="0 to 1", null="there was no label", example="0.5"
        ),
        ViewColumn(
            "band", Kind.TEXT, "band at that time", null="there was no label, or the model had no bands", example="HIGH"
        ),
        ViewColumn(
            "model_name",
            Kind.TEXT,
            "name of the bundle whose answer it was",
            null="no model had answered",
            example="notebook",
        ),
        ViewColumn("model_version", Kind.TEXT, "its version", null="no model had answered", example="2.1"),
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
            "Manufacturer's Model Name (0008,1090); empty: not said",
            null="no film counts",
            example="DR 500",
        ),
        ViewColumn(
            "station_name",
            Kind.TEXT,
            "Station Name (0008,1010); empty: not said",
            null="no film counts",
            example="ROOM1",
        ),
        ViewColumn(
            "institution",
            Kind.TEXT,
            "Institution Name (0008,0080); empty: not said",
            null="no film counts",
            example="CITY HOSPITAL",
        ),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
    ),
)

AGREEMENT = View(
    "agreement",
    "How often readers agreed with each model: in all, by day, by device and by band",
    (
        ViewColumn(
            "by_what",
            Kind.TEXT,
            "MODEL, DAY, DEVICE or BAND: what the row counts for the model. A verdict counts in one row of each",
            example="DEVICE",
        ),
        ViewColumn("model_name", Kind.TEXT, "name of the bundle", example="notebook"),
        ViewColumn("model_version", Kind.TEXT, "its version", example="2.1"),
        ViewColumn("day", Kind.DATE, "day of the verdict in UTC", null="the row is not by DAY", example="2026-01-02"),
        ViewColumn(
            "manufacturer",
            Kind.TEXT,
            "Manufacturer (0008,0070)",
            null="the row is not by DEVICE, or no film counts",
            example="ACME",
        ),
        ViewColumn(
            "device_model",
            Kind.TEXT,
            "Manufacturer's Model Name (0008,1090)",
            null="the row is not by DEVICE, or no film counts",
            example="DR 500",
        ),
        ViewColumn(
            "station_name",
            Kind.TEXT,
            "Station Name (0008,1010)",
            null="the row is not by DEVICE, or no film counts",
            example="ROOM1",
        ),
        ViewColumn(
            "band",
            Kind.TEXT,
            "LOW, INTERMEDIATE or HIGH",
            null="the row is not by BAND, or the model has no bands",
            example="HIGH",
        ),
        ViewColumn("n", Kind.BIGINT, "studies with a verdict", unit="studies", example="120"),
        ViewColumn("n_agree", Kind.BIGINT, "of these, how many readers agreed", unit="studies", example="111"),
        ViewColumn("share", Kind.REAL, "n_agree of n", unit="0 to 1", example="0.925"),
        ViewColumn(
            "share_low",
            Kind.REAL,
            "lower bound of the 95 % interval of `share` (Wilson)",
            unit="0 to 1",
            example="0.864",
        ),
        ViewColumn("share_high", Kind.REAL, "upper bound", unit="0 to 1", example="0.96"),
        ViewColumn(
            "n_pneumonia_denied", Kind.BIGINT, "answers PNEUMONIA that the reader denied", unit="studies", example="6"
        ),
        ViewColumn(
            "n_normal_denied", Kind.BIGINT, "answers NORMAL that the reader denied", unit="studies", example="3"
        ),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
    ),
)
