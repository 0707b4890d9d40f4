-- What is still held of each received object, since when not, and until when storage commitment keeps its original.
CREATE VIEW retention AS
SELECT
    study.study_uid,
    study.side,
    image.series_uid,
    image.sop_uid,
    image.sha256 AS image_sha256,
    image.is_current AS image_is_current,
    image.received_at,
    CASE WHEN image.original_purged_at IS NULL THEN 'HELD' ELSE 'PURGED' END AS original,
    image.original_purged_at,
    CASE WHEN image.film_purged_at IS NOT NULL THEN 'PURGED' WHEN image.film_key IS NULL THEN 'NONE' ELSE 'HELD' END AS film,
    image.film_purged_at,
    (SELECT max(commitment.until) FROM commitment WHERE commitment.image_id = image.id) AS committed_until
FROM image
JOIN study ON study.id = image.study_id
