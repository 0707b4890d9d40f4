-- The rows of the worklist that changed, by a number that only rises: whoever remembers the last row they read, and asks for
-- those behind it, misses none. A row stands here once, at its last change. On PostgreSQL numbers are those of transactions, and
-- a row appears once every transaction that began to write before it has ended, so that no number below it can come later.
CREATE VIEW changes AS
SELECT
    study.change_id,
    study.study_uid,
    study.side,
    study.updated_at AS changed_at,
    study.merged_into_id IS NULL AS is_shown
FROM study
WHERE study.change_id > 0 AND {is_settled study.change_id}
