"""Bundles reach every worker: what is imported, activated or re-run with lies beside the store, not in one data folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from model.errors import BundleError
from model.serving.bundle import builtin_folder
from model.serving.transfer import export_bundle
from tests.support.database import sqlite_template
from tests.support.helpers_bundle import second_bundle
from tests.support.waiting import wait_until
from worker.cli.command import app
from worker.database import open_database
from worker.db.models.bundles import Order
from worker.db.tasks.workers import live_names
from worker.errors import UsageError
from worker.judging.task_worker import start_worker
from worker.models import lifecycle
from worker.models.active import bundle_of, ensure_active_model, shared_bundle
from worker.models.openable import QUESTIONS
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.database import Database
    from worker.judging.task_worker import TaskWorker

pytestmark = pytest.mark.integration

ADA = Order("ada", "a newer network")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "here", store_dir=tmp_path / "shared")


@pytest.fixture
def there(tmp_path: Path) -> Settings:
    """A worker on another machine: a data folder of its own, the same store."""
    return Settings(home=tmp_path / "there", store_dir=tmp_path / "shared")


@pytest.fixture
def database(request: pytest.FixtureRequest, here: Settings) -> Iterator[Database]:
    here.home.mkdir(mode=0o700)
    shutil.copy(sqlite_template(request), here.home / "auscult.db")
    opened = open_database(here)
    yield opened
    opened.dispose()


@pytest.mark.parametrize("change", [lifecycle.activate, lifecycle.start_shadow])
@pytest.mark.parametrize("place", ["home", "models_dir", "path"])
def test_a_bundle_that_is_used_is_found_from_every_data_folder(
    change: Any, place: str, database: Database, here: Settings, there: Settings, tmp_path: Path
) -> None:
    if place == "home":
        second_bundle(here.home / "models", threshold=0.2)
        settings, ref = here, "notebook-2"
    elif place == "models_dir":
        second_bundle(tmp_path / "own", threshold=0.2)
        settings, ref = (
            Settings(**{**here.model_dump(exclude_unset=True), "models_dir": tmp_path / "own"}),
            "notebook-2",
        )
    else:
        settings, ref = here, str(second_bundle(tmp_path / "anywhere", threshold=0.2).path)
    ensure_active_model(settings, database)
    with pytest.raises(BundleError):
        bundle_of(there, "notebook-2")
    assert change(settings, database, ref, ADA)
    found = bundle_of(there, "notebook-2")
    assert found.path == tmp_path / "shared" / "models" / "notebook-2"
    assert found.digest == bundle_of(settings, ref).digest


def test_the_bundle_of_the_very_first_start_is_shared_too(database: Database, here: Settings, there: Settings) -> None:
    second_bundle(here.home / "models", threshold=0.2)
    settings = Settings(**{**here.model_dump(exclude_unset=True), "model": "notebook-2"})
    assert ensure_active_model(settings, database) == "notebook-2"
    assert bundle_of(there, "notebook-2").path.parent == there.models


def test_a_bundle_of_the_package_stays_there(here: Settings) -> None:
    assert shared_bundle(here, "notebook-1").path.parent == builtin_folder()
    assert not here.models.exists()


def test_another_bundle_of_the_same_name_in_the_shared_folder_is_refused(here: Settings) -> None:
    second_bundle(here.models, threshold=0.3)
    second_bundle(here.home / "models", threshold=0.2)
    own = Settings(**{**here.model_dump(exclude_unset=True), "models_dir": here.home / "models"})
    with pytest.raises(BundleError, match="holds another bundle of that name"):
        shared_bundle(own, "notebook-2")


def test_an_imported_bundle_lies_in_the_shared_folder_also_where_a_site_has_one_of_its_own(
    here: Settings, there: Settings, tmp_path: Path
) -> None:
    second_bundle(tmp_path / "from", threshold=0.2)
    export_bundle(bundle_of(Settings(home=tmp_path, models_dir=tmp_path / "from"), "notebook-2"), tmp_path / "n.zip")
    env = {
        "AUSCULT_HOME": str(here.home),
        "AUSCULT_STORE_DIR": str(here.store_dir),
        "AUSCULT_MODELS_DIR": str(tmp_path / "own"),
    }
    done = CliRunner().invoke(app, ["model", "import", str(tmp_path / "n.zip")], env=env, catch_exceptions=False)
    assert done.exit_code == 0
    assert bundle_of(there, "notebook-2").path == tmp_path / "shared" / "models" / "notebook-2"


@pytest.fixture
def workers() -> Iterator[list[TaskWorker]]:
    made: list[TaskWorker] = []
    yield made
    for worker in made:
        worker.stop()


def started(workers: list[TaskWorker], settings: Settings, here: Settings) -> TaskWorker:
    """A worker with these settings at the database of ``here``, whose first heartbeat has been."""
    values = {**settings.model_dump(exclude_unset=True), "database_url": here.database, "heartbeat_s": 0.1}
    workers.append(start_worker(Settings(**values)))
    return workers[-1]


def live(database: Database, n: int) -> bool:
    with database.reads() as session:
        return len(live_names(session, 60_000)) == n


def test_live_workers_say_whether_they_can_open_a_bundle(
    database: Database, workers: list[TaskWorker], here: Settings, there: Settings, tmp_path: Path
) -> None:
    second_bundle(here.models, threshold=0.2)
    started(workers, there, here)
    wait_until(lambda: live(database, 1), 30, "the worker's first heartbeat")
    assert lifecycle.check_workers(here, database, "notebook-2") == []
    broken = second_bundle(tmp_path / "own", threshold=0.2)
    broken.litert_path.write_bytes(b"x")
    unlike = started(
        workers, Settings(**{**there.model_dump(exclude_unset=True), "models_dir": tmp_path / "own"}), here
    )
    wait_until(lambda: live(database, 2), 30, "the second worker's first heartbeat")
    with pytest.raises(UsageError, match=rf"{unlike.name} cannot open notebook-2, .*model\.tflite is not the file"):
        lifecycle.check_workers(here, database, "notebook-2")
    assert list((here.models / QUESTIONS).iterdir()) == []


def test_a_worker_that_does_not_share_the_store_is_named_and_its_silence_is_waited_for_a_few_heartbeats(
    database: Database, workers: list[TaskWorker], here: Settings, tmp_path: Path
) -> None:
    second_bundle(here.models, threshold=0.2)
    apart = started(workers, Settings(home=tmp_path / "apart"), here)
    wait_until(lambda: live(database, 1), 30, "the worker's first heartbeat")
    quick = Settings(**{**here.model_dump(exclude_unset=True), "heartbeat_s": 0.1})
    assert lifecycle.check_workers(quick, database, "notebook-2") == [apart.name]


def test_a_question_that_was_left_behind_is_forgotten(
    database: Database, workers: list[TaskWorker], here: Settings, there: Settings
) -> None:
    left = here.models / QUESTIONS / "notebook-9.left"
    left.mkdir(parents=True)
    started(workers, there, here)
    # Its draft is not its answer: renaming that changes the folder's time once more.
    wait_until(lambda: any(not name.suffix for name in left.iterdir()), 30, "the worker to answer to nobody")
    os.utime(left, (0, 0))
    assert lifecycle.check_workers(here, database, "notebook-1") == []
    assert not left.exists()
