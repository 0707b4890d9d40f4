"""What one film costs each shipped bundle to score: input, network and scope, beside the network alone, in turns.

The network alone is LiteRT's ``invoke`` with one thread, input and output where they are: what ``litert-benchmark`` times.
That tool tells wall time only, so it measures nothing on a busy machine, and it cannot run a network one of whose outputs
is another one (`auscult-2`). It runs networks by LiteRT's ``CompiledModel``, which takes the same CPU time.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from dicom_io.create.phantom import drawn_chests
from model.preprocess import to_input
from model.serving.bundle import builtin_folder, list_bundles
from model.serving.classifier import Classifier
from model.serving.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.serving.bundle import Bundle

ROUNDS = 60
REFERENCE = "notebook-1"
#: A film is meant to cost at most so many times the network alone.
TARGET = 1.3


def compare() -> None:
    """Print CPU milliseconds a film, medians, each bundle's ratio to its network alone and to the reference network."""
    # of the size of a film: what is left of a picture of 1024 x 1024 pixels
    film = np.asarray(Image.fromarray(next(iter(drawn_chests().values()))).reduce(4))
    bundles = list_bundles([builtin_folder()])
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    for bundle in bundles:
        ways[bundle.label, "alone"] = _alone(bundle, film)
        ways[bundle.label, "score"] = _scoring(bundle, film)
    times: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if turn:
                times[name].append((time.process_time() - began) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    sys.stdout.write(
        f"CPU ms a film, medians of {ROUNDS} rounds in turns; target: at most {TARGET} of the network alone\n"
    )
    for bundle in bundles:
        score, alone = medians[bundle.label, "score"], medians[bundle.label, "alone"]
        reference = medians[REFERENCE, "score"]
        sys.stdout.write(
            f"{bundle.label:12} score {score:6.2f}; network alone {alone:6.2f}, ratio {score / alone:.2f}; "
            f"{score / reference:.2f} of {REFERENCE}\n"
        )


def _scoring(bundle: Bundle, film: NDArray[np.uint8]) -> Callable[[], object]:
    classifier = Classifier(bundle, open_engine(bundle, "litert"))
    return lambda: classifier.score(film)


def _alone(bundle: Bundle, film: NDArray[np.uint8]) -> Callable[[], object]:
    interpreter = Interpreter(model_path=str(bundle.litert_path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], to_input(film, bundle.input_size)[None])
    run: Callable[[], object] = interpreter.invoke
    return run
