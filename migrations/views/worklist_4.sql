-- One row a study: what the radiology worklist shows. A missing, refused, failed, withheld or unfinished answer has no
-- label. Objects that name another patient under the same Study Instance UID have a row of their own (side above 0).
-- The rank orders rows and is not their number: a smaller one is read first. It goes by band, then urgent studies, then
-- by waiting time; probabilities of different models are never compared. What was not judged, in doubt or failed comes
-- before NORMAL.
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
    study.priority_rank,
    'Not a medical device. Not for diagnosis.' AS notice,
    study.band,
    study.side,
    CASE
        WHEN study.n_expected IS NULL THEN 'ASSUMED'
        WHEN study.n_images < study.n_expected THEN 'SHORT'
        ELSE 'COUNTED'
    END AS completeness,
    study.n_expected
FROM study
LEFT JOIN model ON model.id = study.model_id
WHERE study.merged_into_id IS NULL
