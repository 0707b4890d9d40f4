"""Training by the real programs on drawn films: a bundle comes out, also when the process is killed on the way."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model.config import NetworkSpec, TrainingStage, config_path, load_config
from model.data.dataset import read_picture, scan_folder
from model.errors import BundleError, ExportError, TrainingError
from model.evaluation.scoring import evaluate_films, score_pictures
from model.serving.bundle import load_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from model.training.export import export_run, train_bundle
from model.training.run import read_state
from tests.support.documents import ROOT
from tests.support.helpers_bundle import drawn_folder, shipped_bundle

if TYPE_CHECKING:
    from model.training.train import Progress

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # Keras' variables under NumPy 2, and what its exporter says of itself.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SMALL = dataclasses.replace(
    load_config(config_path("notebook-1")),
    name="drawn",
    stages=(TrainingStage(32, 4),),
    batch_size=8,
    validation_share=0.25,
    settle_films=16,
)

CHILD = """
import dataclasses, sys, threading
from pathlib import Path
from model.config import TrainingStage, config_path, load_config
from model.data.listing import scan
from model.training.train import train

data, out, hang_in_epoch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = dataclasses.replace(
    load_config(config_path("notebook-1")),
    name="drawn", stages=(TrainingStage(32, 4),), batch_size=8, validation_share=0.25, settle_films=16,
)

def progress(step):
    if step.epoch == hang_in_epoch and step.batch == 2:
        print("hanging", flush=True)
        threading.Event().wait()

train(config, scan(data), out, progress)
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return drawn_folder(tmp_path_factory.mktemp("films") / "train", patients=16)


def start(films: Path, run: Path, hang_in_epoch: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(films), str(run), str(hang_in_epoch)]
    with log_of(run).open("ab") as said:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True)


def log_of(run: Path) -> Path:
    return run.with_suffix(".log")


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory) -> Path:
    """A run folder with its bundle, made by the function that the command calls."""
    run = tmp_path_factory.mktemp("runs") / "drawn"
    seen: list[Progress] = []
    bundle = train_bundle(SMALL, scan_folder(films), run, seen.append)
    assert bundle.path == run / "drawn-1"
    assert [step.epoch for step in seen if step.batch == step.batches] == [1, 2, 3, 4]
    return Path(run)


