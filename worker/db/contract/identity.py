"""Contradictions, withdrawn films and corrected values."""

from __future__ import annotations

from worker.db.contract.column import Kind, View, ViewColumn

CONFLICTS = View(
    "conflicts",
    "One row for each pair of studies that contradict each other about a patient or an object",
    (
        ViewColumn("conflict_id", Kind.BIGINT, "number; below 0 for rejection notes", example="5"),
        ViewColumn(
            "kind",
            Kind.TEXT,
            "PATIENT, SOP_INSTANCE, or REJECTION_NOTE: a rejection note that was not followed, which leaves no study in doubt",
            example="PATIENT",
        ),
        ViewColumn("opened_at", Kind.MOMENT, "when it was found", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn(
            "closed_at", Kind.MOMENT, "when it ended", unit="UTC", null="it is open", example="2026-01-02 12:00:00+00"
        ),
        ViewColumn(
            "resolution",
            Kind.TEXT,
            "how it ended: WITHDRAWN, HELD, CLAIM, BOTH, SAME or REVOKED",
            null="it is open",
            example="SAME",
        ),
        ViewColumn("who", Kind.TEXT, "who or what ended it", null="it is open", example="ada"),
        ViewColumn(
            "why", Kind.TEXT, "why; of a rejection note the code of the reason", null="it is open", example="same child"
        ),
        ViewColumn(
            "sop_uid",
            Kind.TEXT,
            "the object, where the conflict is about one; empty: it is about none",
            example="1.2.840.113619.2.5.3",
        ),
        ViewColumn(
            "held_study_uid",
            Kind.TEXT,
            "the study that was there first",
            null="no film contradicts the note",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn(
            "held_side",
            Kind.INTEGER,
            "which patient of that study UID",
            null="no film contradicts the note",
            example="0",
        ),
        ViewColumn("held_patient_id", Kind.TEXT, "its Patient ID", null="no film contradicts the note", example="4711"),
        ViewColumn(
            "held_issuer_of_patient_id",
            Kind.TEXT,
            "its Issuer of Patient ID",
            null="no film contradicts the note",
            example="CITY",
        ),
        ViewColumn(
            "held_accession_number",
            Kind.TEXT,
            "its Accession Number",
            null="no film contradicts the note",
            example="A12345",
        ),
        ViewColumn(
            "held_ai_status", Kind.TEXT, "its ai_status", null="no film contradicts the note", example="WITHHELD"
        ),
        ViewColumn("held_label", Kind.TEXT, "its label", null="it has none", example="PNEUMONIA"),
        ViewColumn(
            "held_probability", Kind.REAL, "its probability", unit="0 to 1", null="it has no label", example="0.91"
        ),
        ViewColumn("claim_study_uid", Kind.TEXT, "the study that contradicts it", example="1.2.840.113619.2.5.9"),
        ViewColumn("claim_side", Kind.INTEGER, "which patient of that study UID", example="1"),
        ViewColumn("claim_patient_id", Kind.TEXT, "its Patient ID", example="4712"),
        ViewColumn("claim_issuer_of_patient_id", Kind.TEXT, "its Issuer of Patient ID", example="CITY"),
        ViewColumn("claim_accession_number", Kind.TEXT, "its Accession Number", example="A12346"),
        ViewColumn("claim_ai_status", Kind.TEXT, "its ai_status", example="WITHHELD"),
        ViewColumn("claim_label", Kind.TEXT, "its label", null="it has none", example="PNEUMONIA"),
        ViewColumn(
            "claim_probability", Kind.REAL, "its probability", unit="0 to 1", null="it has no label", example="0.7"
        ),
        ViewColumn(
            "claim_calling_aet",
            Kind.TEXT,
            "AE title of the sender of the contradiction; empty: it was ingested",
            null="the object has gone to another row",
            example="PACS1",
        ),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
        ViewColumn("note_id", Kind.BIGINT, "the rejection note", null="the other kinds", example="8"),
    ),
)

WITHDRAWALS = View(
    "withdrawals",
    "One row for each object that a rejection note names and each film on record with its SOP Instance UID",
    (
        ViewColumn("note_id", Kind.BIGINT, "number of the rejection note", example="8"),
        ViewColumn("note_sop_uid", Kind.TEXT, "SOP Instance UID of the note", example="1.2.840.113619.2.5.8"),
        ViewColumn("title", Kind.TEXT, "code of its title", example="113001"),
        ViewColumn(
            "effect",
            Kind.TEXT,
            "what it does: WITHDRAWS, KEEPS_PNEUMONIA, EXPIRES, RESTORES or NONE",
            example="WITHDRAWS",
        ),
        ViewColumn(
            "state",
            Kind.TEXT,
            "APPLIED, PENDING (the film has not come yet), CONFLICT, RESTORED, REVOKED or EXPIRED",
            example="APPLIED",
        ),
        ViewColumn(
            "reason",
            Kind.TEXT,
            "why it was not followed, such as SOURCE_NOT_LISTED or PATIENT_DIFFERS",
            null="it was followed, or still may be",
            example="PATIENT_DIFFERS",
        ),
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "study of the object that the note names",
            null="the note names no object",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn(
            "sop_uid",
            Kind.TEXT,
            "the object that the note names",
            null="the note names no object",
            example="1.2.840.113619.2.5.3",
        ),
        ViewColumn("side", Kind.INTEGER, "row of the film", null="the film is not there", example="0"),
        ViewColumn(
            "accession_number",
            Kind.TEXT,
            "Accession Number of the film's study",
            null="the film is not there",
            example="A12345",
        ),
        ViewColumn(
            "patient_id", Kind.TEXT, "Patient ID of the film's study", null="the film is not there", example="4711"
        ),
        ViewColumn(
            "ai_status",
            Kind.TEXT,
            "ai_status of the film's study now",
            null="the film is not there",
            example="WITHHELD",
        ),
        ViewColumn("label", Kind.TEXT, "label of the film's study now", null="it has none", example="PNEUMONIA"),
        ViewColumn("source", Kind.TEXT, "AE title of the sender of the note; empty: it was ingested", example="PACS1"),
        ViewColumn("peer", Kind.TEXT, "address of the sender", example="10.0.0.1"),
        ViewColumn("received_at", Kind.MOMENT, "when the note came", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn(
            "accepted_by",
            Kind.TEXT,
            "who vouches for a note whose sender is not listed",
            null="nobody had to",
            example="ada",
        ),
        ViewColumn("accepted_why", Kind.TEXT, "why", null="nobody had to", example="phone call"),
        ViewColumn(
            "revoked_at",
            Kind.MOMENT,
            "when it was revoked by command",
            unit="UTC",
            null="it was not",
            example="2026-01-02 12:00:00+00",
        ),
        ViewColumn("revoked_by", Kind.TEXT, "who revoked it", null="it was not", example="ada"),
        ViewColumn("revoked_why", Kind.TEXT, "why", null="it was not", example="wrong film"),
        ViewColumn(
            "notice",
            Kind.TEXT,
            "that Auscult is not a medical device",
            example="Not a medical device. Not for diagnosis.",
        ),
        ViewColumn(
            "certificate",
            Kind.TEXT,
            "SHA-256 of the TLS certificate that its sender showed; empty: without TLS",
            example="9f86d081...",
        ),
    ),
)

CORRECTIONS = View(
    "corrections",
    "One row for each value that a source has replaced, and for each patient merge; it shows names",
    (
        ViewColumn("correction_id", Kind.BIGINT, "number, which only grows; below 0 for merges", example="31"),
        ViewColumn("at", Kind.MOMENT, "when it was registered", unit="UTC", example="2026-01-02 10:00:00+00"),
        ViewColumn(
            "study_uid",
            Kind.TEXT,
            "the study as it is now",
            null="a merge belongs to no single study",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn(
            "side",
            Kind.INTEGER,
            "which patient of that study UID",
            null="a merge belongs to no single study",
            example="0",
        ),
        ViewColumn(
            "accession_number",
            Kind.TEXT,
            "its Accession Number",
            null="a merge belongs to no single study",
            example="A12345",
        ),
        ViewColumn(
            "column_name",
            Kind.TEXT,
            "the column that changed; `film` for a film that went to another row",
            example="patient_name",
        ),
        ViewColumn("old_value", Kind.TEXT, "before; empty: there was none", example="DOE^JAN"),
        ViewColumn("new_value", Kind.TEXT, "after; empty: there is none", example="DOE^JANE"),
        ViewColumn(
            "source",
            Kind.TEXT,
            "AE title of the sender; empty: ingested files",
            null="a merge has none",
            example="PACS1",
        ),
        ViewColumn(
            "sop_uid",
            Kind.TEXT,
            "the object that brought it",
            null="a merge, or the object is gone",
            example="1.2.840.113619.2.5.3",
        ),
        ViewColumn(
            "merged_into_study_uid",
            Kind.TEXT,
            "the row that took its films over",
            null="there is none",
            example="1.2.840.113619.2.5.1",
        ),
        ViewColumn(
            "merged_into_side", Kind.INTEGER, "which patient of that study UID", null="there is none", example="0"
        ),
        ViewColumn("kind", Kind.TEXT, "VALUE; PATIENT_MERGE, PATIENT_RENAME or PATIENT_UNMERGE", example="VALUE"),
        ViewColumn("old_issuer", Kind.TEXT, "issuer of the old ID", null="not a merge", example="CITY"),
        ViewColumn("new_issuer", Kind.TEXT, "issuer of the new ID", null="not a merge", example="CITY"),
        ViewColumn("who", Kind.TEXT, "who merged, renamed or unmerged", null="not a merge", example="ada"),
        ViewColumn("why", Kind.TEXT, "why", null="not a merge", example="ADT A40"),
    ),
)
