"""The films with their results."""

from __future__ import annotations

from worker.db.contract.column import Kind, View, ViewColumn

FILMS = View(
    "films",
    "One row for each film that counts in its study, with its current result and its device",
    (
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "Study Instance UID; with `side` the key of `worklist`",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID", example="0"),
        ViewColumn(
            "accession_number", Kind.TEXT, "Accession Number (0008,0050) of the study; empty: none", example="A12345"
        ),
        ViewColumn("series_uid", Kind.TEXT, "Series Instance UID (0020,000E)", example="1.2.840.113619.2.5.2"),
        ViewColumn("sop_uid", Kind.TEXT, "SOP Instance UID (0008,0018)", example="1.2.840.113619.2.5.3"),
        ViewColumn(
            "outcome",
            Kind.TEXT,
            "OK, NOT_APPLICABLE, BAD_INPUT or FAILED",
            null="it is still to be judged",
            example="OK",
        ),
        ViewColumn(
            "reason",
            Kind.TEXT,
            "why it was not judged, as a reason code",
            null="it was judged, or still is to be",
            example="LATERAL_VIEW",
        ),
        ViewColumn(
            "label",
            Kind.TEXT,
            "NORMAL or PNEUMONIA, of this film alone; the study's answer is in `worklist`",
            null="it was not judged",
            example="NORMAL",
        ),
        ViewColumn("probability", Kind.REAL, "of pneumonia", unit="0 to 1", null="it was not judged", example="0.12"),
        ViewColumn(
            "threshold",
            Kind.REAL,
            "the label is PNEUMONIA from this probability on",
            unit="0 to 1",
            null="it was not judged",
            example="0.5",
        ),
        ViewColumn(
            "band",
            Kind.TEXT,
            "LOW, INTERMEDIATE or HIGH",
            null="it was not judged, or the model has no bands",
            example="LOW",
        ),
        ViewColumn(
            "flags",
            Kind.CODES,
            "codes of what it was judged in spite of",
            null="it is still to be judged",
            example="[]",
        ),
        ViewColumn("model_name", Kind.TEXT, "name of the bundle", null="it is still to be judged", example="notebook"),
        ViewColumn("model_version", Kind.TEXT, "version of the bundle", null="it is still to be judged", example="2.1"),
        ViewColumn("manufacturer", Kind.TEXT, "Manufacturer (0008,0070); empty: not said", example="ACME"),
        ViewColumn(
            "device_model", Kind.TEXT, "Manufacturer's Model Name (0008,1090); empty: not said", example="DR 500"
        ),
        ViewColumn("station_name", Kind.TEXT, "Station Name (0008,1010); empty: not said", example="ROOM1"),
        ViewColumn("institution", Kind.TEXT, "Institution Name (0008,0080); empty: not said", example="CITY HOSPITAL"),
        ViewColumn("calling_aet", Kind.TEXT, "AE title of the sender; empty: it was ingested", example="PACS1"),
        ViewColumn(
            "received_at", Kind.MOMENT, "when these bytes came first", unit="UTC", example="2026-01-02 10:00:00+00"
        ),
        ViewColumn(
            "judged_at",
            Kind.MOMENT,
            "when the result was written",
            unit="UTC",
            null="it is still to be judged",
            example="2026-01-02 10:01:05+00",
        ),
        ViewColumn(
            "result_id",
            Kind.BIGINT,
            "number of the result, as in `result_history`",
            null="it is still to be judged",
            example="815",
        ),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
    ),
)

