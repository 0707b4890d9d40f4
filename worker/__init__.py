"""Decides and records: registration, dispatch, the pipeline, SQL and the command line."""

from __future__ import annotations

from worker.environment import forget_foreign

# Before any library is imported: some read their variables then, and PSYCOPG_IMPL would even end the program.
forget_foreign()
