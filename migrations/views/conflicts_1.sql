-- Two studies that contradict each other about a patient or an object, both sides in one row. While a conflict is open
-- neither side says NORMAL.
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
    'Not a medical device. Not for diagnosis.' AS notice
FROM conflict
JOIN study AS held ON held.id = conflict.held_study_id
JOIN study AS claim ON claim.id = conflict.claim_study_id
