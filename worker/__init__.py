"""Decides and records: registration, dispatch, the pipeline, SQL and the command line."""
