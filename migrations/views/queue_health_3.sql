-- One row: is the work being done? A worker is silent after a minute without a heartbeat; an orderly end is no silence.
-- Each count stops at 10000, which says "that many or more", so that asking costs the same on a table of any size.
-- A condition that another one implies is there for SQLite, which uses a partial index only where its condition is repeated.
CREATE VIEW queue_health AS
SELECT
    (
        SELECT count(*)
        FROM (SELECT 1 FROM task WHERE state = 'PENDING' AND batch_id IS NULL LIMIT 10000) AS found
    ) AS live_pending,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM task
            WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NOT NULL AND state = 'PENDING'
            LIMIT 10000
        ) AS found
    ) AS batch_pending,
    (SELECT count(*) FROM (SELECT 1 FROM task WHERE state = 'CLAIMED' LIMIT 10000) AS found) AS claimed,
    (
        SELECT {seconds_since task.created_at}
        FROM task
        WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL
        ORDER BY task.id
        LIMIT 1
    ) AS live_oldest_s,
    (
        SELECT count(*)
        FROM (SELECT 1 FROM task WHERE state = 'CLAIMED' AND lease_until_ms < {now_ms} LIMIT 10000) AS found
    ) AS stale_leases,
    (SELECT count(*) FROM worker WHERE {seconds_since heartbeat_at} < 60) AS live_workers,
    (SELECT count(*) FROM worker WHERE {seconds_since heartbeat_at} >= 60) AS silent_workers,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM result
            WHERE outcome <> 'OK' AND outcome = 'FAILED' AND created_at > {day_ago}
            LIMIT 10000
        ) AS found
    ) AS failed_24h,
    (
        SELECT count(*)
        FROM (SELECT 1 FROM study WHERE state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') LIMIT 10000) AS found
    ) AS open_studies,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM study
            WHERE state IN ('FAILED', 'WITHHELD') AND merged_into_id IS NULL AND state = 'FAILED'
            LIMIT 10000
        ) AS found
    ) AS failed_studies,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM task
            WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL AND priority < 0 AND state = 'PENDING'
            LIMIT 10000
        ) AS found
    ) AS urgent_pending,
    (
        SELECT {seconds_since task.created_at}
        FROM task
        WHERE state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL AND priority < 0
        ORDER BY task.priority, task.id
        LIMIT 1
    ) AS urgent_oldest_s,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM batch
            INNER JOIN task ON task.batch_id = batch.id
            WHERE
                batch.kind = 'RERUN'
                AND task.state IN ('PENDING', 'CLAIMED')
                AND task.batch_id IS NOT NULL
                AND task.state = 'PENDING'
            LIMIT 10000
        ) AS found
    ) AS rerun_pending,
    (
        SELECT {seconds_since min(first_open.created_at)}
        FROM (
            SELECT
                (
                    SELECT task.created_at
                    FROM task
                    WHERE
                        task.batch_id = batch.id AND task.state IN ('PENDING', 'CLAIMED') AND task.batch_id IS NOT NULL
                    ORDER BY task.id
                    LIMIT 1
                ) AS created_at
            FROM batch
            WHERE batch.kind = 'RERUN'
        ) AS first_open
    ) AS rerun_oldest_s,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM batch
            INNER JOIN task ON task.batch_id = batch.id
            WHERE
                batch.kind = 'SHADOW'
                AND task.state IN ('PENDING', 'CLAIMED')
                AND task.batch_id IS NOT NULL
                AND task.state = 'PENDING'
            LIMIT 10000
        ) AS found
    ) AS shadow_pending,
    (
        SELECT {seconds_since min(first_open.created_at)}
        FROM (
            SELECT
                (
                    SELECT task.created_at
                    FROM task
                    WHERE
                        task.batch_id = batch.id AND task.state IN ('PENDING', 'CLAIMED') AND task.batch_id IS NOT NULL
                    ORDER BY task.id
                    LIMIT 1
                ) AS created_at
            FROM batch
            WHERE batch.kind = 'SHADOW'
        ) AS first_open
    ) AS shadow_oldest_s,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM result
            WHERE outcome <> 'OK' AND reason_code = 'TIMED_OUT' AND created_at > {day_ago}
            LIMIT 10000
        ) AS found
    ) AS timed_out_24h,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM result
            WHERE outcome <> 'OK' AND reason_code = 'WORKER_LOST' AND created_at > {day_ago}
            LIMIT 10000
        ) AS found
    ) AS worker_lost_24h,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM result
            WHERE outcome <> 'OK' AND reason_code = 'TOO_LARGE' AND created_at > {day_ago}
            LIMIT 10000
        ) AS found
    ) AS too_large_24h,
    (
        SELECT count(*)
        FROM (SELECT 1 FROM task WHERE state IN ('PENDING', 'CLAIMED') AND interruptions > 0 LIMIT 10000) AS found
    ) AS interrupted
