"""Engines run a bundle's network; a classifier turns a film into a score.

LiteRT serves on a CPU: 0.05 s to open and no TensorFlow in the process. Keras serves where there is a
GPU and is what LiteRT is compared with. Open an engine in the process that uses it, never before a fork:
TensorFlow that was touched in the parent hangs in the child.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from model.calibrate import UNCALIBRATED
from model.errors import EngineError, InputError
from model.labels import Label
from model.preprocess import to_input
from model.sizes import network_fits, tensors_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from model.bundle import Bundle
    from model.labels import Band

EngineKind = Literal["litert", "keras"]
#: LiteRT's C++ code begins a note so ("INFO: Created TensorFlow Lite XNNPACK delegate"); no setting turns them off.
_NOTE = b"INFO: "


@dataclass(frozen=True, slots=True)
class Score:
    """One film's answer.

    ``probability`` of pneumonia in [0, 1], calibrated where the bundle has a calibration; ``logit`` as the network
    gave it; the label at ``threshold``; the ``band`` of the probability, where the bundle has bands; and
    ``unlikeness``, how unlike the training films the film is: 0 or more, above 1 out of the network's scope, None
    where the bundle cannot tell.
    """

    probability: float
    logit: float
    threshold: float
    label: Label
    band: Band | None = None
    unlikeness: float | None = None


class NetworkFiles(Protocol):
    """What an engine needs to know of a bundle; an export has it before the bundle is whole."""

    @property
    def label(self) -> str:
        """How the network is called in messages."""

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""

    @property
    def keras_path(self) -> Path:
        """The network for Keras."""

    @property
    def litert_path(self) -> Path:
        """The network for LiteRT."""


class Engine(Protocol):
    """Runs a network."""

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of pneumonia, shape (n,), of inputs of shape (n, size, size, 1) in [0, 1]."""


@contextmanager
def _without_notes() -> Iterator[None]:
    """Leave out what LiteRT says for its own sake; whatever else is written to stderr meanwhile comes a moment later."""
    try:
        kept, stderr = tempfile.TemporaryFile(), os.dup(2)  # noqa: SIM115 - closed below
    except OSError:
        yield
        return
    with kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept:
                if not line.startswith(_NOTE):
                    os.write(2, line)


class LiteRtEngine:
    """The network by LiteRT on a CPU, one film at a time: batches buy nothing there.

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        What to open.
    threads : int, optional
        Threads of one inference.

    Raises
    ------
    EngineError
        If LiteRT is not installed or cannot open the network.
    """

    def __init__(self, bundle: NetworkFiles, threads: int = 1) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise EngineError("LiteRT is not installed: install ai-edge-litert, or use the Keras engine") from error
        try:
            with _without_notes():
                self._interpreter: Any = Interpreter(model_path=str(bundle.litert_path), num_threads=threads)
                if not tensors_fit(self._interpreter.get_tensor_details()):
                    raise EngineError(
                        f"the network of {bundle.label} asks for more memory than any may: export it again"
                    )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT cannot open the network of {bundle.label}: export the bundle again") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._size = bundle.input_size
        # An interpreter has one set of tensors; two threads in it would mix two films.
        self._turn = threading.Lock()

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Run the network.

        Parameters
        ----------
        batch : ndarray of float32, shape (n, size, size, 1)
            Inputs in [0, 1].

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits of pneumonia.

        Raises
        ------
        InputError
            If the batch has another shape or type.
        """
        _check(batch, self._size)
        with self._turn:
            return np.array([self._one(film) for film in batch], dtype=np.float64)

    def _one(self, film: NDArray[np.float32]) -> float:
        self._interpreter.set_tensor(self._input, film[np.newaxis])
        self._interpreter.invoke()
        return float(self._interpreter.get_tensor(self._output)[0, 0])


class KerasEngine:
    """The network by Keras on TensorFlow, compiled to a graph (four times as fast as an eager call).

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        What to open.

    Raises
    ------
    EngineError
        If TensorFlow is not installed or Keras cannot open the network.
    """

    def __init__(self, bundle: NetworkFiles) -> None:
        network = load_network(bundle)
        import tensorflow as tf

        self._size = bundle.input_size
        signature = [tf.TensorSpec((None, self._size, self._size, 1), tf.float32)]
        self._run = tf.function(lambda films: network(films, training=False), input_signature=signature)

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Run the network; the same contract as ``LiteRtEngine.logits``.

        Raises
        ------
        InputError
            If the batch has another shape or type.
        """
        _check(batch, self._size)
        return np.asarray(self._run(batch), dtype=np.float64)[:, 0]


