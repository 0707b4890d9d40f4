-- One row a study: what the radiology worklist shows, in version 3 of its contract. A missing, refused, failed, withheld or
-- unfinished answer has no label. Objects that name another patient under the same Study Instance UID have a row of their
-- own (side above 0). The rank orders rows and is not their number: a smaller one is read first. The columns of the device are
-- those of the study's first film; `films` has them for each. Rows are in the order of the moments at which they are due,
-- read ones after all others: that is their arrival and the time that the site's rules allow (table `priority_rule`).
CREATE VIEW worklist_v3 AS
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
    {codes study.flags} AS flags,
    model.name AS model_name,
    model.version AS model_version,
    study.revision,
    study.n_images,
    study.n_scored,
    study.first_rx_at AS received_at,
    study.finished_at,
    CASE WHEN study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') THEN {seconds_since study.revision_at} END AS waiting_s,
    study.priority_rank,
    'Not a medical device. Not for diagnosis.' AS notice,
    study.band,
    study.side,
    CASE
        WHEN study.n_expected IS NULL THEN 'ASSUMED'
        WHEN study.n_images < study.n_expected THEN 'SHORT'
        ELSE 'COUNTED'
    END AS completeness,
    study.n_expected,
    'PNEUMONIA' AS finding,
    CASE
        WHEN study.label IS NULL THEN NULL
        WHEN study.band = 'INTERMEDIATE' THEN 'INDETERMINATE'
        WHEN study.label = 'PNEUMONIA' THEN 'DETECTED'
        ELSE 'NOT_DETECTED'
    END AS finding_status,
    (
        SELECT count(*)
        FROM image
        JOIN result ON result.image_id = image.id AND result.is_current
        WHERE image.study_id = study.id AND image.is_current AND result.outcome IN ('FAILED', 'BAD_INPUT')
    ) AS n_failed,
    study.last_rx_at AS last_received_at,
    CASE WHEN study.finished_at IS NOT NULL THEN COALESCE(study.completed_at, study.finished_at) END AS completed_at,
    COALESCE(study.first_finished_at, study.finished_at) AS first_finished_at,
    COALESCE(study.updated_at, study.finished_at, study.last_rx_at) AS updated_at,
    {seconds study.first_rx_at to COALESCE(study.first_finished_at, study.finished_at)} AS turnaround_s,
    study.change_id,
    study.requested_priority,
    CASE WHEN study.label IS NOT NULL THEN (
        SELECT
            CASE
                WHEN max(CASE WHEN earlier.label = 'PNEUMONIA' THEN 1 ELSE 0 END) = 1 THEN 'PNEUMONIA'
                WHEN count(earlier.label) > 0 THEN 'NORMAL'
            END
        FROM image
        JOIN result AS earlier ON earlier.id = (
            SELECT max(result.id)
            FROM result
            WHERE
                result.image_id = image.id
                AND result.model_id <> study.model_id
                AND result.label IS NOT NULL
                AND EXISTS (SELECT 1 FROM result AS later WHERE later.supersedes_id = result.id)
        )
        WHERE image.study_id = study.id AND image.is_current
    ) END AS previous_label,
    study.read_at,
    study.reader_label,
    study.verdict,
    film.manufacturer,
    film.device_model,
    film.station_name,
    film.institution,
    film.calling_aet,
    CASE WHEN study.read_at IS NULL THEN '' ELSE 'read, ' END
    || CASE
        WHEN study.label = 'PNEUMONIA' AND study.band = 'HIGH' THEN 'PNEUMONIA of band HIGH'
        WHEN study.label = 'PNEUMONIA' THEN 'PNEUMONIA'
        WHEN study.state = 'FAILED' THEN 'failed'
        WHEN study.state = 'WITHHELD' OR replace(study.flags, 'IDENTITY_CONFLICT', '') <> study.flags THEN 'withheld or in conflict'
        WHEN study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') THEN 'unfinished'
        WHEN study.state = 'NOT_APPLICABLE' THEN 'not applicable'
        WHEN study.band = 'LOW' THEN 'NORMAL of band LOW'
        ELSE 'NORMAL'
    END
    || CASE
        WHEN study.priority < 0 AND study.requested_priority <> '' THEN ', ' || study.requested_priority
        WHEN study.priority < 0 THEN ', urgent'
        ELSE ''
    END
    || ': due ' || CAST((
        study.priority_rank - CASE WHEN study.read_at IS NULL THEN 0 ELSE 100000000000000 END - {ms_of study.first_rx_at}
    ) / 1000 AS VARCHAR)
    || ' s after it came' AS priority_reason
FROM study
LEFT JOIN model ON model.id = study.model_id
LEFT JOIN image AS film ON film.id = (
    SELECT image.id
    FROM image
    WHERE image.study_id = study.id AND image.is_current
    ORDER BY image.has_pixel_data DESC, image.id
    LIMIT 1
)
WHERE study.merged_into_id IS NULL
