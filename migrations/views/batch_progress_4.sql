-- One row a re-run or shadow: how far it is. A shadow's images are counted, since they grow in number. Tasks of a re-run that is
-- closed were counted when it was, of others they are counted for the rows that are asked for alone. While a re-run is being
-- opened, its tasks are those so far.
CREATE VIEW batch_progress AS
SELECT
    batch.id AS batch_id,
    batch.who,
    batch.why,
    batch.selector,
    model.name AS model_name,
    model.version AS model_version,
    batch.keep_current,
    batch.created_at,
    batch.closed_at,
    CASE
        WHEN batch.kind = 'SHADOW' THEN (SELECT count(*) FROM task WHERE task.batch_id = batch.id)
        ELSE batch.n_tasks
    END AS n_tasks,
    COALESCE(
        batch.n_done,
        (SELECT count(*) FROM task WHERE task.batch_id = batch.id AND task.state = 'DONE')
    ) AS n_done,
    COALESCE(
        batch.n_failed,
        (SELECT count(*) FROM task WHERE task.batch_id = batch.id AND task.state = 'FAILED')
    ) AS n_failed,
    COALESCE(
        batch.n_cancelled,
        (SELECT count(*) FROM task WHERE task.batch_id = batch.id AND task.state = 'CANCELLED')
    ) AS n_cancelled,
    (
        SELECT count(*)
        FROM task
        WHERE task.batch_id = batch.id AND task.batch_id IS NOT NULL AND task.state IN ('PENDING', 'CLAIMED')
    ) AS n_open,
    batch.kind,
    CASE
        WHEN batch.closed_at IS NOT NULL THEN 'CLOSED'
        WHEN batch.opening_after_id IS NOT NULL THEN 'OPENING'
        ELSE 'OPEN'
    END AS state
FROM batch
JOIN model ON model.id = batch.model_id