RESULT_HISTORY = View(
    "result_history",
    "Every result that was ever written, with the result that was current before it",
    (
        ViewColumn("result_id", Kind.BIGINT, "number of the result, which only rises", example="815"),
        ViewColumn("study_uid", Kind.TEXT, "Study Instance UID", example="1.2.840.113619.2.5.1"),
        ViewColumn(
            "accession_number", Kind.TEXT, "Accession Number (0008,0050) of the study; empty: none", example="A12345"
        ),
        ViewColumn("series_uid", Kind.TEXT, "Series Instance UID (0020,000E)", example="1.2.840.113619.2.5.2"),
        ViewColumn("sop_uid", Kind.TEXT, "SOP Instance UID (0008,0018)", example="1.2.840.113619.2.5.3"),
        ViewColumn(
            "image_sha256",
            Kind.TEXT,
            "SHA-256 of the object as received, without preamble and group 2",
            example="9f86d081...",
        ),
        ViewColumn("image_is_current", Kind.BOOLEAN, "whether this version of the image counts", example="true"),
        ViewColumn("outcome", Kind.TEXT, "OK, NOT_APPLICABLE, BAD_INPUT or FAILED", example="OK"),
        ViewColumn(
            "reason",
            Kind.TEXT,
            "why the image was not judged, as a reason code",
            null="it was judged",
            example="LATERAL_VIEW",
        ),
        ViewColumn("flags", Kind.CODES_TEXT, "codes of what it was judged in spite of", example='["AGE_UNKNOWN"]'),
        ViewColumn(
            "label", Kind.TEXT, "NORMAL or PNEUMONIA, of this image", null="it was not judged", example="NORMAL"
        ),
        ViewColumn("probability", Kind.REAL, "of pneumonia", unit="0 to 1", null="it was not judged", example="0.12"),
        ViewColumn(
            "logit", Kind.REAL, "the network's output before the sigmoid", null="it was not judged", example="-1.99"
        ),
        ViewColumn(
            "threshold",
            Kind.REAL,
            "the label is PNEUMONIA from this probability on",
            unit="0 to 1",
            null="it was not judged",
            example="0.5",
        ),
        ViewColumn("model_name", Kind.TEXT, "name of the bundle", example="notebook"),
        ViewColumn("model_version", Kind.TEXT, "version of the bundle", example="2.1"),
        ViewColumn("engine", Kind.TEXT, "litert or keras", null="the network was not computed", example="litert"),
        ViewColumn(
            "film_sha256", Kind.TEXT, "SHA-256 of the film's pixels", null="no film was made", example="60303ae2..."
        ),
        ViewColumn(
            "film_version",
            Kind.INTEGER,
            "version of the method that made the film",
            null="no film was made",
            example="4",
        ),
        ViewColumn("attempts", Kind.INTEGER, "number of attempts", unit="attempts", example="1"),
        ViewColumn(
            "batch_id", Kind.BIGINT, "the re-run or shadow", null="the first result of a received image", example="3"
        ),
        ViewColumn("batch_who", Kind.TEXT, "who ordered that", null="it belongs to none", example="ada"),
        ViewColumn("batch_why", Kind.TEXT, "why", null="it belongs to none", example="new model"),
        ViewColumn("is_current", Kind.BOOLEAN, "whether this is the current result of its image", example="true"),
        ViewColumn(
            "supersedes_result_id",
            Kind.BIGINT,
            "the result that it replaced as the current one",
            null="it replaced none",
            example="640",
        ),
        ViewColumn(
            "previous_result_id",
            Kind.BIGINT,
            "the result that was current when this one was written",
            null="there was none",
            example="640",
        ),
        ViewColumn("previous_outcome", Kind.TEXT, "outcome of that one", null="there was none", example="OK"),
        ViewColumn(
            "previous_label",
            Kind.TEXT,
            "label of that one",
            null="there was none, or it was not judged",
            example="NORMAL",
        ),
        ViewColumn(
            "previous_probability",
            Kind.REAL,
            "probability of that one",
            unit="0 to 1",
            null="there was none, or it was not judged",
            example="0.31",
        ),
        ViewColumn(
            "previous_model_name",
            Kind.TEXT,
            "name of the bundle of that one",
            null="there was none",
            example="notebook",
        ),
        ViewColumn(
            "previous_model_version", Kind.TEXT, "version of the bundle of that one", null="there was none", example="1"
        ),
        ViewColumn(
            "decode_ms",
            Kind.REAL,
            "time to load or make the film",
            unit="milliseconds",
            null="no film was made",
            example="41.5",
        ),
        ViewColumn(
            "inference_ms",
            Kind.REAL,
            "time in the network",
            unit="milliseconds",
            null="the network was not computed",
            example="6.1",
        ),
        ViewColumn("created_at", Kind.MOMENT, "when it was written", unit="UTC", example="2026-01-02 10:01:05+00"),
        ViewColumn(
            "band",
            Kind.TEXT,
            "LOW, INTERMEDIATE or HIGH",
            null="it was not judged, or the model has no bands",
            example="LOW",
        ),
        ViewColumn(
            "unlikeness",
            Kind.REAL,
            "distance from the training films; a film above 1 is refused",
            unit="1: the limit",
            null="the model cannot tell, or the film was refused before",
            example="0.4",
        ),
        ViewColumn(
            "decoder",
            Kind.TEXT,
            "the library that decoded the pixel data",
            null="no film was made, or an older release made it",
            example="OpenJPEG",
        ),
        ViewColumn(
            "is_in_doubt",
            Kind.BOOLEAN,
            "whether its model was suspended at that time and the result was not released; scripts that take answers from this view should leave such results out",
            example="false",
        ),
        ViewColumn(
            "taken_from_result_id",
            Kind.BIGINT,
            "the result that it repeats: the film came again with another header and the same pixels, and was not judged again",
            null="it was judged",
            example="640",
        ),
        ViewColumn("side", Kind.INTEGER, "which patient of this study UID, as in `worklist`", example="0"),
        ViewColumn("manufacturer", Kind.TEXT, "Manufacturer (0008,0070); empty: not said", example="ACME"),
        ViewColumn(
            "device_model", Kind.TEXT, "Manufacturer's Model Name (0008,1090); empty: not said", example="DR 500"
        ),
        ViewColumn("station_name", Kind.TEXT, "Station Name (0008,1010); empty: not said", example="ROOM1"),
        ViewColumn("institution", Kind.TEXT, "Institution Name (0008,0080); empty: not said", example="CITY HOSPITAL"),
        ViewColumn("calling_aet", Kind.TEXT, "AE title of the sender; empty: it was ingested", example="PACS1"),
    ),
)

