-- Two studies that contradict each other about a patient or an object, both sides in one row. While a conflict is open
-- neither side says NORMAL. Kind REJECTION_NOTE: a rejection note that was not followed, which changes no answer; its
-- number is below 0 (that of the note without the sign), `why` is the code of the reason, `held` the study of the film
-- that contradicts it, if there is one, and `claim` the study that the note names.
CREATE VIEW conflicts AS
SELECT
    conflict.id AS conflict_id,
    conflict.kind,
    conflict.opened_at,
    conflict.closed_at,
    conflict.resolution,
    conflict.who,
    conflict.why,
    conflict.sop_uid,
    held.study_uid AS held_study_uid,
    held.side AS held_side,
    held.patient_id AS held_patient_id,
    held.issuer_of_patient_id AS held_issuer_of_patient_id,
    held.accession_number AS held_accession_number,
    held.state AS held_ai_status,
    held.label AS held_label,
    held.probability AS held_probability,
    claim.study_uid AS claim_study_uid,
    claim.side AS claim_side,
    claim.patient_id AS claim_patient_id,
    claim.issuer_of_patient_id AS claim_issuer_of_patient_id,
    claim.accession_number AS claim_accession_number,
    claim.state AS claim_ai_status,
    claim.label AS claim_label,
    claim.probability AS claim_probability,
    (
        SELECT max(image.calling_aet)
        FROM image
        WHERE
            image.study_id = conflict.claim_study_id
            AND (conflict.kind = 'PATIENT' OR image.sop_uid = conflict.sop_uid)
    ) AS claim_calling_aet,
    'Not a medical device. Not for diagnosis.' AS notice,
    CAST(NULL AS BIGINT) AS note_id
FROM conflict
JOIN study AS held ON held.id = conflict.held_study_id
JOIN study AS claim ON claim.id = conflict.claim_study_id
UNION ALL
SELECT
    -note.id AS conflict_id,
    'REJECTION_NOTE' AS kind,
    note.received_at AS opened_at,
    note.revoked_at AS closed_at,
    CASE WHEN note.revoked_at IS NOT NULL THEN 'REVOKED' END AS resolution,
    note.revoked_by AS who,
    CASE WHEN note.revoked_at IS NOT NULL THEN note.revoked_why ELSE COALESCE(met.verdict, note.verdict) END AS why,
    COALESCE(named.sop_uid, document.sop_uid) AS sop_uid,
    held.study_uid AS held_study_uid,
    held.side AS held_side,
    held.patient_id AS held_patient_id,
    held.issuer_of_patient_id AS held_issuer_of_patient_id,
    held.accession_number AS held_accession_number,
    held.state AS held_ai_status,
    held.label AS held_label,
    held.probability AS held_probability,
    note.study_uid AS claim_study_uid,
    claim.side AS claim_side,
    claim.patient_id AS claim_patient_id,
    claim.issuer_of_patient_id AS claim_issuer_of_patient_id,
    claim.accession_number AS claim_accession_number,
    claim.state AS claim_ai_status,
    claim.label AS claim_label,
    claim.probability AS claim_probability,
    note.source AS claim_calling_aet,
    'Not a medical device. Not for diagnosis.' AS notice,
    note.id AS note_id
FROM rejection_note AS note
JOIN image AS document ON document.id = note.image_id
JOIN study AS claim ON claim.id = document.study_id
LEFT JOIN withdrawal AS met ON met.id = (
    SELECT min(withdrawal.id)
    FROM withdrawal
    JOIN rejected_object ON rejected_object.id = withdrawal.rejected_object_id
    WHERE
        rejected_object.note_id = note.id
        AND withdrawal.verdict IN ('PATIENT_DIFFERS', 'STUDY_DIFFERS', 'SERIES_DIFFERS', 'CLASS_DIFFERS')
        AND NOT EXISTS (
            SELECT 1
            FROM withdrawal AS other
            WHERE
                other.rejected_object_id = withdrawal.rejected_object_id
                AND other.verdict IN ('APPLIED', 'RESTORED', 'TOO_LATE')
        )
)
LEFT JOIN rejected_object AS named ON named.id = met.rejected_object_id
LEFT JOIN image AS film ON film.id = met.image_id
LEFT JOIN study AS held ON held.id = film.study_id
WHERE note.verdict <> 'APPLIED' OR met.id IS NOT NULL
