"""Same film, same model, same score, whichever way the film came and whatever computed it."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.create.wrap import wrap_picture
from dicom_io.film.film import film_of_picture
from model.serving.bundle import builtin_folder, load_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from tests.support.running import DEFAULT_MODEL, Site
from tests.support.studies import push

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.postgres import ExternalPostgres, PostgresServer

pytestmark = [pytest.mark.acceptance, pytest.mark.data, pytest.mark.timeout(300)]

FILMS = 32
LOWEST, HIGHEST = 0.05, 0.95
#: Films looked at in the search for uncertain ones, at most.
MOST = 2000
LOGIT, PROBABILITY = 1e-4, 1e-5


@dataclass(frozen=True)
class Known:
    """What one film is and scores when the functions are called directly."""

    picture: Path
    wrapped: Path
    sop_uid: str
    film_sha256: str
    logit: float
    probability: float


@pytest.fixture(scope="session")
def uncertain(test_data: Path) -> Iterator[list[Known]]:
    """Films of which the model is not sure, as pictures and wrapped as DICOM; where it is sure, an error would hide."""
    bundle = load_bundle(builtin_folder() / DEFAULT_MODEL)
    classifier = Classifier(bundle, open_engine(bundle, "litert"))
    pictures = sorted((test_data / "chest_xray" / "train").rglob("*.jpeg"))
    random.Random(1).shuffle(pictures)
    folder = Path(tempfile.mkdtemp(prefix="auscult-same-", dir="/tmp"))
    known: list[Known] = []
    for picture in pictures[:MOST]:
        film = film_of_picture(picture)
        score = classifier.score(film.pixels)
        if LOWEST <= score.probability <= HIGHEST:
            ds = wrap_picture(picture)
            wrapped = folder / f"{len(known)}.dcm"
            ds.save_as(wrapped, enforce_file_format=True)
            known.append(Known(picture, wrapped, str(ds.SOPInstanceUID), film.sha256, score.logit, score.probability))
        if len(known) == FILMS:
            break
    assert len(known) == FILMS, f"only {len(known)} of {MOST} films are uncertain"
    yield known
    shutil.rmtree(folder, ignore_errors=True)


def assert_same(known: list[Known], found: Mapping[str, Mapping[str, Any]], way: str) -> None:
    """Compare a row for each film, by its SOP Instance UID, with the film as it is known."""
    assert found.keys() == {film.sop_uid for film in known}, way
    for film in known:
        row = found[film.sop_uid]
        assert (row["outcome"], row["film_sha256"]) == ("OK", film.film_sha256), (way, row)
        assert abs(row["logit"] - film.logit) <= LOGIT, (way, row, film)
        assert abs(row["probability"] - film.probability) <= PROBABILITY, (way, row, film)


def results(site: Site, *, engine: str, batch: int | None = None) -> dict[str, Mapping[str, Any]]:
    """The results of one batch, or of what was not re-run, by SOP Instance UID."""
    rows = [row for row in site.query("SELECT * FROM result_history") if row["batch_id"] == batch]
    assert {row["engine"] for row in rows} == {engine}
    found = {row["sop_uid"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def classified(site: Site, known: list[Known], paths: Iterable[Path], *options: str) -> dict[str, Mapping[str, Any]]:
    """What `classify` says, by the SOP Instance UID of the film it says it of."""
    uid_of = {str(path): film.sop_uid for film in known for path in (film.picture, film.wrapped)}
    return {uid_of[row["path"]]: row for row in site.json("classify", *paths, *options)}


@contextmanager
def new_site(**env: str) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="auscult-way-", dir="/tmp"))
    yield Site(folder / "home", {"AUSCULT_MODEL": DEFAULT_MODEL} | env)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def on_postgresql(uncertain: list[Known], postgres_server: PostgresServer | ExternalPostgres) -> Iterator[Site]:
    """A site on PostgreSQL that took the wrapped films in from their folder, without a worker."""
    url = postgres_server.create_database()
    with new_site(AUSCULT_DATABASE_URL=url) as site:
        site.run("migrate")
        taken = site.json("ingest", uncertain[0].wrapped.parent)
        assert (taken["registered"], taken["duplicates"]) == (FILMS, 0)
        yield site
    postgres_server.drop_database(url)


def test_pushed_and_rerun_by_workers_on_sqlite(uncertain: list[Known]) -> None:
    with new_site() as site, site.running("up") as up:
        push([film.wrapped for film in uncertain], up.port)
        site.wait_terminal(FILMS)
        assert_same(uncertain, results(site, engine="litert"), "push")
        report = site.json("rerun", "--all", "--why", "the same again")
        assert (report["done"], report["flipped"]) == (FILMS, 0)
        assert_same(uncertain, results(site, engine="litert", batch=report["batch"]), "re-run by workers")


def test_ingested_on_postgresql(uncertain: list[Known], on_postgresql: Site) -> None:
    assert_same(uncertain, results(on_postgresql, engine="litert"), "ingest")


def test_rerun_without_a_worker_on_postgresql(uncertain: list[Known], on_postgresql: Site) -> None:
    report = on_postgresql.json("rerun", "--all", "--why", "litert")
    assert (report["done"], report["flipped"]) == (FILMS, 0)
    assert_same(uncertain, results(on_postgresql, engine="litert", batch=report["batch"]), "re-run")


def test_classified_as_pictures_and_as_dicom_files(uncertain: list[Known]) -> None:
    with new_site() as site:
        pictures = classified(site, uncertain, [film.picture for film in uncertain])
        assert_same(uncertain, pictures, "classify pictures")
        wrapped = classified(site, uncertain, [uncertain[0].wrapped.parent])
        assert_same(uncertain, wrapped, "classify DICOM files")


@pytest.mark.tensorflow
def test_scored_by_keras_in_classify_and_in_a_rerun(uncertain: list[Known], on_postgresql: Site) -> None:
    by_keras = Site(on_postgresql.home, on_postgresql.env | {"AUSCULT_ENGINE": "keras"})
    found = classified(by_keras, uncertain, [film.picture for film in uncertain])
    assert_same(uncertain, found, "classify by Keras")
    report = by_keras.json("rerun", "--all", "--why", "keras")
    assert (report["done"], report["flipped"]) == (FILMS, 0)
    assert_same(uncertain, results(by_keras, engine="keras", batch=report["batch"]), "re-run by Keras")
