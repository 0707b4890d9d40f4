-- Who the patients of the worklist are. For sites that may join names: it has a role of its own.
CREATE VIEW worklist_names AS
SELECT
    study.study_uid,
    study.side,
    study.accession_number,
    study.patient_id,
    study.issuer_of_patient_id,
    study.patient_name,
    study.patient_birth_date,
    study.patient_sex,
    study.study_date,
    study.study_description
FROM study
WHERE study.merged_into_id IS NULL
