CREATE VIEW audit AS
SELECT
    event.id AS event_id,
    event.at,
    event.act,
    event.event_code,
    event.event_type_code,
    event.action,
    event.outcome,
    event.who,
    event.origin AS from_where,
    event.study_uid,
    event.side,
    -- The trail holds no patient data: what the study says today, nothing once it is erased.
    COALESCE(study.patient_id, '') AS patient_id,
    COALESCE(study.issuer_of_patient_id, '') AS issuer_of_patient_id,
    event.patient_key,
    event.sop_uid,
    event.detail
FROM audit_event AS event
LEFT JOIN study ON event.study_uid <> '' AND study.study_uid = event.study_uid AND study.side = event.side