def test_a_run_that_is_killed_goes_on_after_its_last_whole_epoch(films, trained, tmp_path):
    killed = start(films, tmp_path / "killed", hang_in_epoch=3)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "hanging\n", log_of(tmp_path / "killed").read_text(errors="replace")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    before = read_state(tmp_path / "killed")
    assert before is not None
    assert before.epochs_done == 2

    again = start(films, tmp_path / "killed", hang_in_epoch=0)
    again.communicate(timeout=240)
    assert again.returncode == 0, log_of(tmp_path / "killed").read_text(errors="replace")
    after, unbroken = read_state(tmp_path / "killed"), read_state(trained)
    assert after is not None
    assert unbroken is not None
    assert [record.epoch for record in after.history] == [1, 2, 3, 4]
    assert after.history[:2] == before.history
    # The films, their order and their variants are the same as without the kill; so is the outcome.
    assert after.learning_rate == unbroken.learning_rate
    losses = [[record.loss for record in state.history] for state in (after, unbroken)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_ends_in_a_bundle_that_tells_drawn_films_apart(trained, films):
    bundle = load_bundle(trained / "drawn-1")
    assert bundle.metrics.n == 16
    assert bundle.metrics.auc > 0.9
    classifier = Classifier(bundle, open_engine(bundle, "litert"))
    (answers,) = score_pictures([classifier], scan_folder(films))
    found = evaluate_films(answers, bundle.name, bundle.version)
    assert found.n == 64
    assert found.auc > 0.9
    card = bundle.card_path.read_text(encoding="utf-8")
    assert f"16 films, threshold {bundle.threshold}." in card
    assert "48 films to train on and 16 to validate with" in card


def test_the_keras_file_holds_no_optimiser(trained):
    import keras

    network = keras.saving.load_model(trained / "drawn-1" / "model.keras")
    assert getattr(network, "optimizer", None) is None


def test_a_finished_run_with_its_bundle_is_not_overwritten(trained, films):
    with pytest.raises(BundleError, match="exists already"):
        train_bundle(SMALL, scan_folder(films), trained)


def test_a_finished_run_is_exported_again_under_a_new_version_without_training(trained, films, tmp_path):
    renamed = dataclasses.replace(SMALL, version="2", threshold=0.7)
    bundle = export_run(renamed, scan_folder(films), trained, tmp_path / "drawn-2")
    first = load_bundle(trained / "drawn-1")
    assert (bundle.label, bundle.threshold) == ("drawn-2", 0.7)
    logits = [np.loadtxt(each.path / "validation.csv", delimiter=",", skiprows=1)[:, 1] for each in (bundle, first)]
    assert np.array_equal(logits[0], logits[1])


def test_a_run_of_another_configuration_or_other_films_is_not_continued(trained, films, tmp_path):
    from model.training.train import train

    other = dataclasses.replace(SMALL, seed=99)
    with pytest.raises(TrainingError, match="another configuration"):
        train(other, scan_folder(films), trained)
    with pytest.raises(TrainingError, match="other films"):
        train(SMALL, scan_folder(drawn_folder(tmp_path / "others", patients=12)), trained)
    with pytest.raises(ExportError, match="another configuration"):
        export_run(other, scan_folder(films), trained, tmp_path / "drawn-9")


def test_a_network_that_starts_from_imagenet_tells_films_apart_after_one_epoch(films, tmp_path):
    from model.training.train import train

    config = load_config(config_path("auscult-2"))
    short = dataclasses.replace(
        config,
        name="drawn",
        stages=(TrainingStage(64, 1),),
        batch_size=16,
        restyle=None,
    )
    (state,) = train(short, scan_folder(films), tmp_path / "run")
    assert state.history[0].validation_auc > 0.9


def test_an_empty_run_is_not_exported(films, tmp_path):
    with pytest.raises(ExportError, match="train first"):
        export_run(SMALL, scan_folder(films), tmp_path, tmp_path / "drawn-9")


def test_litert_and_keras_give_the_shipped_network_the_same_logits():
    bundle = shipped_bundle()
    rng = np.random.default_rng(5)
    films = [
        np.kron(rng.integers(0, 256, (9, 9), dtype=np.uint8), np.ones((30, 30), dtype=np.uint8)) for _ in range(32)
    ]
    scores = [Classifier(bundle, open_engine(bundle, kind)).score_many(films) for kind in ("litert", "keras")]
    logits, probabilities = (
        [np.array([getattr(score, field) for score in engine]) for engine in scores]
        for field in ("logit", "probability")
    )
    steep = np.abs(logits[0]) <= 10
    assert np.abs(logits[0] - logits[1])[steep].max(initial=0) <= 1e-4
    assert np.abs(probabilities[0] - probabilities[1]).max() <= 1e-5


@pytest.mark.data
def test_litert_and_keras_agree_on_real_films_whose_answer_is_open(test_data):
    bundle = shipped_bundle()
    engines = {kind: Classifier(bundle, open_engine(bundle, kind)) for kind in ("litert", "keras")}
    checked = 0
    for picture in scan_folder(test_data / "chest_xray" / "train")[::3]:
        film = read_picture(picture.path)
        score = engines["litert"].score(film)
        if not 0.05 <= score.probability <= 0.95:
            continue
        other = engines["keras"].score(film)
        assert other.logit == pytest.approx(score.logit, abs=1e-4)
        assert other.probability == pytest.approx(score.probability, abs=1e-5)
        checked += 1
        if checked == 32:
            break
    assert checked == 32


def test_settled_statistics_are_those_of_the_films():
    import keras

    from model.network.kinds import build_network
    from model.preprocess import scale
    from model.training.batch_norm import settle_statistics

    network = build_network(NetworkSpec("notebook"), 32)
    pixels = np.random.default_rng(6).integers(0, 256, (40, 32, 32), dtype=np.uint8)
    settle_statistics(network, pixels)
    normalisations = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(normalisations) == 5
    for layer in normalisations:
        values = keras.Model(network.input, layer.output)(scale(pixels)[..., np.newaxis], training=False)
        flat = np.asarray(values).reshape(-1, values.shape[-1])
        assert np.abs(flat.mean(axis=0)).max() < 1e-3


def test_the_reference_network_has_the_notebooks_layers():
    from model.network.kinds import build_network

    network = build_network(NetworkSpec("notebook"), 150)
    kinds = [type(layer).__name__ for layer in network.layers]
    plain, dropped = (
        ["Conv2D", "BatchNormalization", "MaxPooling2D"],
        ["Conv2D", "Dropout", "BatchNormalization", "MaxPooling2D"],
    )
    assert kinds == ["InputLayer", *plain, *dropped, *plain, *dropped, *dropped, "Flatten", "Dense", "Dropout", "Dense"]
    convolutions = [layer for layer in network.layers if type(layer).__name__ == "Conv2D"]
    assert [layer.filters for layer in convolutions] == [32, 64, 64, 128, 256]
    assert [layer.rate for layer in network.layers if type(layer).__name__ == "Dropout"] == [0.1, 0.2, 0.2, 0.2]
    assert network.output_shape == (None, 1)
    assert network.count_params() == 1_246_401
