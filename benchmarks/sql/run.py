"""``python3 dev.py bench sql``: the table of statements by size, its picture and its plans, on PostgreSQL and SQLite.

Needs the packages of the tests. All sizes lie in one server and are asked in turns, so that the ratio between them is worth
quoting on a busy machine; the first turn warms the caches and is not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from benchmarks.machine import commit, machine
from benchmarks.sql.load import fill
from benchmarks.sql.picture import draw
from benchmarks.sql.questions import questions
from tests.support.database import Site
from tests.support.plans import statements, what_is_read
from tests.support.postgres import own_postgres
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from benchmarks.sql.questions import Question
    from tests.support.postgres import PostgresServer

HERE = Path(__file__).resolve().parents[1] / "sql"
TARGET = 2.0
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "wal_level": "minimal", "max_wal_senders": "0"}


@dataclass
class Asked:
    """One site of one size, with what was measured there by question: wall and CPU time in ms."""

    studies: int
    engine: Engine
    questions: Sequence[Question]
    wall_ms: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    plans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench sql", description="Statements on tables of several sizes.")
    parser.add_argument(
        "--sizes", default="10000,1000000", help="studies, the first is what others are compared with; also 10000000"
    )
    parser.add_argument("--sqlite-sizes", default="10000,300000", help="the same on SQLite; empty: not at all")
    parser.add_argument(
        "--server",
        help="URL of a PostgreSQL whose databases auscult_bench_SIZE are used, and made where they are missing; they are kept. "
        "By default a server of its own is started, and is gone at the end",
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns that count")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the JSON and the picture")
    told = parser.parse_args(arguments)
    if told.server:
        _one(lambda studies: kept_database(told.server, studies), _sizes(told.sizes), "postgresql", told)
    else:
        with own_postgres() as server:
            set_up(server)
            _one(lambda _: server.create_database(), _sizes(told.sizes), "postgresql", told)
    with tempfile.TemporaryDirectory(prefix="auscult-bench-") as folder:
        _one(lambda studies: f"sqlite:///{folder}/{studies}.db", _sizes(told.sqlite_sizes), "sqlite", told)
    return 0


def kept_database(server: str, studies: int) -> str:
    """URL of the database for a size on a server that keeps it; made where it is missing."""
    url = make_url(server)
    name = f"auscult_bench_{studies}"
    admin = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        if connection.exec_driver_sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'").first() is None:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def set_up(server: PostgresServer) -> None:
    """Give the server a quarter of a small machine's memory, as a site would, and let bulk loads write no log."""
    engine = make_engine(server.url())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name, value in SETTINGS.items():
            connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = '{value}'")
    engine.dispose()
    server.stop()
    server.start()


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size]


def _one(database_for: Callable[[int], str], sizes: Sequence[int], name: str, told: argparse.Namespace) -> None:
    if not sizes:
        return
    sites = []
    for studies in sizes:
        engine = make_engine(database_for(studies))
        migrate(engine)
        if not _is_filled(engine):
            Site(str(engine.url.render_as_string(hide_password=False))).engine.dispose()
            began = time.perf_counter()
            fill(engine, studies)
            say(f"{name}: {studies:,} studies made in {time.perf_counter() - began:.0f} s")
        sites.append(Asked(studies, engine, questions(engine, studies)))
    for turn in range(told.rounds + 1):
        for number in range(len(sites[0].questions)):
            for site in sites:
                _ask(site, site.questions[number], counts=turn > 0)
    for site in sites:
        _explain(site)
    report = _report(name, sites, told.rounds)
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(told.out / f"{name}.png", f"Statements of Auscult on {report['database']}", report)
    say(table(report))
    for site in sites:
        site.engine.dispose()


def _is_filled(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT id FROM study LIMIT 1").first() is not None


def _ask(site: Asked, question: Question, *, counts: bool) -> None:
    cpu, began = _cpu_s(site.engine), time.perf_counter()
    question.ask()
    wall, cpu = time.perf_counter() - began, _cpu_s(site.engine) - cpu
    if counts:
        site.wall_ms.setdefault(question.name, []).append(wall * 1000)
        site.cpu_ms.setdefault(question.name, []).append(cpu * 1000)


def _cpu_s(engine: Engine) -> float:
    """CPU time of this process, and of the server's process behind the one connection, where the kernel tells."""
    own = time.process_time()
    if engine.dialect.name == "sqlite":
        return own
    with engine.connect() as connection:
        pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
    try:
        return own + int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return own


def _explain(site: Asked) -> None:
    """Keep the plan of each statement of each question, by what it reads."""
    for question in site.questions:
        with statements(site.engine) as seen:
            question.ask()
        site.plans[question.name] = [
            {"statement": _first_words(statement), "plan": lines}
            for statement, parameters in seen
            if (lines := what_is_read(site.engine, statement, parameters))
        ]


def _first_words(statement: str) -> str:
    return re.sub(r"\s+", " ", statement).strip()[:90]


def _report(name: str, sites: Sequence[Asked], rounds: int) -> dict[str, Any]:
    with sites[0].engine.connect() as connection:
        version = connection.exec_driver_sql(
            "SELECT sqlite_version()" if name == "sqlite" else "SHOW server_version"
        ).scalar_one()
    first = sites[0]
    rows = []
    for question in first.questions:
        walls = [statistics.median(site.wall_ms[question.name]) for site in sites]
        rows.append(
            {
                "name": question.name,
                "ms": [round(value, 3) for value in walls],
                "cpu_ms": [round(statistics.median(site.cpu_ms[question.name]), 3) for site in sites],
                "spread_ms": [_spread(site.wall_ms[question.name]) for site in sites],
                "ratio": round(_ratio(sites, question.name), 2),
            }
        )
    return {
        "database": f"{'SQLite' if name == 'sqlite' else 'PostgreSQL'} {version}",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "sizes": [site.studies for site in sites],
        "target": TARGET,
        "rows": rows,
        "plans": sites[-1].plans,
    }


def _spread(values: Sequence[float]) -> list[float]:
    quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return [round(quarters[0], 3), round(quarters[2], 3)]


def _ratio(sites: Sequence[Asked], name: str) -> float:
    """The median over the turns of the largest size's time over the smallest one's in the same turn."""
    pairs = zip(sites[0].wall_ms[name], sites[-1].wall_ms[name], strict=True)
    return statistics.median(last / first for first, last in pairs)


def table(report: dict[str, Any]) -> str:
    """The table as text for people."""
    head = [f"{size:,}" for size in report["sizes"]]
    lines = [
        f"\n{report['database']}, {report['date']}, commit {report['commit']}, {report['machine']}",
        f"median of {report['rounds']} turns, ms of wall time (CPU)",
        f"| statement | {' | '.join(head)} | ratio |",
        f"| --- |{' --- |' * (len(head) + 1)}",
    ]
    for row in report["rows"]:
        cells = [f"{wall:.2f} ({cpu:.2f})" for wall, cpu in zip(row["ms"], row["cpu_ms"], strict=True)]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
