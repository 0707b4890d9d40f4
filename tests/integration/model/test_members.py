"""Members of a residual network, trained fold by fold on drawn films, killed on the way, and served as one bundle."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model.augmentation.perturb import PERTURBATIONS, Role
from model.config import OperatingPointRule
from model.data.dataset import read_picture, scan_folder
from model.evaluation.stress_bundle import ScoredBy, stress_films, stress_kept
from model.labels import Band, Label
from model.operating.calibration import fit_bands, fit_calibration, threshold_of
from model.operating.stress_table import read_stressed
from model.serving.bundle import derive
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from model.serving.manifest import read_manifest, read_validation
from model.statistics.intervals import wilson
from model.training.export import export_run, train_bundle
from model.training.run import read_state
from model.training.train import train
from tests.support.documents import ROOT
from tests.support.helpers_bundle import drawn_film, drawn_folder, residual_config

if TYPE_CHECKING:
    from model.serving.bundle import Bundle
    from model.training.train import Progress

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Keras' variables under NumPy 2, and what its exporter says of itself.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
CONFIG = residual_config()
PATIENTS = 80
FILMS = 2 * 2 * PATIENTS  # of each label, two each

CHILD = """
import sys, threading
from pathlib import Path
from model.data.dataset import read_picture, scan_folder
from model.training.train import train
from tests.support.helpers_bundle import residual_config

def progress(step):
    if (step.member, step.epoch, step.batch) == (2, 3, 2):
        print("hanging", flush=True)
        threading.Event().wait()

train(residual_config(), scan_folder(Path(sys.argv[1])), Path(sys.argv[2]), progress)
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return drawn_folder(tmp_path_factory.mktemp("films") / "train", patients=PATIENTS)


@pytest.fixture(scope="module")
def killed(films, tmp_path_factory) -> Path:
    """A run that was killed while its second member was in its third epoch, the first of the larger input."""
    run = tmp_path_factory.mktemp("runs") / "killed"
    command = [sys.executable, "-c", CHILD, str(films), str(run)]
    log = run.with_suffix(".log")
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n", log.read_text(errors="replace")
        process.send_signal(signal.SIGKILL)
    return Path(run)


@pytest.fixture(scope="module")
def bundle(films, tmp_path_factory) -> Bundle:
    """What an unbroken run comes to."""
    seen: list[Progress] = []
    run = tmp_path_factory.mktemp("runs") / "whole"
    found = train_bundle(CONFIG, scan_folder(films), run, seen.append)
    ends = [(step.member, step.epoch) for step in seen if step.batch == step.batches]
    assert ends == [(member, epoch) for member in (1, 2) for epoch in range(1, 6)]
    assert seen[-1].batches_done == seen[-1].batches_in_all == len(seen)
    return found


def test_a_run_killed_in_its_second_member_goes_on_there(killed, bundle, films):
    before = [read_state(killed / f"member-{number}") for number in (1, 2)]
    assert [state and state.epochs_done for state in before] == [5, 2]
    train(CONFIG, scan_folder(films), killed)
    for number, earlier in enumerate(before, start=1):
        after = read_state(killed / f"member-{number}")
        unbroken = read_state(bundle.path.parent / f"member-{number}")
        assert earlier is not None
        assert after is not None
        assert unbroken is not None
        assert after.history[: earlier.epochs_done] == earlier.history
        assert [record.epoch for record in after.history] == [1, 2, 3, 4, 5]
        assert after.best_epoch == 5  # keep_best is "last"
        assert after.git_revision
        rates = [[record.learning_rate for record in state.history] for state in (after, unbroken)]
        assert rates[0] == pytest.approx(rates[1])
        # The films, their order and their variants are the same as without the kill; so is the outcome, averages too.
        for field in ("loss", "validation_loss"):
            losses = [[getattr(record, field) for record in state.history] for state in (after, unbroken)]
            assert losses[0] == pytest.approx(losses[1], rel=0.05, abs=0.02)


