-- What the hospital has taken back: one row for each object that a rejection note (IHE RAD IOCM) names and each image on
-- record with its SOP Instance UID; `state` says what became of it. A note without objects that can be read has one row.
CREATE VIEW withdrawals AS
SELECT
    note.id AS note_id,
    document.sop_uid AS note_sop_uid,
    note.title,
    note.effect,
    CASE
        WHEN note.verdict <> 'APPLIED' THEN 'CONFLICT'
        WHEN note.revoked_at IS NOT NULL THEN 'REVOKED'
        WHEN EXISTS (
            SELECT 1
            FROM withdrawal AS met2
            JOIN rejected_object AS named2 ON named2.id = met2.rejected_object_id
            JOIN rejection_note AS note2 ON note2.id = named2.note_id
            WHERE
                met2.image_id = note.image_id
                AND met2.verdict = 'APPLIED'
                AND note2.verdict = 'APPLIED'
                AND note2.revoked_at IS NULL
                AND note2.effect IN ('WITHDRAWS', 'KEEPS_PNEUMONIA')
        ) THEN 'REVOKED'
        WHEN met.id IS NULL AND note.until_ms < {now_ms} THEN 'EXPIRED'
        WHEN met.id IS NULL THEN 'PENDING'
        WHEN met.verdict = 'TOO_LATE' THEN 'EXPIRED'
        WHEN met.verdict IN ('PATIENT_DIFFERS', 'STUDY_DIFFERS', 'SERIES_DIFFERS', 'CLASS_DIFFERS') THEN 'CONFLICT'
        WHEN met.verdict = 'RESTORED' THEN 'RESTORED'
        WHEN EXISTS (
            SELECT 1
            FROM withdrawal AS met3
            JOIN rejected_object AS named3 ON named3.id = met3.rejected_object_id
            JOIN rejection_note AS note3 ON note3.id = named3.note_id
            WHERE
                met3.image_id = met.image_id
                AND met3.verdict = 'APPLIED'
                AND note3.verdict = 'APPLIED'
                AND note3.revoked_at IS NULL
                AND note3.effect = 'RESTORES'
                AND note3.at_ms > note.at_ms
        ) THEN 'RESTORED'
        ELSE 'APPLIED'
    END AS state,
    CASE
        WHEN note.verdict <> 'APPLIED' THEN note.verdict
        WHEN met.verdict <> 'APPLIED' THEN met.verdict
    END AS reason,
    COALESCE(named.study_uid, note.study_uid) AS study_uid,
    named.sop_uid,
    study.side,
    study.accession_number,
    study.patient_id,
    study.state AS ai_status,
    study.label,
    note.source,
    note.peer,
    note.received_at,
    note.accepted_by,
    note.accepted_why,
    note.revoked_at,
    note.revoked_by,
    note.revoked_why,
    'Not a medical device. Not for diagnosis.' AS notice,
    note.certificate
FROM rejection_note AS note
JOIN image AS document ON document.id = note.image_id
LEFT JOIN rejected_object AS named ON named.note_id = note.id
LEFT JOIN withdrawal AS met ON met.rejected_object_id = named.id
LEFT JOIN image AS film ON film.id = met.image_id
LEFT JOIN study ON study.id = film.study_id