SHADOW_COMPARISON = View(
    "shadow_comparison",
    "One row for each film that a shadow scored, beside the answer of the active model",
    (
        ViewColumn("batch_id", Kind.BIGINT, "number of the shadow", example="4"),
        ViewColumn("study_uid", Kind.TEXT, "Study Instance UID", example="1.2.840.113619.2.5.1"),
        ViewColumn("sop_uid", Kind.TEXT, "SOP Instance UID", example="1.2.840.113619.2.5.3"),
        ViewColumn(
            "active_model_name", Kind.TEXT, "name of the model that was active when the film came", example="notebook"
        ),
        ViewColumn(
            "active_model_version", Kind.TEXT, "version of the model that was active when the film came", example="2"
        ),
        ViewColumn(
            "active_outcome", Kind.TEXT, "outcome by the model that was active when the film came", example="OK"
        ),
        ViewColumn(
            "active_reason",
            Kind.TEXT,
            "why the model that was active when the film came did not judge it",
            null="it did",
            example="LATERAL_VIEW",
        ),
        ViewColumn(
            "active_label",
            Kind.TEXT,
            "label by the model that was active when the film came",
            null="it did not judge the film",
            example="NORMAL",
        ),
        ViewColumn(
            "active_probability",
            Kind.REAL,
            "probability by the model that was active when the film came",
            unit="0 to 1",
            null="it did not judge the film",
            example="0.12",
        ),
        ViewColumn(
            "active_band",
            Kind.TEXT,
            "band by the model that was active when the film came",
            null="it did not judge the film, or has no bands",
            example="LOW",
        ),
        ViewColumn(
            "active_unlikeness",
            Kind.REAL,
            "distance from the training films of the model that was active when the film came",
            unit="1: the limit",
            null="the model cannot tell",
            example="0.4",
        ),
        ViewColumn("shadow_model_name", Kind.TEXT, "name of the shadow", example="notebook"),
        ViewColumn("shadow_model_version", Kind.TEXT, "version of the shadow", example="2"),
        ViewColumn("shadow_outcome", Kind.TEXT, "outcome by the shadow", example="OK"),
        ViewColumn(
            "shadow_reason", Kind.TEXT, "why the shadow did not judge it", null="it did", example="LATERAL_VIEW"
        ),
        ViewColumn(
            "shadow_label", Kind.TEXT, "label by the shadow", null="it did not judge the film", example="NORMAL"
        ),
        ViewColumn(
            "shadow_probability",
            Kind.REAL,
            "probability by the shadow",
            unit="0 to 1",
            null="it did not judge the film",
            example="0.12",
        ),
        ViewColumn(
            "shadow_band",
            Kind.TEXT,
            "band by the shadow",
            null="it did not judge the film, or has no bands",
            example="LOW",
        ),
        ViewColumn(
            "shadow_unlikeness",
            Kind.REAL,
            "distance from the training films of the shadow",
            unit="1: the limit",
            null="the model cannot tell",
            example="0.4",
        ),
        ViewColumn(
            "disagrees",
            Kind.BOOLEAN,
            "whether the labels differ",
            null="one of the models did not judge the film",
            example="true",
        ),
        ViewColumn(
            "difference",
            Kind.REAL,
            "probability of the shadow minus that of the active model",
            unit="-1 to 1",
            null="one of the models did not judge the film",
            example="0.2",
        ),
        ViewColumn("created_at", Kind.MOMENT, "when the shadow answered", unit="UTC", example="2026-01-02 10:01:05+00"),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
    ),
)
