-- One row a re-run or shadow: how far it is. A shadow's images are counted, since they grow in number.
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
    CASE WHEN batch.kind = 'SHADOW' THEN COALESCE(counted.n_tasks, 0) ELSE batch.n_tasks END AS n_tasks,
    COALESCE(counted.n_done, 0) AS n_done,
    COALESCE(counted.n_failed, 0) AS n_failed,
    COALESCE(counted.n_cancelled, 0) AS n_cancelled,
    COALESCE(counted.n_open, 0) AS n_open,
    batch.kind
FROM batch
JOIN model ON model.id = batch.model_id
LEFT JOIN (
    SELECT
        task.batch_id,
        count(*) AS n_tasks,
        count(CASE WHEN task.state = 'DONE' THEN 1 END) AS n_done,
        count(CASE WHEN task.state = 'FAILED' THEN 1 END) AS n_failed,
        count(CASE WHEN task.state = 'CANCELLED' THEN 1 END) AS n_cancelled,
        count(CASE WHEN task.state IN ('PENDING', 'CLAIMED') THEN 1 END) AS n_open
    FROM task
    WHERE task.batch_id IS NOT NULL
    GROUP BY task.batch_id
) AS counted ON counted.batch_id = batch.id
