-- Every study and patient that an event names: one row for the event's own, and one for each of those of an act on several.
CREATE VIEW audit_objects AS
SELECT
    named.event_id,
    event.at,
    event.act,
    event.who,
    named.study_uid,
    named.side,
    -- The trail holds no patient data: what the study says today, nothing once it is erased.
    COALESCE(study.patient_id, '') AS patient_id,
    COALESCE(study.issuer_of_patient_id, '') AS issuer_of_patient_id,
    named.patient_key
FROM (
    SELECT own.id AS event_id, own.study_uid, own.side, own.patient_key
    FROM audit_event AS own
    WHERE own.study_uid <> '' OR own.patient_key <> ''
    UNION ALL
    SELECT object.event_id, object.study_uid, object.side, object.patient_key
    FROM audit_object AS object
) AS named
INNER JOIN audit_event AS event ON event.id = named.event_id
LEFT JOIN study ON named.study_uid <> '' AND study.study_uid = named.study_uid AND study.side = named.side
