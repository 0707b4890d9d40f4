"""Probes in SQL on both databases: rows that replace each other, and what the tables tell of work and doubts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.audit.record import Actor
from worker.db.read import figures, probes
from worker.db.read.probes import Finding, Probe
from worker.db.schema.states import Level
from worker.db.tasks.retries import retry_study
from worker.db.tasks.workers import WorkerBeat, heartbeat

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def record(site, source: str, *findings: Finding) -> None:
    with site.sessions.begin() as session:
        probes.record(session, source, findings)


def told(site) -> list[tuple[str, str, Level]]:
    with site.sessions() as session:
        return [(found.source, found.probe, found.level) for found in probes.fresh(session)]


def work(site) -> figures.Work:
    with site.sessions() as session:
        return figures.work(session, 10_000)


def test_a_process_replaces_what_it_said_and_nobody_elses(site):
    record(site, "listener a", Finding(Probe.CLOCK), Finding(Probe.SPOOL, Level.WARN, 90.0, "It waits."))
    record(site, "listener b", Finding(Probe.CLOCK))
    record(site, "listener a", Finding(Probe.CLOCK, Level.FAIL, 7200.0, "It is off."))
    assert told(site) == [("listener a", "CLOCK", Level.FAIL), ("listener b", "CLOCK", Level.OK)]
    assert site.rows("SELECT level, value, sentence FROM health WHERE source = 'listener a'") == [
        {"level": "FAIL", "value": 7200.0, "sentence": "It is off."}
    ]


def test_what_nobody_says_any_more_counts_no_more_and_is_forgotten(site):
    record(site, "listener a", Finding(Probe.CLOCK, Level.FAIL))
    site.change("UPDATE probe SET at = '2026-01-01 00:00:00'")
    assert told(site) == []
    record(site, "listener b", Finding(Probe.CLOCK))
    assert site.value("SELECT count(*) FROM probe") == 1
    with site.sessions.begin() as session:
        probes.forget(session, "listener b")
    assert site.value("SELECT count(*) FROM probe") == 0


def test_the_tables_tell_of_work_workers_and_failures(site):
    assert work(site) == figures.Work(0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    site.finish(site.receive("1.1", "1.1.1").task_id, refused(Reason.WORKER_LOST))
    site.finish(site.receive("1.2", "1.2.1").task_id, scored(0.1))
    site.receive("1.3", "1.3.1")
    heartbeat(site.sessions, WorkerBeat("w1", "host", 1, "celery", "", "litert", None, 0))
    assert work(site).unheard == 0
    assert (work(site).live_workers, work(site).idle_workers) == (1, 0), "it has just been started"
    site.change("UPDATE worker SET started_at = '2026-01-01 00:00:00'")
    site.change("UPDATE task SET created_at = '2026-01-01 00:00:00' WHERE state = 'PENDING'")
    found = work(site)
    assert (found.waiting, found.unheard, found.live_workers, found.idle_workers) == (1, 1, 1, 1)
    assert (found.failed_24h, found.failed_studies) == (1, 1)
    assert found.failed_reasons == (("WORKER_LOST", 1),)
    for number, reason in ((4, Reason.TIMED_OUT), (5, Reason.TOO_LARGE), (6, Reason.TIMED_OUT)):
        site.finish(site.receive(f"1.{number}", f"1.{number}.1").task_id, refused(reason))
    assert work(site).failed_reasons[0] == ("TIMED_OUT", 2)
    # A film that is judged after all is not failed any more.
    with site.sessions.begin() as session:
        retry_study(session, "1.6", Actor("ada"), "again")
    site.finish(site.value("SELECT max(id) FROM task"), scored(0.1))
    assert dict(work(site).failed_reasons)["TIMED_OUT"] == 1


def test_a_database_that_takes_nothing_is_noticed(site):
    with site.sessions() as session:
        assert probes.is_writable(session)
    if site.engine.dialect.name == "postgresql":
        site.change(f'ALTER DATABASE "{site.engine.url.database}" SET default_transaction_read_only = on')
        site.engine.dispose()
        with site.sessions() as session:
            assert not probes.is_writable(session)


def test_status_maps_no_table_and_asks_no_rule_of_the_gate(site, tmp_path):
    """To map the tables takes a fifth of the time of such a command."""
    script = (
        "import atexit, sys\n"
        "sys.argv = ['auscult', 'status', '--json']\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from worker.cli import main\n"
        "main()"
    )
    env = {**os.environ, "AUSCULT_HOME": str(tmp_path / "home"), "AUSCULT_DATABASE_URL": site.url}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert '"live_workers": 0' in done.stdout
    assert "worker.db.read.figures" in loaded
    assert not loaded & {"worker.db.schema.study", "worker.db.schema.site", "dicom_io.gate.rules", "pydicom", "kombu"}
