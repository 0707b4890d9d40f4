-- The results of each model on each day by device: how many films, what was said, what was refused, and what films looked like.
-- A day is there once it is over in UTC and the listener has counted it.
CREATE VIEW model_daily AS
SELECT
    model_day.day,
    model_day.source,
    model.name AS model_name,
    model.version AS model_version,
    model_day.manufacturer,
    model_day.device_model,
    model_day.station_name,
    model_day.calling_aet,
    model_day.n_films,
    model_day.n_judged,
    model_day.n_positive,
    CASE
        WHEN model_day.n_judged > 0 THEN CAST(model_day.n_positive AS DOUBLE PRECISION) / model_day.n_judged
    END AS positive_rate,
    model_day.n_films - model_day.n_judged AS n_refused,
    model_day.reasons,
    model_day.probability_p10,
    model_day.probability_p50,
    model_day.probability_p90,
    model_day.mean_grey,
    model_day.contrast,
    model_day.dark_share,
    model_day.bright_share,
    model_day.sharpness,
    model_day.unlikeness,
    model_day.histograms,
    model_day.counted_at,
    'Not a medical device. Not for diagnosis.' AS notice
FROM model_day
INNER JOIN model ON model.id = model_day.model_id
