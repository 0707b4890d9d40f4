-- Every value of a study that its source has replaced, old and new; kind VALUE. Each patient merge, change of identifier
-- and end of one is a row, too (PATIENT_MERGE, PATIENT_RENAME, PATIENT_UNMERGE): it belongs to no single study, and its
-- number is below 0.
CREATE VIEW corrections AS
SELECT
    correction.id AS correction_id,
    correction.at,
    study.study_uid,
    study.side,
    study.accession_number,
    correction.column_name,
    correction.old_value,
    correction.new_value,
    correction.source,
    image.sop_uid,
    merged.study_uid AS merged_into_study_uid,
    merged.side AS merged_into_side,
    'VALUE' AS kind,
    CAST(NULL AS VARCHAR(64)) AS old_issuer,
    CAST(NULL AS VARCHAR(64)) AS new_issuer,
    CAST(NULL AS VARCHAR(128)) AS who,
    CAST(NULL AS TEXT) AS why
FROM correction
JOIN study ON study.id = correction.study_id
LEFT JOIN image ON image.id = correction.image_id
LEFT JOIN study AS merged ON merged.id = study.merged_into_id
UNION ALL
SELECT
    -2 * act.id AS correction_id,
    act.at,
    NULL AS study_uid,
    NULL AS side,
    NULL AS accession_number,
    'patient_id' AS column_name,
    act.old_patient_id AS old_value,
    act.new_patient_id AS new_value,
    '' AS source,
    NULL AS sop_uid,
    NULL AS merged_into_study_uid,
    NULL AS merged_into_side,
    CASE act.kind WHEN 'RENAME' THEN 'PATIENT_RENAME' ELSE 'PATIENT_MERGE' END AS kind,
    act.old_issuer,
    act.new_issuer,
    act.who,
    act.why
FROM patient_merge AS act
UNION ALL
SELECT
    -2 * act.id - 1 AS correction_id,
    act.ended_at AS at,
    NULL AS study_uid,
    NULL AS side,
    NULL AS accession_number,
    'patient_id' AS column_name,
    act.new_patient_id AS old_value,
    act.old_patient_id AS new_value,
    '' AS source,
    NULL AS sop_uid,
    NULL AS merged_into_study_uid,
    NULL AS merged_into_side,
    'PATIENT_UNMERGE' AS kind,
    act.new_issuer AS old_issuer,
    act.old_issuer AS new_issuer,
    act.ended_by AS who,
    act.ended_why AS why
FROM patient_merge AS act
WHERE act.ended_at IS NOT NULL
