"""What is on record about a bundle, and that it is asked about before the bundle becomes active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from model.data.dataset import Picture
from model.data.film_digests import picture_digest
from model.evaluation.scoring import ScoredFilm
from model.labels import Label
from model.serving.classifier import Score
from model.serving.manifest import SEEN_FILE
from model.serving.seen import digests_of, seen_in_training
from tests.support.helpers_bundle import bundle_by_hand, drawn_film, second_bundle, shipped_bundle
from worker.cli.command import app
from worker.database import open_database
from worker.db.tasks.shadow import ShadowComparison
from worker.errors import UsageError
from worker.models import track_record as evidence
from worker.models.active import active_model, ensure_active_model
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.database import Database
    from worker.settings import Settings

pytestmark = pytest.mark.integration


def scored_films(folder: Path, *, wrong: int, of: int = 10) -> list[ScoredFilm]:
    """Films of both labels, of which so many ill ones are called normal."""
    films = []
    for number in range(of * 2):
        label = Label.PNEUMONIA if number % 2 else Label.NORMAL
        called = Label.NORMAL if number % 2 and number // 2 < wrong else label
        probability = 0.8 if called is Label.PNEUMONIA else 0.2
        picture = Picture(folder / f"{number}.png", label, label.value, str(number))
        films.append(ScoredFilm(picture, Score(probability, 0.0, 0.5, called), 10, 10, *[f"{number:064x}"] * 2))
    return films


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUSCULT_MODEL", "notebook-1")
    return load_settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database in which notebook-1 is active."""
    opened = open_database(settings)
    ensure_active_model(settings, opened)
    yield opened
    opened.dispose()


def test_an_evaluation_is_kept_once_for_a_set_of_films_and_for_this_very_bundle(
    settings: Settings, tmp_path: Path
) -> None:
    bundle = shipped_bundle()
    evidence.record(settings, bundle, scored_films(tmp_path, wrong=2), 0)
    evidence.record(settings, bundle, scored_films(tmp_path, wrong=1), None)
    evidence.record(settings, bundle, scored_films(tmp_path, wrong=0, of=4), 3)
    first, second = evidence.on_record(settings, bundle)
    assert (first.n, first.sensitivity, first.specificity, first.seen_in_training) == (20, 0.9, 1.0, None)
    assert (second.n, second.seen_in_training) == (8, 3)
    path = settings.home / "evaluations" / "notebook-1.json"
    assert ".png" not in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(bundle.digest, "0" * 64), encoding="utf-8")
    assert evidence.on_record(settings, bundle) == []
    path.write_text("[", encoding="utf-8")
    assert evidence.on_record(settings, bundle) == []


def test_what_speaks_against_a_bundle_is_told_with_its_figures(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    good = second_bundle(settings.home / "models", version="2", threshold=0.6)
    bad = second_bundle(settings.home / "models", version="3", threshold=0.99)
    assert evidence.against(settings, database, shipped_bundle()) == [], "it is active"
    assert evidence.against(settings, database, good) == []
    (doubt,) = evidence.against(settings, database, bad)
    assert "in its own validation it was worse than notebook-1: balanced accuracy" in doubt
    evidence.record(settings, good, scored_films(tmp_path, wrong=3), 0)
    (doubt,) = evidence.against(settings, database, good)
    assert doubt.startswith("on 20 films it was worse than in its own validation: ")
    assert "sensitivity 0.700, not 0.945" in doubt
    evidence.record(settings, shipped_bundle(), scored_films(tmp_path, wrong=2), 0)
    (doubt,) = evidence.against(settings, database, good)
    assert "on the same 20 films it was worse than notebook-1: " in doubt
    assert "sensitivity 0.700, not 0.800" in doubt


def comparison(active: str, **counts: int) -> ShadowComparison:
    values = dict.fromkeys(ShadowComparison.__dataclass_fields__, 0) | {"films": 100, "compared": 100, "agree": 100}
    return ShadowComparison(**{**values, **counts, "active": active, "shadow": "notebook-2"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (comparison("notebook-1"), []),
        (comparison("notebook-1", agree=91), []),
        (comparison("notebook-1", agree=80, only_shadow_pneumonia=20), ["to 20 of 100 films (20 more and 0 fewer"]),
        (comparison("notebook-1", compared=90, agree=90, only_active_answered=8), ["left 8 of 100 films unanswered"]),
        (comparison("auscult-1", agree=0), []),
    ],
)
def test_a_shadow_that_answered_otherwise_speaks_against_it(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, found: ShadowComparison, words: list[str]
) -> None:
    monkeypatch.setattr(evidence, "compare", lambda _session, _bundle: [found])
    doubts = evidence.against(settings, database, second_bundle(settings.home / "models", threshold=0.6))
    assert len(doubts) == len(words)
    assert all(word in doubt for word, doubt in zip(words, doubts, strict=True))


def test_activation_asks_where_something_speaks_against_the_bundle(settings: Settings, database: Database) -> None:
    second_bundle(settings.home / "models", version="2", threshold=0.6)
    second_bundle(settings.home / "models", version="3", threshold=0.99)
    run = CliRunner().invoke
    refused = run(app, ["model", "activate", "notebook-3"])
    assert isinstance(refused.exception, UsageError)
    assert "this is evidence against notebook-3: in its own validation" in str(refused.exception)
    assert run(app, ["model", "activate", "notebook-2"]).exit_code == 0, "nothing to ask"
    assert run(app, ["model", "activate", "notebook-3", "--yes"]).exit_code == 0
    assert active_model(settings, database) == "notebook-3"


def test_films_of_the_training_data_are_known_by_pixels_and_public_names_by_name(tmp_path: Path) -> None:
    films = {
        tmp_path / "JANE DOE.png": drawn_film(Label.NORMAL, 1),
        tmp_path / "IM-0001-0001.png": drawn_film(Label.NORMAL, 2),
    }
    pictures = [Picture(path, Label.NORMAL, "IM", "1") for path in films]
    bundle = bundle_by_hand(tmp_path / "hand-1")
    assert seen_in_training(bundle, []) is None, "it does not say"
    rows = digests_of(pictures, films.__getitem__)
    assert (rows.shape, str(rows.dtype), int((rows[:, 1] == 0).sum())) == ((2, 2), "uint64", 1)
    path = tmp_path / "hand-2"
    path.mkdir()
    np.save(path / SEEN_FILE, rows)
    bundle_by_hand(path, version="2")
    (jane, _), other = films.values(), drawn_film(Label.NORMAL, 3)
    shown = {
        tmp_path / "renamed.png": jane,
        tmp_path / "JANE DOE.png": other,
        tmp_path / "IM-0001-0001.jpeg": other,
        tmp_path / "IM-0002-0001.png": other,
    }
    assert [seen_in_training(path, [(name, picture_digest(film))]) for name, film in shown.items()] == [1, 0, 1, 0]


def test_the_shipped_bundles_know_the_public_training_films(tmp_path: Path) -> None:
    digest = picture_digest(drawn_film(Label.NORMAL, 1))
    films = [(tmp_path / name, digest) for name in ("IM-0411-0001.jpeg", "NORMAL2-IM-1427-0001.jpeg")]
    for bundle in (shipped_bundle(), second_bundle(tmp_path)):
        assert seen_in_training(bundle.path, films) == 1, "one of training, one of validation"
