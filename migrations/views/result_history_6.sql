-- Every result ever, with what was current when it was written: "why did this flip?" is one query. A result in doubt is
-- one of a suspended model, or was given in a suspension that ended without releasing it. taken_from_result_id: the film
-- came again with another header and the same pixels, and the result of that version was taken over without judging it.
CREATE VIEW result_history AS
SELECT
    result.id AS result_id,
    study.study_uid,
    study.accession_number,
    image.series_uid,
    image.sop_uid,
    image.sha256 AS image_sha256,
    image.is_current AS image_is_current,
    result.outcome,
    result.reason_code AS reason,
    result.flags,
    result.label,
    result.probability,
    result.logit,
    result.threshold,
    model.name AS model_name,
    model.version AS model_version,
    result.engine,
    result.film_sha256,
    result.film_version,
    task.attempts,
    result.batch_id,
    batch.who AS batch_who,
    batch.why AS batch_why,
    result.is_current,
    result.supersedes_id AS supersedes_result_id,
    result.compared_id AS previous_result_id,
    previous.outcome AS previous_outcome,
    previous.label AS previous_label,
    previous.probability AS previous_probability,
    previous_model.name AS previous_model_name,
    previous_model.version AS previous_model_version,
    result.decode_ms,
    result.inference_ms,
    result.created_at,
    result.band,
    result.unlikeness,
    result.decoder,
    (result.probability IS NOT NULL OR result.unlikeness IS NOT NULL) AND EXISTS (
        SELECT 1
        FROM suspension
        WHERE suspension.model_id = result.model_id
            AND suspension.first_result_id <= result.id
            AND (suspension.last_task_id IS NULL OR suspension.last_task_id >= result.task_id)
    ) AS is_in_doubt,
    result.taken_from_id AS taken_from_result_id,
    study.side,
    image.manufacturer,
    image.device_model,
    image.station_name,
    image.institution,
    image.calling_aet
FROM result
JOIN task ON task.id = result.task_id
JOIN image ON image.id = result.image_id
JOIN study ON study.id = image.study_id
JOIN model ON model.id = result.model_id
LEFT JOIN batch ON batch.id = result.batch_id
LEFT JOIN result AS previous ON previous.id = result.compared_id
LEFT JOIN model AS previous_model ON previous_model.id = previous.model_id
