"""Where on the film the network sees its evidence: class activation maps of a bundle's network, or occlusion.

HiResCAM (Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020, arXiv:2011.08891) multiplies the network's last maps by the gradient of the logit and adds the
channels up. For a network that ends in GlobalAveragePooling2D -> Dense this is exactly CAM (Zhou et al. 2016), and it
holds place by place for a network that ends in Flatten -> Dense, where Grad-CAM (Selvaraju et al. 2017) averages each
channel's gradient over the film and so may point at places that the network did not use.

Occlusion (``model/explanation/occlusion.py``) is for networks whose last maps do not show where their evidence is; an
export tests that (``model/explanation/trust.py``) and records the method in the bundle.

Occlusion needs only LiteRT, and so do class activation maps of a network that was exported with the terms of its answer
(``model/network/outputs.py``). For any other network TensorFlow is loaded when the first such map is asked for, in the
process that asks: never in a listener or before a fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model.errors import EngineError
from model.explanation.occlusion import occlusion
from model.labels import Method
from model.operating.calibration import UNCALIBRATED
from model.preprocess import to_input
from model.serving.engine import LiteRtEngine, load_network
from model.serving.manifest import VALIDATION_FILE, read_validation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.operating.calibration import Calibration
    from model.serving.bundle import Bundle
    from model.serving.engine import NetworkFiles


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
        it does not depend on the grid: what a map adds to the logit is its mean. Occlusion gives one map: the fall of
        the logit when a place is covered.
    logit : float
        The network's answer.
    bias : float
        The part of the logit that belongs to no place: ``logit`` less the means of the maps. For HiResCAM on a network
        that ends in GlobalAveragePooling2D -> Dense it is the bias of the Dense layer (the mean of them for several
        members), so that maps and bias together are the logit; for one that ends in Flatten -> Dense with ReLU it is
        the biases that are not switched off. Maps of Grad-CAM and occlusion do not add up to the logit.
    """

    method: Method
    maps: tuple[NDArray[np.float64], ...]
    logit: float
    bias: float

    def over(self, shape: tuple[int, int], *, smooth: bool = False) -> NDArray[np.float32]:
        """Lay the sum of the maps over a film.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the film. The network saw it squashed to a square, so the maps are stretched back.
        smooth : bool, optional
            Whether to go from place to place without kinks, as lines need it; no value exceeds those of the places around it.

        Returns
        -------
        ndarray of float32, shape ``shape``
            Evidence in logits, bilinear between the grids' places unless ``smooth``.
        """
        return np.asarray(sum(stretched(each, shape, smooth=smooth) for each in self.maps), dtype=np.float32)

    def calibrated(self, calibration: Calibration) -> Explanation:
        """The same evidence in logits of the calibrated probability: the intercept belongs to no place."""
        slope, intercept = calibration.slope, calibration.intercept
        maps = tuple(slope * each for each in self.maps)
        return Explanation(self.method, maps, slope * self.logit + intercept, slope * self.bias + intercept)


def method_by_litert(bundle: Bundle) -> Method:
    """The method by which LiteRT alone can explain a bundle: its own one, else occlusion.

    Raises
    ------
    EngineError
        If LiteRT cannot open the network.
    """
    is_able = bundle.explained_by is Method.OCCLUSION or LiteRtEngine(bundle).has_terms
    return bundle.explained_by if is_able else Method.OCCLUSION


def full_evidence(bundle: Bundle, method: Method) -> float:
    """How much evidence counts as full on a bundle's pictures: one scale for all films, so that films can be compared.

    Parameters
    ----------
    bundle : Bundle
        Its validation logits show how large logits get.
    method : Method
        How the evidence was found.

    Returns
    -------
    float
        Calibrated logits: the 95th percentile of their sizes over the validation films, to one digit, at least 1. Full
        evidence at a place equals the logit of a film that exceeds those of 19 in 20 films. For occlusion it is a
        quarter of that, because no small place carries the whole answer.
    """
    _, logits = read_validation(bundle.path / VALIDATION_FILE)
    calibration = bundle.calibration or UNCALIBRATED
    size = float(np.percentile(np.abs(calibration.slope * logits + calibration.intercept), 95))
    size /= 4 if method is Method.OCCLUSION else 1
    return max(1.0, float(f"{size:.0e}"))


def stretched(grid: NDArray[np.float64], shape: tuple[int, int], *, smooth: bool = False) -> NDArray[np.float32]:
    """Resize a map, its corners on the film's corners.

    Parameters
    ----------
    grid : ndarray of float64, shape (rows, columns)
        Any values.
    shape : tuple of int
        Rows and columns wanted.
    smooth : bool, optional
        Without kinks at the places, and like the bilinear map without overshoot, which would claim more than was found.

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    resample = Image.Resampling.HAMMING if smooth else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(grid, dtype=np.float32))
    return np.asarray(picture.resize(shape[::-1], resample), dtype=np.float32)


class Explainer:
    """Explains films with one bundle's network.

    Parameters
    ----------
    bundle : Bundle or other NetworkFiles
        Its network is opened by LiteRT, and by Keras for the first map that LiteRT cannot give.

    Raises
    ------
    EngineError
        If LiteRT cannot open the network.
    """

    def __init__(self, bundle: NetworkFiles) -> None:
        self._bundle = bundle
        self._engine = LiteRtEngine(bundle)

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
        EngineError
            If Keras is needed, and TensorFlow is not installed or the network has no last maps.
        """
        inputs = to_input(film, self._bundle.input_size)[np.newaxis]
        if method is Method.OCCLUSION:
            return by_occlusion(self._engine.logits, inputs)[0]
        if self._engine.has_terms:
            return _by_terms(self._engine, inputs, method)[0]
        return self._tapped.explain(inputs, method)[0]

    @cached_property
    def _tapped(self) -> Tapped:
        return Tapped(load_network(self._bundle), self._bundle.label)


def by_occlusion(
    logits_of: Callable[[NDArray[np.float32]], NDArray[np.float64]], inputs: NDArray[np.float32]
) -> list[Explanation]:
    """Explain a network's answers by occlusion; as ``Tapped.explain``, from the function that gives its logits."""
    maps = occlusion(logits_of, inputs)
    return [
        _explanation(Method.OCCLUSION, (each,), float(logit))
        for each, logit in zip(maps, logits_of(inputs), strict=True)
    ]


def _by_terms(engine: LiteRtEngine, inputs: NDArray[np.float32], method: Method) -> list[Explanation]:
    """As ``Tapped.explain``. Only networks for which both methods give the same map are exported with their terms."""
    return [_explanation(method, terms.maps, terms.logit) for terms in engine.terms(inputs)]


class Tapped:
    """A network that gives its last maps besides its answer.

    Parameters
    ----------
    network : keras.Model
        Flat and functional; its output is the logit, or a dictionary with ``logit`` in it.
    label : str
        Name of the network in messages.

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
        # A network with more outputs than the logit names each of them.
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
            # This records all that is computed from the films, also where a loaded layer is not trainable.
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
