"""DICOM in and out: listener, spool, headers, gate and films. Knows neither SQL nor Celery nor the model."""
