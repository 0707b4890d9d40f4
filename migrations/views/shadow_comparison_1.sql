-- One row a film that a shadow model was given: its answer beside the one that the active model gave when the film came.
-- Only films that both answered agree or disagree; refused by either, `disagrees` and `difference` are NULL.
CREATE VIEW shadow_comparison AS
SELECT
    batch.id AS batch_id,
    study.study_uid,
    image.sop_uid,
    active_model.name AS active_model_name,
    active_model.version AS active_model_version,
    active.outcome AS active_outcome,
    active.reason_code AS active_reason,
    active.label AS active_label,
    active.probability AS active_probability,
    active.band AS active_band,
    active.unlikeness AS active_unlikeness,
    shadow_model.name AS shadow_model_name,
    shadow_model.version AS shadow_model_version,
    shadow.outcome AS shadow_outcome,
    shadow.reason_code AS shadow_reason,
    shadow.label AS shadow_label,
    shadow.probability AS shadow_probability,
    shadow.band AS shadow_band,
    shadow.unlikeness AS shadow_unlikeness,
    active.label <> shadow.label AS disagrees,
    shadow.probability - active.probability AS difference,
    shadow.created_at,
    'Not a medical device. Not for diagnosis.' AS notice
FROM batch
JOIN result AS shadow ON shadow.batch_id = batch.id
JOIN model AS shadow_model ON shadow_model.id = shadow.model_id
JOIN image ON image.id = shadow.image_id
JOIN study ON study.id = image.study_id
LEFT JOIN result AS active ON active.image_id = image.id AND active.batch_id IS NULL
LEFT JOIN model AS active_model ON active_model.id = active.model_id
WHERE batch.kind = 'SHADOW'
