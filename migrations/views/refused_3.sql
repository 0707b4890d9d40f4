-- What was turned away: at the door by the listener, or by the gate that keeps films from the model.
CREATE VIEW refused AS
SELECT
    'door' AS source,
    refusal.at,
    refusal.kind,
    refusal.reason_code AS reason,
    refusal.study_uid,
    refusal.sop_uid,
    refusal.calling_aet,
    refusal.called_aet,
    refusal.peer,
    refusal.times
FROM refusal
UNION ALL
SELECT
    'gate',
    result.created_at,
    'image',
    result.reason_code,
    study.study_uid,
    image.sop_uid,
    image.calling_aet,
    '',
    -- As the listener writes it into (0002,0026).
    replace(image.peer, 'dicom://', ''),
    1
FROM result
JOIN image ON image.id = result.image_id
JOIN study ON study.id = image.study_id
WHERE result.is_current AND image.is_current AND result.outcome IN ('NOT_APPLICABLE', 'BAD_INPUT')
