"""What every film needs may be away: that is no attempt at the film, which waits and says for what; its own faults end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from dicom_io.film.store import FilmStore
from dicom_io.gate.judge import Policies
from dicom_io.inbox.store import MARKER, Store
from dicom_io.reasons import Outcome, Reason
from model.errors import BundleError
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from tests.support.database import LEASE_MS, MAX_ATTEMPTS, Site, attempted, fresh_site
from tests.support.helpers_bundle import shipped_bundle
from tests.support.permissions import permissions_hold
from tests.support.studies import chest_film
from worker.db.tasks import claims
from worker.db.tasks.claims import Claimant
from worker.errors import DatabaseUnavailable, ModelMismatch
from worker.judging import pipeline
from worker.judging.pipeline import LONGEST_WAIT_MS, Outages, WorkerContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

#: A drawn film is a test pattern to the gate.
LENIENT = Policies.parse("TEST_PATTERN=accept,INVERTED_PICTURE=accept")


@dataclass
class Ward:
    """One registered film, and the worker that is to judge it."""

    site: Site
    context: WorkerContext
    task_id: int
    original: Path
    folder: Path

    def attempt(self) -> Outcome | None:
        """One attempt, its pause being over."""
        self.site.change("UPDATE task SET not_before_ms = 0")
        return attempted(self.context, self.task_id)

    @property
    def task(self) -> dict[str, object]:
        (row,) = self.site.rows("SELECT state, attempts, error_code, error_class FROM task")
        return row

    @property
    def waits(self) -> tuple[object, object, object]:
        """State, attempts, and what for."""
        return self.task["state"], self.task["attempts"], self.task["error_code"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    bundle = shipped_bundle()
    return Classifier(bundle, open_engine(bundle, "litert"))


@pytest.fixture(params=["sqlite"])
def ward(request: pytest.FixtureRequest, tmp_path: Path, classifier: Classifier) -> Iterator[Ward]:
    for site in fresh_site(request, tmp_path):
        store, films = Store(tmp_path / "volume" / "store"), FilmStore(tmp_path / "volume" / "films")
        key = "ab" * 16
        (tmp_path / "film.dcm").parent.mkdir(exist_ok=True)
        chest_film(0.5).save_as(tmp_path / "film.dcm")
        store.file(tmp_path / "film.dcm", key)
        entry = site.receive(store_key=key)
        me = Claimant("me", LEASE_MS, MAX_ATTEMPTS)
        context = WorkerContext(me, site.sessions, store, films, lambda _: classifier, 5000, "litert", LENIENT, 2048)
        assert entry.task_id is not None
        yield Ward(site, context, entry.task_id, store.path(key), tmp_path)


def unmount(root: Path) -> Callable[[], object]:
    """Put an empty folder, as a mount point is, where the root was."""
    away = root.with_name(root.name + "-away")
    root.rename(away)
    root.mkdir()

    def mount() -> None:
        root.rmdir()
        away.rename(root)

    return mount


def volume_away(ward: Ward) -> Callable[[], object]:
    return unmount(ward.folder / "volume")


def store_away(ward: Ward) -> Callable[[], object]:
    return unmount(ward.folder / "volume" / "store")


def store_gone(ward: Ward) -> Callable[[], object]:
    root = ward.folder / "volume" / "store"
    away = root.rename(root.with_name("away"))
    return lambda: away.rename(root)


def films_away(ward: Ward) -> Callable[[], object]:
    films = ward.folder / "volume" / "films"
    films.mkdir()
    (films / MARKER).touch()
    return unmount(films)


def films_not_writable(ward: Ward) -> Callable[[], object]:
    films = ward.folder / "volume" / "films"
    films.write_bytes(b"")
    return films.unlink


@pytest.mark.parametrize("take_away", [volume_away, store_away, store_gone, films_away, films_not_writable])
def test_a_store_or_films_that_are_away_cost_no_attempt(
    ward: Ward, take_away: Callable[[Ward], Callable[[], object]]
) -> None:
    bring_back = take_away(ward)
    for _ in range(MAX_ATTEMPTS + 2):
        assert ward.attempt() is None
        assert ward.waits == ("PENDING", 0, Reason.STORE_UNAVAILABLE)
    assert ward.site.bury() == 0
    bring_back()
    assert ward.attempt() is Outcome.OK
    assert ward.task["attempts"] == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BundleError("no such bundle"), Reason.MODEL_UNAVAILABLE),
        (ModelMismatch("other contents"), Reason.MODEL_UNAVAILABLE),
        (PermissionError(13, "bundle not readable"), Reason.MODEL_UNAVAILABLE),
        (DatabaseUnavailable("away in the middle of a task"), Reason.INTERNAL_ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_model_or_a_database_that_is_away_costs_no_attempt(ward: Ward, error: Exception, code: Reason) -> None:
    def away(_: str) -> Classifier:
        raise error

    broken = replace(ward.context, classifier_of=away)
    for _ in range(MAX_ATTEMPTS + 2):
        ward.site.change("UPDATE task SET not_before_ms = 0")
        assert attempted(broken, ward.task_id) is None
        assert ward.waits == ("PENDING", 0, code)
    assert ward.attempt() is Outcome.OK


def test_a_machine_without_memory_costs_no_attempt_and_a_film_that_wants_too_much_does(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "judge_film", hungry)
    assert ward.attempt() is Outcome.FAILED
    assert ward.task["attempts"] == 1
    monkeypatch.setattr(pipeline, "_LITTLE_MEMORY", 1 << 60)
    assert ward.attempt() is None
    assert (ward.task["attempts"], ward.task["error_class"]) == (1, "MemoryError")


def test_a_result_is_written_once_the_database_is_back(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, failures = claims.finish, itertools.count()

    def away_at_first(*arguments: object) -> set[int]:
        if next(failures) < 2:
            raise DatabaseUnavailable
        return finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "finish", away_at_first)
    monkeypatch.setattr(pipeline, "INSIST_PAUSE_S", 0.0)
    assert ward.attempt() is Outcome.OK
    assert ward.task["attempts"] == 1


def test_an_original_that_alone_is_gone_ends_failed(ward: Ward) -> None:
    ward.original.unlink()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert ward.attempt() is Outcome.FAILED
        assert ward.task["attempts"] == attempt
    assert ward.waits == ("FAILED", MAX_ATTEMPTS, Reason.ORIGINAL_MISSING)


def test_an_original_that_alone_cannot_be_read_ends_failed(ward: Ward) -> None:
    ward.original.chmod(0)
    with permissions_hold():
        for _ in range(MAX_ATTEMPTS):
            ward.attempt()
    assert ward.waits == ("FAILED", MAX_ATTEMPTS, Reason.ORIGINAL_MISSING)


def test_the_pause_grows_with_the_outage_up_to_its_limit_and_starts_again_after_it() -> None:
    now = [0.0]
    outages = Outages(lambda: now[0])
    pauses = []
    for now[0] in (0.0, 4.0, 12.0, 29.0, 3600.0):
        pauses.append(outages.pause_ms(Reason.STORE_UNAVAILABLE, 5000))
    assert pauses == [5000, 5000, 12000, 29000, LONGEST_WAIT_MS]
    assert outages.longest() == (Reason.STORE_UNAVAILABLE, 3600.0)
    outages.over()
    assert outages.longest() is None
    assert outages.pause_ms(Reason.STORE_UNAVAILABLE, 5000) == 5000
