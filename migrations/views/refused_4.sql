-- What was turned away: at the door by the listener, or by the gate that keeps films from the model.
-- Both databases merge the two from their indexes, so that the newest are found without reading the others. PostgreSQL does so
-- with equal types on both sides and the order of the joined one, SQLite where none has an order of its own, and with the condition
-- of the index, which the other one implies.
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
{in_order}
    SELECT
        'gate' AS source,
        result.created_at AS at,
        CAST('image' AS VARCHAR(16)) AS kind,
        result.reason_code AS reason,
        study.study_uid,
        image.sop_uid,
        image.calling_aet,
        CAST('' AS VARCHAR(64)) AS called_aet,
        -- As the listener writes it into (0002,0026).
        CAST(replace(image.peer, 'dicom://', '') AS VARCHAR(64)) AS peer,
        CAST(1 AS INTEGER) AS times
    FROM result
    JOIN image ON image.id = result.image_id
    JOIN study ON study.id = image.study_id
    WHERE
        result.outcome <> 'OK'
        AND result.outcome IN ('NOT_APPLICABLE', 'BAD_INPUT')
        AND result.is_current
        AND image.is_current
{order_end result.created_at DESC}