def test_members_saw_other_films_and_together_validate_with_each_once(bundle):
    assert len(read_validation(bundle.path / "validation.csv")[0]) == FILMS
    manifest = read_manifest(bundle.path)
    assert manifest["training_data"]["folds"] == 2
    assert manifest["training_data"]["validation_films"] == manifest["training_data"]["films"] == FILMS
    assert len(manifest["training"]["members"]) == 2
    digests, bounds = set(), []
    for number in (1, 2):
        folder = bundle.path.parent / f"member-{number}"
        state = read_state(folder)
        assert state is not None
        digests.add(state.split_digest)
        bounds.append(json.loads((folder / "configuration.json").read_text(encoding="utf-8"))["member_style_bound"])
    assert len(digests) == 2
    assert bounds == [0.0, 10.0]


def test_the_bundle_tells_drawn_films_apart(bundle):
    assert bundle.metrics.n == FILMS
    assert bundle.metrics.auc > 0.95
    assert bundle.input_size == 112


def test_calibration_threshold_and_bands_are_those_of_the_held_out_films(bundle):
    targets, logits = read_validation(bundle.path / "validation.csv")
    calibration = fit_calibration(targets, logits)
    assert bundle.calibration is not None
    assert bundle.calibration.slope == pytest.approx(calibration.slope)
    assert bundle.calibration.intercept == pytest.approx(calibration.intercept)
    probabilities = bundle.calibration.probabilities(logits)
    assert CONFIG.operating_point is not None
    assert CONFIG.operating_point.sensitivity is not None
    assert bundle.threshold == threshold_of(targets, probabilities, CONFIG.operating_point.sensitivity)
    assert (probabilities[targets == 1] >= bundle.threshold).mean() >= CONFIG.operating_point.sensitivity
    assert bundle.bands is not None
    assert bundle.bands.low <= bundle.threshold <= bundle.bands.high
    assert sum(found.films for found in bundle.bands.observed.values()) == FILMS


def test_the_figures_of_the_manifest_are_there(bundle):
    manifest = read_manifest(bundle.path)
    rows = {row["kind"]: row for row in manifest["kinds"]}
    assert sum(row["films"] for row in rows.values()) == FILMS
    assert all(
        row["right_ci"] == list(wilson(round(row["right"] * row["films"]), row["films"])) for row in rows.values()
    )
    assert 0.5 < manifest["style"]["auc"] <= 1
    assert 0 <= manifest["scope_refused_share"] <= 0.01
    assert manifest["explanation"]["films"] == 64
    assert manifest["explanation"]["map_difference"] <= 1e-4
    assert manifest["engine_difference"]["logit"] <= 1e-4
    assert len(manifest["stress"]["rows"]) == len(PERTURBATIONS)
    assert manifest["stress"]["rows"][0]["sensitivity"] == bundle.metrics.sensitivity
    assert "Not a medical device" in bundle.card_path.read_text(encoding="utf-8")


def test_a_score_has_a_calibrated_probability_a_band_and_an_unlikeness(bundle):
    classifier = Classifier(bundle, open_engine(bundle, "litert"))
    chests = [drawn_film(label, seed) for label in Label for seed in range(900, 920)]
    noise = np.random.default_rng(1).integers(0, 256, (200, 200), dtype=np.uint8)
    scores = classifier.score_many(chests)
    assert bundle.calibration is not None
    assert bundle.bands is not None
    for score in scores:
        logit = bundle.calibration.slope * score.logit + bundle.calibration.intercept
        assert score.probability == pytest.approx(1 / (1 + np.exp(-logit)))
        assert score.label is Label.of(score.probability, bundle.threshold)
        assert score.band is bundle.bands.band(score.probability)
        assert (score.band, score.label) not in ((Band.LOW, Label.PNEUMONIA), (Band.HIGH, Label.NORMAL))
    assert np.mean([(score.unlikeness or 0) <= 1 for score in scores]) > 0.9
    assert (classifier.score(noise).unlikeness or 0) > 1


