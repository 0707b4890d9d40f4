-- One row for each film that counts in its study, with its current result: which film of a study failed, and what each device
-- sends. A film without an outcome is still to be judged.
CREATE VIEW films AS
SELECT
    study.study_uid,
    study.side,
    study.accession_number,
    image.series_uid,
    image.sop_uid,
    result.outcome,
    result.reason_code AS reason,
    result.label,
    result.probability,
    result.threshold,
    result.band,
    {codes result.flags} AS flags,
    model.name AS model_name,
    model.version AS model_version,
    image.manufacturer,
    image.device_model,
    image.station_name,
    image.institution,
    image.calling_aet,
    image.received_at,
    result.created_at AS judged_at,
    result.id AS result_id,
    'Not a medical device. Not for diagnosis.' AS notice
FROM image
JOIN study ON study.id = image.study_id
LEFT JOIN result ON result.image_id = image.id AND result.is_current
LEFT JOIN model ON model.id = result.model_id
WHERE image.is_current AND study.merged_into_id IS NULL
