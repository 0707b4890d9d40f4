"""A worker's film that runs into Celery's hard time limit says so at once, and not when its lease has run out."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection
from sqlalchemy import text

from dicom_io.spool import Spool
from dicom_io.store import Store
from tests.objects import Made
from worker.app import make_app
from worker.db import claims
from worker.hints import LIVE_QUEUE, TASK_NAME, HintPublisher
from worker.ingest import Door
from worker.registrar import Filing, StudyClock
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.bootstrap import Database

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_pools_parent_takes_back_what_the_child_had_claimed_as_timed_out(
    database: Database, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    door = Door(Spool(tmp_path / "spool"), Filing(database.sessions, Store(tmp_path / "store"), StudyClock(0, 60_000)))
    for number in (1, 2):
        door.take(Made().write(tmp_path / f"{number}.dcm"))
    first, second = sorted(door.intake.tasks)
    held = claims.claim(database.sessions, first, f"{socket.gethostname()}:{os.getpid()}:abc", 60_000, 3)
    assert held
    app = make_app(load_settings(home=tmp_path / "home", database_url=database_url, broker_url=redis_url))
    publisher = HintPublisher(redis_url)
    with Connection(redis_url) as connection, connection.SimpleQueue(LIVE_QUEUE) as waiting:
        publisher.publish([first, second], LIVE_QUEUE)
        # the hint as a worker's main process has it, while the pool's child holds the first film
        made: Any = app.tasks[TASK_NAME].Request
        request = made(waiting.get(timeout=5), app=app)
        request.worker_pid = os.getpid()
        request.on_timeout(False, 1.0)
    publisher.close()
    with database.reads() as session:
        rows = session.execute(text("SELECT state, attempts, error_code FROM task ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("PENDING", 1, "TIMED_OUT"), ("PENDING", 0, None)]
