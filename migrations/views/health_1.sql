-- What each process last found of itself: one row a process and probe. A monitor alerts on `level` FAIL, and on an
-- `age_s` above 45: a process that lives says so every ten seconds.
CREATE VIEW health AS
SELECT
    probe.source,
    probe.probe,
    probe.level,
    probe.value,
    probe.sentence,
    probe.at,
    {seconds_since probe.at} AS age_s
FROM probe
