"""What one film costs each shipped bundle to score by LiteRT: input, network and scope, the bundles in turns."""

from __future__ import annotations

import statistics
import sys
import time

from dicom_io.create.phantom import drawn_chests
from model.serving.bundle import builtin_folder, list_bundles
from model.serving.classifier import Classifier
from model.serving.engine import open_engine

ROUNDS = 60
REFERENCE = "notebook-1"


def compare() -> None:
    """Print CPU milliseconds a film, medians, and each bundle's ratio to the reference network."""
    film = next(iter(drawn_chests().values()))
    bundles = list_bundles([builtin_folder()])
    classifiers = {bundle.label: Classifier(bundle, open_engine(bundle, "litert")) for bundle in bundles}
    times: dict[str, list[float]] = {label: [] for label in classifiers}
    for turn in range(ROUNDS + 1):
        for label, classifier in classifiers.items():
            began = time.process_time()
            classifier.score(film)
            if turn:
                times[label].append((time.process_time() - began) * 1000)
    medians = {label: statistics.median(values) for label, values in times.items()}
    for label, median in medians.items():
        ratio = median / medians[REFERENCE]
        sys.stdout.write(f"{label:12} {median:6.2f} CPU ms a film, median of {ROUNDS}; {ratio:.2f} of {REFERENCE}\n")
