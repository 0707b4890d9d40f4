-- One row a study: what the radiology worklist shows. A missing, refused, failed or unfinished answer has no label.
CREATE VIEW worklist AS
SELECT
    study.study_uid,
    study.accession_number,
    study.patient_id,
    study.study_date,
    study.state AS ai_status,
    study.label,
    study.probability,
    study.threshold,
    study.reason,
    study.flags,
    model.name AS model_name,
    model.version AS model_version,
    study.revision,
    study.n_images,
    study.n_scored,
    study.first_rx_at AS received_at,
    study.finished_at,
    CASE WHEN study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') THEN {seconds_since study.revision_at} END AS waiting_s,
    row_number() OVER (
        ORDER BY
            CASE WHEN study.label = 'PNEUMONIA' THEN 0 ELSE 1 END,
            CASE WHEN study.label = 'PNEUMONIA' THEN study.probability ELSE 0 END DESC,
            study.first_rx_at,
            study.id
    ) AS priority_rank,
    'Not a medical device. Not for diagnosis.' AS notice,
    study.band
FROM study
LEFT JOIN model ON model.id = study.model_id
