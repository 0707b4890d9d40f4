"""Engines: a bundle's network, run by LiteRT or by Keras.

LiteRT serves on a CPU: it opens in 0.05 s, without TensorFlow in the process. Keras serves on a GPU, and LiteRT is
compared with it. Open Keras in the process that uses it, never before a fork: TensorFlow that was used in the parent
hangs in the child. LiteRT with one thread has no other one, so it may be opened before a fork, which then shares its weights.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from model.errors import EngineError, InputError
from model.network.outputs import LOGIT, MEMBER_LOGITS, evidence_name
from model.serving.sizes import network_fits, tensors_fit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EngineKind = Literal["litert", "keras"]
#: How LiteRT's C++ code begins a note ("INFO: Created TensorFlow Lite XNNPACK delegate"); no setting turns them off.
_NOTE = b"INFO: "


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What one film's logit is made of.

    Attributes
    ----------
    logit : float
        The network's answer.
    members : tuple of float
        The logit of each member; their mean is ``logit``.
    maps : tuple of ndarray of float64, each of shape (rows, columns)
        One for each member: what each place adds, in the unit of ``Explanation.maps``.
    """

    logit: float
    members: tuple[float, ...]
    maps: tuple[NDArray[np.float64], ...]


class NetworkFiles(Protocol):
    """The parts of a bundle that an engine needs; an export has them before the bundle is complete."""

    @property
    def label(self) -> str:
        """Name of the network in messages."""

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
    """Drop LiteRT's notes from stderr; everything else that is written there meanwhile follows at the end."""
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
    """The network by LiteRT on a CPU, one film at a time: batches are no faster there.

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
                # The runner must not be kept: LiteRT refuses to run while anything refers to its tensors.
                outputs = self._interpreter.get_signature_runner().get_output_details()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT cannot open the network of {bundle.label}: export the bundle again") from error
        # A network that was exported without terms has one output, which the converter named.
        name = next(iter(outputs)) if len(outputs) == 1 else LOGIT
        if name not in outputs:
            raise EngineError(f"the network of {bundle.label} has no output called {LOGIT}: export the bundle again")
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._logit = outputs[name]["index"]
        self._terms = _term_outputs(outputs)
        self._label, self._size = bundle.label, bundle.input_size
        # An interpreter has one set of tensors; two threads in it would mix two films.
        self._lock = threading.Lock()

    @property
    def has_terms(self) -> bool:
        """Whether the network was exported with the terms of its answer, so that ``terms`` can be called."""
        return self._terms is not None

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
        with self._lock:
            return np.array([self._one(film) for film in batch], dtype=np.float64)

    def terms(self, batch: NDArray[np.float32]) -> list[Terms]:
        """Run the network and give the terms of each answer; this takes no longer than ``logits``.

        Parameters
        ----------
        batch : ndarray of float32, shape (n, size, size, 1)
            Inputs in [0, 1].

        Returns
        -------
        list of Terms
            One for each input.

        Raises
        ------
        EngineError
            If the network was exported without terms.
        InputError
            If the batch has another shape or type.
        """
        if self._terms is None:
            raise EngineError(f"the network of {self._label} was exported without the terms of its answer")
        _check(batch, self._size)
        members, maps = self._terms
        with self._lock:
            return [
                Terms(
                    logit=self._one(film),  # runs the film, so it comes first
                    members=tuple(self._read(members).tolist()),
                    maps=tuple(self._read(each) for each in maps),
                )
                for film in batch
            ]

    def _one(self, film: NDArray[np.float32]) -> float:
        self._interpreter.set_tensor(self._input, film[np.newaxis])
        self._interpreter.invoke()
        return float(self._interpreter.get_tensor(self._logit)[0, 0])

    def _read(self, output: int) -> NDArray[np.float64]:
        """An output for the film that was run last."""
        return np.asarray(self._interpreter.get_tensor(output)[0], dtype=np.float64)


def _term_outputs(outputs: dict[str, Any]) -> tuple[int, tuple[int, ...]] | None:
    """Indices of the members' logits and of each member's map in LiteRT; None where one of them is missing."""
    if MEMBER_LOGITS not in outputs:
        return None
    names = [evidence_name(number + 1) for number in range(outputs[MEMBER_LOGITS]["shape"][-1])]
    if any(name not in outputs or len(outputs[name]["shape"]) != 3 for name in names):
        return None
    return outputs[MEMBER_LOGITS]["index"], tuple(outputs[name]["index"] for name in names)


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

        import model.network.kinds  # noqa: F401 - registers our layers with Keras
    except ImportError as error:
        raise EngineError(
            "TensorFlow is not installed: install auscult with the extra cpu or gpu; without it LiteRT scores, and "
            "explains the networks that were exported with the terms of their answers"
        ) from error
    if not network_fits(bundle.keras_path):
        raise EngineError(f"the network of {bundle.label} asks for more memory than any may: export it again")
    try:
        # Safe mode refuses a file whose layers bring code of their own, as Lambda layers do.
        return keras.saving.load_model(bundle.keras_path, compile=False, safe_mode=True)
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
