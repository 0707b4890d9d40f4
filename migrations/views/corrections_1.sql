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
    merged.side AS merged_into_side
FROM correction
JOIN study ON study.id = correction.study_id
LEFT JOIN image ON image.id = correction.image_id
LEFT JOIN study AS merged ON merged.id = study.merged_into_id