def test_litert_and_keras_agree_on_a_bundle_of_members(bundle):
    rng = np.random.default_rng(5)
    films = [drawn_film(label, seed, 150) for label in Label for seed in range(700, 712)]
    films += [np.kron(rng.integers(0, 256, (9, 9), dtype=np.uint8), np.ones((30, 30), np.uint8)) for _ in range(12)]
    scores = [Classifier(bundle, open_engine(bundle, kind)).score_many(films) for kind in ("litert", "keras")]
    logits, probabilities = (
        np.array([[getattr(score, field) for score in engine] for engine in scores])
        for field in ("logit", "probability")
    )
    steep = np.abs(logits[0]) <= 10
    assert steep.sum() > 5
    assert np.abs(logits[0] - logits[1])[steep].max() <= 1e-4
    assert np.abs(probabilities[0] - probabilities[1]).max() <= 1e-5


def test_the_served_network_is_float32_and_of_keras_own_layers(bundle):
    import keras

    network = keras.saving.load_model(bundle.keras_path, compile=False)
    assert all(type(layer).__module__.startswith("keras.") for layer in network.layers)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert network.input_shape == (None, 112, 112, 1)


def test_a_bundle_with_another_threshold_has_fitting_bands(bundle, tmp_path):
    stressed = read_stressed(bundle.path / "stress.npz")
    assert bundle.calibration is not None
    fitted = bundle.calibration.probabilities(stressed.of(Role.FIT))
    for version, threshold in (("2", 0.0005), ("3", 0.5), ("4", 0.9995)):
        other = derive(bundle, tmp_path / version, name="drawn", version=version, threshold=threshold)
        assert other.threshold == threshold
        assert other.bands == fit_bands(stressed.targets, fitted, threshold, stressed.children)
        assert other.bands.low <= threshold <= other.bands.high
        assert other.calibration == bundle.calibration
        assert other.scope is not None
        assert other.digest != bundle.digest
        assert other.weights_sha256 == bundle.weights_sha256


def test_the_stress_table_is_the_same_from_the_bundle_and_from_the_films_by_their_members(bundle, films):
    kept = stress_kept(bundle)
    shown = stress_films(bundle, scan_folder(films), read_picture, "litert")
    assert kept is not None
    assert (kept.judged, shown.judged) == (ScoredBy.KEPT, ScoredBy.HELD_OUT)
    assert (kept.seen, shown.seen) == (0, 0)
    for one, other in zip(kept.table["rows"], shown.table["rows"], strict=True):
        assert (one["name"], one["role"]) == (other["name"], other["role"])
        assert one["auc"] == pytest.approx(other["auc"], abs=1e-4)
        assert one["sensitivity"] == pytest.approx(other["sensitivity"], abs=0.01)


def test_other_films_are_judged_by_the_network_as_it_serves_and_counted_where_it_knows_them(bundle, films):
    some = [picture for picture in scan_folder(films) if picture.patient in {"0001", "1"}]
    shown = stress_films(bundle, some, read_picture, "litert")
    assert (shown.judged, shown.seen) == (ScoredBy.SERVED, len(some))


def test_a_finished_run_is_exported_again_by_the_rule_even_without_training_again(bundle, films, tmp_path):
    config = dataclasses.replace(CONFIG, version="10", operating_point=OperatingPointRule(rule="even"))
    other = export_run(config, scan_folder(films), bundle.path.parent, tmp_path / "drawn-10")
    stressed = read_stressed(bundle.path / "stress.npz")
    assert other.threshold == 0.5
    assert other.calibration is not None
    assert other.calibration.slope == pytest.approx(fit_calibration(*stressed.pooled(Role.FIT)).slope, rel=1e-3)
    card = other.card_path.read_text(encoding="utf-8")
    assert "Rows that check: " in card
