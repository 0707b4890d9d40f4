"""LiteRT on the shipped bundle: no TensorFlow is needed and none may be loaded."""

from __future__ import annotations

import dataclasses
import io
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.engine import Classifier, LiteRtEngine, open_engine
from model.errors import EngineError, InputError
from model.labels import Label
from model.logistic import sigmoid
from model.sizes import network_fits
from tests.helpers_bundle import bundle_by_hand, second_bundle, shipped_bundle

ROOT = Path(__file__).parents[2]


class FixedEngine:
    """An engine that answers every film with one logit."""

    def __init__(self, logit: float) -> None:
        self.logit = logit

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return np.full(len(batch), self.logit)


def logit_of(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def films(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.kron(rng.integers(0, 256, (8, 8), dtype=np.uint8), np.ones((32, 32), dtype=np.uint8)) for _ in range(n)]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    bundle = shipped_bundle()
    return Classifier(bundle, open_engine(bundle, "litert"))


def test_a_film_gets_a_probability_a_label_and_the_threshold_it_was_held_against(classifier):
    score = classifier.score(films(1)[0])
    assert score.probability == pytest.approx(1 / (1 + np.exp(-score.logit)))
    assert score.threshold == classifier.bundle.threshold
    assert score.label is (Label.PNEUMONIA if score.probability >= score.threshold else Label.NORMAL)


def test_films_scored_together_score_as_each_by_itself(classifier):
    chosen = films(5)
    assert classifier.score_many(chosen) == [classifier.score(film) for film in chosen]
    assert classifier.score_many([]) == []


def test_films_scored_by_several_threads_are_not_mixed_up(classifier):
    chosen = films(8, seed=1)
    alone = classifier.score_many(chosen)
    found: dict[int, list] = {}

    def work(number: int) -> None:
        found[number] = [classifier.score(film) for film in chosen]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == alone for number in range(4))


def test_a_derived_bundle_gives_the_same_probability_and_another_label_in_between(classifier, tmp_path):
    engine = FixedEngine(0.5 * (logit_of(0.9) + logit_of(classifier.bundle.threshold)))
    first = Classifier(classifier.bundle, engine).score(films(1)[0])
    second = Classifier(second_bundle(tmp_path, threshold=0.9), engine).score(films(1)[0])
    assert second.probability == first.probability
    assert (first.label, second.label) == (Label.PNEUMONIA, Label.NORMAL)


@pytest.mark.parametrize(
    ("logit", "probability"), [(0.0, 0.5), (1000.0, 1.0), (-1000.0, 0.0), (2.0, 0.8807970779778823)]
)
def test_the_sigmoid_does_not_overflow(logit, probability):
    assert sigmoid(logit) == pytest.approx(probability, abs=1e-15)


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_network_that_answers_no_number_is_an_error_and_never_normal(classifier, logit):
    with pytest.raises(EngineError, match="gave no number"):
        Classifier(classifier.bundle, FixedEngine(logit)).score(films(1)[0])


def test_a_film_at_the_threshold_is_pneumonia(classifier):
    bundle = dataclasses.replace(classifier.bundle, threshold=0.5)
    assert Classifier(bundle, FixedEngine(0.0)).score(films(1)[0]).label is Label.PNEUMONIA
    assert Classifier(bundle, FixedEngine(-1e-9)).score(films(1)[0]).label is Label.NORMAL


@pytest.mark.parametrize("shape", [(1, 150, 150), (1, 100, 100, 1), (1, 150, 150, 3)])
def test_an_input_of_another_shape_is_refused(classifier, shape):
    engine = LiteRtEngine(classifier.bundle)
    with pytest.raises(InputError, match=r"\(n, 150, 150, 1\)"):
        engine.logits(np.zeros(shape, dtype=np.float32))
    with pytest.raises(InputError, match="float32"):
        engine.logits(np.zeros((1, 150, 150, 1), dtype=np.float64))


def test_a_network_that_is_none_is_an_engine_error(tmp_path):
    from model.bundle import load_bundle

    bundle = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    with pytest.raises(EngineError, match="LiteRT cannot open the network of hand-1"):
        open_engine(bundle, "litert")


def test_a_network_whose_tensors_ask_for_gigabytes_is_not_opened(classifier, tmp_path):
    bundle = classifier.bundle
    shape, hostile = (struct.pack("<5i", 4, 1, side, side, 1) for side in (bundle.input_size, 60_000))
    network = bundle.litert_path.read_bytes()
    assert network.count(shape) == 1
    (tmp_path / "model.tflite").write_bytes(network.replace(shape, hostile))
    with pytest.raises(EngineError, match="asks for more memory than any may"):
        LiteRtEngine(dataclasses.replace(bundle, path=tmp_path))


@pytest.mark.parametrize("what", ["whole", "claims", "bomb", "none"])
def test_a_keras_network_is_measured_before_it_is_loaded(classifier, tmp_path, what):
    h5py = pytest.importorskip("h5py")
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("kernel", shape=(1 << 21 if what == "claims" else 8, 1024), dtype="f4", chunks=(1, 1024))
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"none" if what == "none" else weights.getvalue())
        if what == "bomb":
            archive.writestr("config.json", bytes(64 << 20))
    assert network_fits(path) is (what == "whole")
    assert network_fits(classifier.bundle.keras_path)


def test_an_unknown_engine_is_refused(classifier):
    with pytest.raises(EngineError, match="use litert or keras"):
        open_engine(classifier.bundle, "onnx")  # type: ignore[arg-type]


MEMORY = """
import sys
import numpy as np
from model.bundle import builtin_folder, load_bundle
from model.engine import Classifier, open_engine

bundle = load_bundle(builtin_folder() / "notebook-1")
classifier = Classifier(bundle, open_engine(bundle, "litert"))
for seed in range(20):
    classifier.score(np.random.default_rng(seed).integers(0, 256, (512, 500), dtype=np.uint8))
heavy = sorted({"tensorflow", "keras", "scipy", "matplotlib"} & {name.partition(".")[0] for name in sys.modules})
mapped = sorted({line.split()[-1] for line in open("/proc/self/maps") if "tensorflow" in line.lower()})
pss = next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))
print(heavy, mapped, pss)
"""


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux' /proc to see memory and libraries"
)
def test_a_process_that_serves_by_litert_is_small_and_maps_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, mapped, pss_kb = done.stdout.rsplit(maxsplit=2)
    assert (heavy, mapped) == ("[]", "[]")
    assert int(pss_kb) < 200_000