def load_network(bundle: NetworkFiles) -> Any:
    """Load a bundle's network by Keras, layers of our own included.

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        What to load.

    Returns
    -------
    keras.Model

    Raises
    ------
    EngineError
        If TensorFlow is not installed or Keras cannot open the network.
    """
    try:
        import keras

        import model.network  # noqa: F401 - makes our own layers known to Keras by name
    except ImportError as error:
        raise EngineError(
            "TensorFlow is not installed: install auscult with the extra cpu or gpu; only scoring by LiteRT does without"
        ) from error
    if not network_fits(bundle.keras_path):
        raise EngineError(f"the network of {bundle.label} asks for more memory than any may: export it again")
    try:
        return keras.saving.load_model(bundle.keras_path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"Keras cannot open the network of {bundle.label}: export the bundle again") from error


def _check(batch: NDArray[np.float32], size: int) -> None:
    if batch.dtype != np.float32 or batch.ndim != 4 or batch.shape[1:] != (size, size, 1):
        raise InputError(f"the network's input is float32 of shape (n, {size}, {size}, 1)")


def open_engine(bundle: NetworkFiles, kind: EngineKind) -> Engine:
    """Open a bundle's network.

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        What to open.
    kind : {"litert", "keras"}
        Which engine.

    Returns
    -------
    Engine

    Raises
    ------
    EngineError
        If there is no such engine, or it is not installed or cannot open the network.
    """
    if kind == "litert":
        return LiteRtEngine(bundle)
    if kind == "keras":
        return KerasEngine(bundle)
    raise EngineError(f"there is no engine {kind!r}: use litert or keras")


class Classifier:
    """Scores films with one bundle by one engine."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self._engine = engine

    def score(self, film: NDArray[np.uint8]) -> Score:
        """Score one film.

        Parameters
        ----------
        film : ndarray of uint8, shape (rows, columns)
            Grey film, MONOCHROME2.

        Returns
        -------
        Score

        Raises
        ------
        InputError
            If the film is not a two-dimensional, non-empty uint8 array.
        EngineError
            If the network answers with something that is no number.
        """
        return self.score_many([film])[0]

    def score_many(self, films: Iterable[NDArray[np.uint8]]) -> list[Score]:
        """Score films in their order; the same contract as ``score``.

        Raises
        ------
        InputError
            If a film is not a two-dimensional, non-empty uint8 array.
        EngineError
            If the network answers with something that is no number.
        """
        shown = list(films)
        inputs = [to_input(film, self.bundle.input_size) for film in shown]
        if not inputs:
            return []
        logits = self._engine.logits(np.stack(inputs))
        return [self._scored(film, float(logit)) for film, logit in zip(shown, logits, strict=True)]

    def _scored(self, film: NDArray[np.uint8], logit: float) -> Score:
        if not math.isfinite(logit):
            raise EngineError(f"the network of {self.bundle.label} gave no number: export the bundle again")
        bundle = self.bundle
        probability = float((bundle.calibration or UNCALIBRATED).probabilities(np.array(logit)))
        return Score(
            probability=probability,
            logit=logit,
            threshold=bundle.threshold,
            label=Label.of(probability, bundle.threshold),
            band=bundle.bands.band(probability) if bundle.bands else None,
            unlikeness=bundle.scope.unlikeness(film) if bundle.scope else None,
        )
