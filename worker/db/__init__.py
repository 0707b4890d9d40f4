"""SQL: the schema, the engine and every statement of the flow; SQL is the queue of record."""

from __future__ import annotations
