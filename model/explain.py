"""Where on the film the network sees its evidence: class activation maps of a bundle's network, by Keras.

HiResCAM (Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020, arXiv:2011.08891) multiplies the network's last maps by the gradient of the logit and adds the
channels up. For a network that ends in GlobalAveragePooling2D -> Dense this is exactly CAM (Zhou et al. 2016), and it
holds place by place for a network that ends in Flatten -> Dense, where Grad-CAM (Selvaraju et al. 2017) averages each
channel's gradient over the film and so may point at places that the network did not use.

TensorFlow is loaded when an ``Explainer`` is made: in the process that asks, never in a listener or before a fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model.calibrate import UNCALIBRATED
from model.engine import load_network
from model.errors import EngineError
from model.manifest import VALIDATION_FILE, read_validation
from model.preprocess import to_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.bundle import Bundle
    from model.calibrate import Calibration
    from model.engine import NetworkFiles


class Method(StrEnum):
    """How the gradient weighs the maps. The values are what a command line says."""

    HIRESCAM = "hirescam"
    GRAD_CAM = "grad-cam"


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What each place of a film adds to its logit.

    Attributes
    ----------
    method : Method
        How the maps were made.
    maps : tuple of ndarray of float64, each of shape (rows, columns)
        One for each member of the network, on that member's own grid over the whole film: the evidence at a place, in
        logits, positive towards pneumonia. The unit is that of a film that looks everywhere as it does there, so that
        it does not depend on the grid: what a map adds to the logit is its mean.
    logit : float
        The network's answer.
    bias : float
        What the logit owes to no place: ``logit`` less the means of the maps. For HiResCAM on a network that ends in
        GlobalAveragePooling2D -> Dense it is the bias of the Dense layer (the mean of them for several members), so
        that maps and bias together are the logit; for one that ends in Flatten -> Dense with ReLU it is the biases
        that are not switched off. Grad-CAM makes no such promise.
    """

    method: Method
    maps: tuple[NDArray[np.float64], ...]
    logit: float
    bias: float

    def over(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Lay the sum of the maps over a film.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the film. The network saw it squashed to a square, so the maps are stretched back.

        Returns
        -------
        ndarray of float32, shape ``shape``
            Evidence in logits, bilinear between the grids' places.
        """
        return np.asarray(sum(stretched(each, shape) for each in self.maps), dtype=np.float32)

    def calibrated(self, calibration: Calibration) -> Explanation:
        """The same evidence in logits of the calibrated probability: the intercept belongs to no place."""
        slope, intercept = calibration.slope, calibration.intercept
        maps = tuple(slope * each for each in self.maps)
        return Explanation(self.method, maps, slope * self.logit + intercept, slope * self.bias + intercept)


def full_evidence(bundle: Bundle) -> float:
    """How much evidence counts as full on a bundle's pictures: one scale for all films, so that films can be compared.

    Parameters
    ----------
    bundle : Bundle
        Whose validation logits tell how sure the network gets.

    Returns
    -------
    float
        Calibrated logits: the 95th percentile of their sizes over the validation films, to one digit, at least 1. A place of
        full evidence looks as a whole film looks of which the network is surer than of nineteen in twenty.
    """
    _, logits = read_validation(bundle.path / VALIDATION_FILE)
    calibration = bundle.calibration or UNCALIBRATED
    size = float(np.percentile(np.abs(calibration.slope * logits + calibration.intercept), 95))
    return max(1.0, float(f"{size:.0e}"))


def stretched(grid: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a map, bilinear, its corners on the film's corners.

    Parameters
    ----------
    grid : ndarray of float64, shape (rows, columns)
        Any values.
    shape : tuple of int
        Rows and columns wanted.

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    picture = Image.fromarray(np.ascontiguousarray(grid, dtype=np.float32))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR), dtype=np.float32)


class Explainer:
    """Explains films with one bundle's network.

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        Whose network to open.

    Raises
    ------
    EngineError
        If TensorFlow is not installed, Keras cannot open the network, or the network has no last maps.
    """

    def __init__(self, bundle: NetworkFiles) -> None:
        self._tapped = Tapped(load_network(bundle), bundle.label)
        self._size = bundle.input_size

    def explain(self, film: NDArray[np.uint8], method: Method = Method.HIRESCAM) -> Explanation:
        """Explain the network's answer for one film.

        Parameters
        ----------
        film : ndarray of uint8, shape (rows, columns)
            Grey film, MONOCHROME2.
        method : Method, optional
            Which map.

        Returns
        -------
        Explanation

        Raises
        ------
        InputError
            If the film is not a two-dimensional, non-empty uint8 array.
        """
        return self._tapped.explain(to_input(film, self._size)[np.newaxis], method)[0]


class Tapped:
    """A network with its last maps laid open.

    Parameters
    ----------
    network : keras.Model
        Flat and functional; its output is the logit, or a dictionary with ``logit`` in it.
    label : str
        How the network is called in messages.

    Raises
    ------
    EngineError
        If it has no GlobalAveragePooling2D and no Flatten layer whose input are maps.
    """

    def __init__(self, network: Any, label: str) -> None:
        import keras

        ends = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)
        maps = [layer.input for layer in network.layers if isinstance(layer, ends) and len(layer.input.shape) == 4]
        if not maps:
            raise EngineError(
                f"the network of {label} has no convolutional maps before its end: it cannot be explained"
            )
        answers = network.output
        # A network that answers with more than the logit names each answer.
        self._run = keras.Model(network.input, [answers["logit"] if isinstance(answers, dict) else answers, *maps])

    def explain(self, inputs: NDArray[np.float32], method: Method = Method.HIRESCAM) -> list[Explanation]:
        """Explain the network's answers; the same as ``Explainer.explain``.

        Parameters
        ----------
        inputs : ndarray of float32, shape (n, size, size, 1)
            Network inputs in [0, 1].
        method : Method, optional
            Which map.

        Returns
        -------
        list of Explanation
            One for each input.
        """
        import tensorflow as tf

        films = tf.convert_to_tensor(inputs)
        with tf.GradientTape() as tape:
            # Whatever is computed from the films is recorded then, also where a loaded layer is not trainable.
            tape.watch(films)
            logits, *maps = self._run(films, training=False)
        gradients = tape.gradient(logits, maps)
        evidence = [
            _evidence(np.asarray(a, float), np.asarray(g, float), method) for a, g in zip(maps, gradients, strict=True)
        ]
        return [
            _explanation(method, tuple(member[number] for member in evidence), float(logit))
            for number, logit in enumerate(logits.numpy()[:, 0])
        ]


def _evidence(maps: NDArray[np.float32], gradients: NDArray[np.float32], method: Method) -> NDArray[np.float64]:
    """Maps and gradients, both (n, rows, columns, channels), to logits by place, (n, rows, columns)."""
    places = maps.shape[1] * maps.shape[2]
    if method is Method.GRAD_CAM:
        gradients = gradients.mean(axis=(1, 2), keepdims=True)
    return np.asarray((maps * gradients).sum(axis=-1, dtype=np.float64) * places)


def _explanation(method: Method, maps: tuple[NDArray[np.float64], ...], logit: float) -> Explanation:
    return Explanation(method, maps, logit, logit - float(sum(each.mean() for each in maps)))
