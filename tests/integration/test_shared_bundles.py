"""Bundles reach every worker: what is imported, activated or re-run with lies beside the store, not in one data folder."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from model.bundle import builtin_folder
from model.errors import BundleError
from model.transfer import export_bundle
from tests.helpers_bundle import second_bundle
from worker import lifecycle
from worker.bootstrap import bundle_of, ensure_active_model, open_database, shared_bundle
from worker.cli import app
from worker.db.models import Order
from worker.db.queries import WorkerBeat, heartbeat
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.bootstrap import Database

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
def database(here: Settings) -> Iterator[Database]:
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


def test_workers_elsewhere_that_may_not_find_a_bundle_are_named(database: Database, tmp_path: Path) -> None:
    alone = Settings(home=tmp_path / "here")
    shared = Settings(home=tmp_path / "here", store_dir=tmp_path / "shared")
    for settings in (alone, shared):
        second_bundle(settings.models, threshold=0.2)
    for host in ("xray7", socket.gethostname()):
        beat = WorkerBeat(f"{host}:1:a", host, os.getpid(), "celery", "", "litert", None, 0)
        heartbeat(database.sessions, beat)
    assert lifecycle.unreached_hosts(alone, database, "notebook-2") == ["xray7"]
    assert lifecycle.unreached_hosts(alone, database, "notebook-1") == []
    assert lifecycle.unreached_hosts(shared, database, "notebook-2") == []
