"""A worker's film that runs into Celery's hard time limit says so at once, and not when its lease has run out."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection

from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.claimants import claimant, killed
from tests.support.films import film, save
from tests.support.servers import launch
from tests.support.waiting import wait_until
from worker.batches.ingest import Ingester
from worker.database import connect
from worker.db.read import queries
from worker.db.schema.states import LOCAL_KIND
from worker.intake.filing import Filing, StudyClock
from worker.judging import pipeline
from worker.judging.task_worker import TaskWorker
from worker.presence import departed, note_timeout
from worker.processes.app import make_app
from worker.queue.departed import ReleaseOptions, release_departed
from worker.queue.hints import HintPublisher
from worker.queue.message import QUEUE, TASK_NAME
from worker.settings import child_environment, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.database import Database
    from worker.settings import Settings

pytestmark = pytest.mark.integration


def test_the_pools_parent_notes_that_the_time_limit_ended_its_child_without_asking_sql(
    redis_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    owner = f"{socket.gethostname()}:{os.getpid()}:abc"
    app = make_app(load_settings(home=home, database_url="postgresql://nobody@127.0.0.1:1/away", broker_url=redis_url))
    publisher = HintPublisher(redis_url)
    with (
        Connection(redis_url) as connection,
        connection.SimpleQueue(QUEUE) as waiting,
        claimant(home) as (_, parent),
    ):
        killed(home, owner, parent)
        publisher.publish()
        # the hint as a worker's main process has it, while the pool's child holds a film
        made: Any = app.tasks[TASK_NAME].Request
        request = made(waiting.get(timeout=30), app=app)
        request.worker_pid = os.getpid()
        request.on_timeout(False, 1.0)
        (ended,) = departed(home)
    publisher.close()
    assert (ended.name, ended.is_timed_out) == (owner, True)


def _queued_film(database: Database, settings: Settings, folder: Path) -> int:
    """Register a film and return its task."""
    filing = Filing(database.sessions, Store(settings.store), StudyClock(0, 60_000))
    ingester = Ingester(Spool(folder / "spool"), filing)
    ingester.take(save(film(), folder))
    (task_id,) = ingester.intake.tasks
    return task_id


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_a_film_that_its_child_still_claims_when_a_signal_ends_it_is_released_by_the_next_one(
    database: Database, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pool ends a child by SIGTERM, which raises SystemExit in Python code, and by SIGKILL a moment later.
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, max_attempts=1)
    task_id = _queued_film(database, settings, tmp_path)
    monkeypatch.setattr(pipeline, "film_of_dicom", lambda _: sys.exit(1))
    worker = TaskWorker(settings, connect(settings), LOCAL_KIND)
    with pytest.raises(SystemExit):
        worker.work_on([task_id])
    note_timeout(settings.home, worker.name)
    worker.stop()
    assert release_departed(database.sessions, ReleaseOptions.of(settings)) == 1
    with database.reads() as session:
        (row,) = queries.outcomes_of_tasks(session, [task_id])
    assert (row["outcome"], row["reason"]) == ("FAILED", "TIMED_OUT")
    assert departed(settings.home) == []


#: A worker whose films all hang, with a shorter limit than a site may set.
_HANGING_WORKER = """
import threading
from worker.judging import pipeline
from worker.processes.app import run_worker
from worker.settings import load_settings

pipeline.film_of_dicom = lambda _: threading.Event().wait()
run_worker(load_settings().model_copy(update={"task_limit_s": 1.0}))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_a_film_that_hangs_in_a_worker_ends_timed_out_after_its_attempts(
    database: Database, migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, broker_url=redis_url, max_attempts=1)
    task_id = _queued_film(database, settings, tmp_path)
    publisher = HintPublisher(redis_url)
    publisher.publish()
    publisher.close()
    command = [sys.executable, "-c", _HANGING_WORKER]
    with launch(
        command,
        death_signal=signal.SIGKILL,
        log=tmp_path / "log",
        environment={**os.environ, **child_environment(settings)},
    ) as worker:
        try:

            def ended() -> bool:
                with database.reads() as session:
                    return not queries.open_among(session, [task_id])

            wait_until(ended, timeout_s=120, what="the film that hangs is given up")
        finally:
            worker.terminate()
    with database.reads() as session:
        (row,) = queries.outcomes_of_tasks(session, [task_id])
    assert (row["outcome"], row["reason"]) == ("FAILED", "TIMED_OUT")
