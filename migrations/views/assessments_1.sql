-- What people who read studies said of the answers, each with the answer as it stood then. INSERT adds one: study_uid and
-- reader at least, with verdict, label or neither, which says that the study was read.
CREATE VIEW assessments AS
SELECT
    assessment.id AS assessment_id,
    assessment.at,
    study.study_uid,
    study.side,
    study.accession_number,
    assessment.reader,
    assessment.verdict,
    assessment.label,
    assessment.blinded,
    assessment.airai_code,
    NOT EXISTS (
        SELECT 1
        FROM assessment AS later
        WHERE
            later.study_id = assessment.study_id
            AND later.id > assessment.id
            AND later.revision = assessment.revision
            AND COALESCE(later.model_id, 0) = COALESCE(assessment.model_id, 0)
    ) AS is_latest,
    assessment.revision,
    assessment.answer_state,
    assessment.answer_label,
    assessment.probability,
    assessment.threshold,
    assessment.band,
    model.name AS model_name,
    model.version AS model_version,
    film.manufacturer,
    film.device_model,
    film.station_name,
    film.institution,
    'Not a medical device. Not for diagnosis.' AS notice
FROM assessment
JOIN study ON study.id = assessment.study_id
LEFT JOIN model ON model.id = assessment.model_id
LEFT JOIN image AS film ON film.id = (
    SELECT image.id
    FROM image
    WHERE image.study_id = study.id AND image.is_current
    ORDER BY image.has_pixel_data DESC, image.id
    LIMIT 1
)
