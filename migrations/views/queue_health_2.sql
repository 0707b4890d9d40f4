-- One row: is the work being done? A worker is silent after a minute without a heartbeat; an orderly end is no silence.
CREATE VIEW queue_health AS
SELECT
    (SELECT count(*) FROM task WHERE state = 'PENDING' AND batch_id IS NULL) AS live_pending,
    (SELECT count(*) FROM task WHERE state = 'PENDING' AND batch_id IS NOT NULL) AS batch_pending,
    (SELECT count(*) FROM task WHERE state = 'CLAIMED') AS claimed,
    (
        SELECT {seconds_since min(task.created_at)}
        FROM task
        WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL
    ) AS live_oldest_s,
    (SELECT count(*) FROM task WHERE state = 'CLAIMED' AND lease_until_ms < {now_ms}) AS stale_leases,
    (SELECT count(*) FROM worker WHERE {seconds_since heartbeat_at} < 60) AS live_workers,
    (SELECT count(*) FROM worker WHERE {seconds_since heartbeat_at} >= 60) AS silent_workers,
    (
        SELECT count(*)
        FROM result
        WHERE result.outcome = 'FAILED' AND {seconds_since result.created_at} < 86400
    ) AS failed_24h,
    (SELECT count(*) FROM study WHERE state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')) AS open_studies,
    (SELECT count(*) FROM study WHERE state = 'FAILED') AS failed_studies,
    (SELECT count(*) FROM task WHERE state = 'PENDING' AND batch_id IS NULL AND priority < 0) AS urgent_pending,
    (
        SELECT {seconds_since min(task.created_at)}
        FROM task
        WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL AND priority < 0
    ) AS urgent_oldest_s,
    (
        SELECT count(*)
        FROM task
        INNER JOIN batch ON batch.id = task.batch_id
        WHERE task.state = 'PENDING' AND batch.kind = 'RERUN'
    ) AS rerun_pending,
    (
        SELECT {seconds_since min(task.created_at)}
        FROM task
        INNER JOIN batch ON batch.id = task.batch_id
        WHERE task.state IN ('PENDING', 'CLAIMED') AND batch.kind = 'RERUN'
    ) AS rerun_oldest_s,
    (
        SELECT count(*)
        FROM task
        INNER JOIN batch ON batch.id = task.batch_id
        WHERE task.state = 'PENDING' AND batch.kind = 'SHADOW'
    ) AS shadow_pending,
    (
        SELECT {seconds_since min(task.created_at)}
        FROM task
        INNER JOIN batch ON batch.id = task.batch_id
        WHERE task.state IN ('PENDING', 'CLAIMED') AND batch.kind = 'SHADOW'
    ) AS shadow_oldest_s,
    (
        SELECT count(*)
        FROM result
        WHERE result.reason_code = 'TIMED_OUT' AND {seconds_since result.created_at} < 86400
    ) AS timed_out_24h,
    (
        SELECT count(*)
        FROM result
        WHERE result.reason_code = 'WORKER_LOST' AND {seconds_since result.created_at} < 86400
    ) AS worker_lost_24h,
    (
        SELECT count(*)
        FROM result
        WHERE result.reason_code = 'TOO_LARGE' AND {seconds_since result.created_at} < 86400
    ) AS too_large_24h,
    (
        SELECT count(*)
        FROM task
        WHERE state IN ('PENDING', 'CLAIMED') AND interruptions > 0
    ) AS interrupted
