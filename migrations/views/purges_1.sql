-- Every purge and every erasure of a person: who ordered it, why, by which rules, and what it removed.
CREATE VIEW purges AS
SELECT
    purge.id AS purge_id,
    purge.kind,
    purge.who,
    purge.why,
    purge.rules,
    purge.started_at,
    purge.finished_at,
    purge.ended_how,
    purge.n_studies,
    purge.n_originals,
    purge.n_films,
    purge.n_records,
    purge.freed_bytes,
    (SELECT count(*) FROM removal WHERE removal.purge_id = purge.id) AS files_left
FROM purge
