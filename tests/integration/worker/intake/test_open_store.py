"""When the store is made, and when one that is not to be found is away: a new mount point must never become the store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from dicom_io.inbox.store import MARKER, StoreAway
from tests.support.database import fresh_site
from worker.database import connect
from worker.settings import load_settings
from worker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.database import Site

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def check(site: Site, home: Path, store_dir: Path | None = None) -> None:
    """What a listener does at its start: raises StoreAway when the store is away."""
    settings = load_settings(home=home, store_dir=store_dir, database_url=site.url)
    database = connect(settings)
    try:
        open_store(settings, database).check()
    finally:
        database.dispose()


def test_a_site_without_images_gets_its_store_and_its_films(site: Site, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    check(site, tmp_path / "home", volume)
    assert (volume / "store" / MARKER).is_file()
    assert (volume / "films" / MARKER).is_file()


def test_a_named_volume_that_is_away_is_never_replaced(site: Site, tmp_path: Path) -> None:
    check(site, tmp_path / "home", tmp_path / "volume")
    site.receive()
    (tmp_path / "volume").rename(tmp_path / "away")
    (tmp_path / "volume").mkdir()
    for home in ("home", "another"):
        with pytest.raises(StoreAway):
            check(site, tmp_path / home, tmp_path / "volume")
    assert not list((tmp_path / "volume").iterdir())
    (tmp_path / "volume").rmdir()
    (tmp_path / "away").rename(tmp_path / "volume")
    check(site, tmp_path / "home", tmp_path / "volume")


def test_a_data_folder_whose_store_is_unmounted_waits_and_a_new_one_makes_its_own(site: Site, tmp_path: Path) -> None:
    check(site, tmp_path / "home")
    site.receive()
    store = tmp_path / "home" / "store"
    store.rename(tmp_path / "away")
    store.mkdir()
    with pytest.raises(StoreAway):
        check(site, tmp_path / "home")
    check(site, tmp_path / "new home")


def test_a_store_that_was_deleted_from_the_data_folder_has_a_place_for_what_is_sent_again(
    site: Site, tmp_path: Path
) -> None:
    check(site, tmp_path / "home")
    site.receive()
    shutil.rmtree(tmp_path / "home" / "store")
    check(site, tmp_path / "home")
    assert (tmp_path / "home" / "store" / MARKER).is_file()


def test_a_person_may_begin_a_new_store_by_its_marker(site: Site, tmp_path: Path) -> None:
    site.receive()
    (tmp_path / "volume" / "store").mkdir(parents=True)
    (tmp_path / "volume" / "store" / MARKER).touch()
    check(site, tmp_path / "home", tmp_path / "volume")
