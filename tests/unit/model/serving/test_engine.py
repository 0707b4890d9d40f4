"""LiteRT on the shipped bundle: no TensorFlow is needed and none may be loaded."""

from __future__ import annotations

import dataclasses
import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.errors import EngineError, InputError
from model.serving.bundle import Bundle, load_bundle
from model.serving.engine import LiteRtEngine, open_engine
from model.serving.sizes import network_fits
from tests.support.documents import ROOT
from tests.support.helpers_bundle import bundle_by_hand, shipped_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return shipped_bundle()


@pytest.mark.parametrize("shape", [(1, 150, 150), (1, 100, 100, 1), (1, 150, 150, 3)])
def test_an_input_of_another_shape_is_refused(bundle, shape):
    engine = LiteRtEngine(bundle)
    with pytest.raises(InputError, match=r"\(n, 150, 150, 1\)"):
        engine.logits(np.zeros(shape, dtype=np.float32))
    with pytest.raises(InputError, match="float32"):
        engine.logits(np.zeros((1, 150, 150, 1), dtype=np.float64))


def test_a_file_that_is_not_a_network_is_an_engine_error(tmp_path):
    bundle = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    with pytest.raises(EngineError, match="LiteRT cannot open the network of hand-1"):
        open_engine(bundle, "litert")


def test_a_network_whose_tensors_ask_for_gigabytes_is_not_opened(bundle, tmp_path):
    shape, hostile = (struct.pack("<5i", 4, 1, side, side, 1) for side in (bundle.input_size, 60_000))
    network = bundle.litert_path.read_bytes()
    assert network.count(shape) == 1
    (tmp_path / "model.tflite").write_bytes(network.replace(shape, hostile))
    with pytest.raises(EngineError, match="asks for more memory than any may"):
        LiteRtEngine(dataclasses.replace(bundle, path=tmp_path))


@pytest.mark.parametrize("what", ["whole", "claims", "bomb", "none"])
def test_a_keras_network_is_measured_before_it_is_loaded(bundle, tmp_path, what):
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
    assert network_fits(bundle.keras_path)


def test_an_unknown_engine_is_refused(bundle):
    with pytest.raises(EngineError, match="use litert or keras"):
        open_engine(bundle, "onnx")  # type: ignore[arg-type]


MEMORY = """
import sys
import numpy as np
from model.serving.bundle import builtin_folder, load_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine

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
