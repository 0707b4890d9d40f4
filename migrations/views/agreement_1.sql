-- How often readers agreed with each model: in all, and by day, device and band. The last verdict on each answer counts. The
-- interval is Wilson's with 95 in 100, as if all studies were independent of each other.
CREATE VIEW agreement AS
WITH judged AS (
    SELECT
        assessments.model_name,
        assessments.model_version,
        {day_of assessments.at} AS day,
        assessments.manufacturer,
        assessments.device_model,
        assessments.station_name,
        assessments.band,
        CASE WHEN assessments.verdict = 'AGREE' THEN 1 ELSE 0 END AS agrees,
        CASE WHEN assessments.verdict = 'DISAGREE' AND assessments.answer_label = 'PNEUMONIA' THEN 1 ELSE 0 END AS is_high,
        CASE WHEN assessments.verdict = 'DISAGREE' AND assessments.answer_label = 'NORMAL' THEN 1 ELSE 0 END AS is_low
    FROM assessments
    WHERE assessments.verdict IS NOT NULL AND assessments.is_latest
),
counted AS (
    SELECT
        'MODEL' AS by_what, model_name, model_version, CAST(NULL AS DATE) AS day, NULL AS manufacturer, NULL AS device_model,
        NULL AS station_name, NULL AS band, count(*) AS n, sum(agrees) AS n_agree, sum(is_high) AS n_high, sum(is_low) AS n_low
    FROM judged
    GROUP BY model_name, model_version
    UNION ALL
    SELECT
        'DAY', model_name, model_version, day, NULL, NULL, NULL, NULL, count(*), sum(agrees), sum(is_high), sum(is_low)
    FROM judged
    GROUP BY model_name, model_version, day
    UNION ALL
    SELECT
        'DEVICE', model_name, model_version, NULL, manufacturer, device_model, station_name, NULL, count(*), sum(agrees),
        sum(is_high), sum(is_low)
    FROM judged
    GROUP BY model_name, model_version, manufacturer, device_model, station_name
    UNION ALL
    SELECT
        'BAND', model_name, model_version, NULL, NULL, NULL, NULL, band, count(*), sum(agrees), sum(is_high), sum(is_low)
    FROM judged
    GROUP BY model_name, model_version, band
)
SELECT
    by_what,
    model_name,
    model_version,
    day,
    manufacturer,
    device_model,
    station_name,
    band,
    n,
    n_agree,
    CAST(n_agree AS DOUBLE PRECISION) / n AS share,
    CASE
        WHEN n_agree = 0 THEN 0.0
        ELSE (
            n_agree + 1.920729410347062
            - 1.959963984540054 * sqrt(CAST(n_agree * (n - n_agree) AS DOUBLE PRECISION) / n + 0.960364705173531)
        ) / (n + 3.841458820694124)
    END AS share_low,
    CASE
        WHEN n_agree = n THEN 1.0
        ELSE (
            n_agree + 1.920729410347062
            + 1.959963984540054 * sqrt(CAST(n_agree * (n - n_agree) AS DOUBLE PRECISION) / n + 0.960364705173531)
        ) / (n + 3.841458820694124)
    END AS share_high,
    n_high AS n_pneumonia_denied,
    n_low AS n_normal_denied,
    'Not a medical device. Not for diagnosis.' AS notice
FROM counted
