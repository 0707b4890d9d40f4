"""One uncompressed 2500x2048 film to a probability: Auscult's pipeline against the obvious way."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import dcmread

from dicom_io.create.phantom import demo_studies
from dicom_io.film.film import film_of_dicom
from dicom_io.header.reader import read_facts
from model.serving.bundle import builtin_folder, find_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.judging.pipeline import judge_film

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    from dicom_io.header.facts import Facts

ROUNDS = 9
ROWS, COLUMNS = 2500, 2048


def large_film(folder: Path) -> Path:
    """A drawn chest at 2500x2048, 12 bit in 16, uncompressed, with a window: 10 MB, as a detector sends it."""
    ds: Dataset = next(iter(demo_studies())).dataset
    small = ds.pixel_array.astype(np.float32)
    rows = np.linspace(0, small.shape[0] - 1, ROWS).round().astype(int)
    columns = np.linspace(0, small.shape[1] - 1, COLUMNS).round().astype(int)
    noise = np.random.default_rng(1).normal(0, 8, (ROWS, COLUMNS))
    pixels = np.clip(small[np.ix_(rows, columns)] + noise, 0, 4095).astype(np.uint16)
    ds.Rows, ds.Columns, ds.PixelData = ROWS, COLUMNS, pixels.tobytes()
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    path = folder / "large.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def compare() -> None:
    """Time both ways in turns and print CPU milliseconds a film, medians, and their ratio."""
    bundle = find_bundle("notebook-1", [builtin_folder()])
    with tempfile.TemporaryDirectory() as folder:
        path = large_film(Path(folder))
        classifier = Classifier(bundle, open_engine(bundle, "litert"))
        obvious = obvious_way(bundle.keras_path, bundle.input_size)

        def ours() -> float:
            facts: Facts = read_facts(path)
            score = judge_film(classifier, facts, lambda: film_of_dicom(path)).score
            return score.probability if score else float("nan")

        ways: dict[str, Callable[[], float]] = {"Auscult": ours, "obvious way": lambda: obvious(path)}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(ROUNDS + 1):
            for name, way in ways.items():
                began = time.process_time()
                way()
                if turn:
                    times[name].append((time.process_time() - began) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        spread = f"{min(times[name]):.0f} to {max(times[name]):.0f}"
        sys.stdout.write(f"{name:12} {median:7.1f} CPU ms a film, median of {ROUNDS} ({spread})\n")
    sys.stdout.write(f"ratio obvious / Auscult: {medians['obvious way'] / medians['Auscult']:.1f}\n")


def obvious_way(network_path: Path, size: int) -> Callable[[Path], float]:
    """pydicom's pixel_array, apply_voi_lut, a resize, model.predict one by one: what a first script would do."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    from PIL import Image
    from pydicom.pixels import apply_voi_lut

    network = keras.saving.load_model(network_path, compile=False)

    def answer(path: Path) -> float:
        ds = dcmread(path)
        shown = apply_voi_lut(ds.pixel_array, ds).astype(np.float32)
        shown = (shown - shown.min()) / (shown.max() - shown.min())
        if ds.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        small = Image.fromarray((shown * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
        batch = np.asarray(small, dtype=np.float32)[None, :, :, None] / 255
        return float(np.ravel(network.predict(batch, verbose=0))[0])

    return answer
