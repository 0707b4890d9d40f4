-- What each destination was told about each study, and how far that is: one row for each answer, or withdrawal of one, and
-- destination. A worklist joins it by study_uid and side.
CREATE VIEW deliveries AS
SELECT
    delivery.id AS delivery_id,
    study.study_uid,
    study.side,
    destination.name AS destination,
    destination.kind,
    delivery.number,
    delivery.action,
    delivery.state,
    delivery.reason,
    delivery.attempts,
    CASE
        WHEN delivery.finished_at IS NOT NULL THEN NULL
        WHEN delivery.not_before_ms > {now_ms} THEN (delivery.not_before_ms - {now_ms}) / 1000
        ELSE 0
    END AS next_try_s,
    delivery.report_uid,
    delivery.created_at,
    delivery.delivered_at,
    delivery.finished_at,
    NOT EXISTS (
        SELECT 1
        FROM delivery AS later
        WHERE
            later.destination_id = delivery.destination_id
            AND later.study_id = delivery.study_id
            AND later.number > delivery.number
    ) AS is_last
FROM delivery
JOIN destination ON destination.id = delivery.destination_id
JOIN study ON study.id = delivery.study_id
