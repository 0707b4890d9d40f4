"""``python3 dev.py bench churn``: updates within their page (HOT), dead rows, and indexes beside the same rebuilt.

Films are registered, claimed, ended and settled by the code that a site runs, some at once, with autovacuum on as PostgreSQL
comes. Only the server's counters are read, so that a busy machine does no harm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.churn.tables import tables
from benchmarks.machine import commit
from tests.support.database import MAX_ATTEMPTS, Site, facts_of, scored
from tests.support.postgres import own_postgres
from worker.db.filing.bulk import register_all
from worker.db.identity.arrivals import Received
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.db.tasks import claims, queue
from worker.db.tasks.claims import Claimant
from worker.db.tasks.due import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

#: Films of one transaction, as a busy site has them.
AT_ONCE = 16
SETTLED_AT_ONCE = 50
TABLES = ("task", "study", "image", "result")
_COUNTERS = """
SELECT relname AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_hot_upd AS in_page, n_live_tup AS live, n_dead_tup AS dead,
    autovacuum_count AS vacuums, pg_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE relname IN ('task', 'study', 'image', 'result')
"""
_INDEXES = """
SELECT relname AS table_name, indexrelname AS name, pg_relation_size(indexrelid) AS bytes
FROM pg_stat_user_indexes WHERE relname IN ('task', 'study', 'image', 'result') ORDER BY 1, 2
"""


def main(arguments: Sequence[str]) -> int:
    """Work off the tasks, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(prog="dev.py bench churn", description="What a queue leaves behind in PostgreSQL.")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the JSON")
    told = parser.parse_args(arguments)
    with own_postgres() as server:
        report = measure(server.create_database(), told.tasks)
    (told.out / "churn.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(tables(report) + "\n")
    return 0


def measure(url: str, count: int) -> dict[str, Any]:
    """Work off so many tasks on a new database; what its tables and indexes are like then."""
    site = Site(_migrated(url))
    before = _bytes_of_log(site.engine)
    for _ in range(count // AT_ONCE):
        _work_off(site)
    while _settle(site):
        pass
    written = _bytes_of_log(site.engine) - before
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "tasks": count // AT_ONCE * AT_ONCE,
        "log_bytes_a_task": round(written / count),
    }
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        report["database"] = f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        report["tables"] = [dict(row) for row in connection.exec_driver_sql(_COUNTERS).mappings()]
        indexes = [dict(row) for row in connection.exec_driver_sql(_INDEXES).mappings()]
        for table in TABLES:
            connection.exec_driver_sql(f"REINDEX TABLE {table}")
        anew = {row["name"]: row["bytes"] for row in connection.exec_driver_sql(_INDEXES).mappings()}
    report["indexes"] = [{**index, "bytes_anew": anew[index["name"]]} for index in indexes]
    site.engine.dispose()
    return report


def _migrated(url: str) -> str:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    return url


def _bytes_of_log(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(
            connection.exec_driver_sql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").scalar_one()
        )


def _work_off(site: Site) -> None:
    with site.sessions.begin() as session:
        register_all(session, [_film() for _ in range(AT_ONCE)])
    claimed = claims.claim_due(
        site.sessions, Lane.LIVE, Claimant("bench", 60_000, MAX_ATTEMPTS), urgent=AT_ONCE, oldest=0
    )
    claims.finish(site.sessions, [(claim, scored(0.2)) for claim in claimed])
    _settle(site)


def _settle(site: Site) -> int:
    with site.sessions.begin() as session:
        return queue.settle_studies(session, SETTLED_AT_ONCE)


def _film() -> Received:
    uid = f"1.2.3.{uuid.uuid4().int}"
    facts = facts_of(uid, f"{uid}.1"[:64], patient_id=uid[-8:], accession_number=uid[-9:])
    sha256 = hashlib.sha256(uid.encode()).hexdigest()
    return Received(facts, sha256, uuid.uuid4().hex, source="PACS", quiet_ms=0, max_wait_ms=0)
