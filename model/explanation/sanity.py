"""Tests of maps of evidence: they must depend on what was learnt, and the answer must depend on the places they show.

Two tests. Randomisation (Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292): when the layers
lose what they learnt, one after the other from the top, the maps must change; the maps of an edge detector would not.
Deletion (Petsiuk et al. 2018, "RISE", arXiv:1806.07421): when the places that speak most for pneumonia are covered, the
logit must fall further than when other places of the same shape and size are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.explanation.explain import stretched

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    Maps = Sequence[NDArray[np.float64]]

SIDE_PX, WINDOW_PX = 64, 11
"""Maps are compared at this size, in windows of this size."""


@dataclass(frozen=True, slots=True)
class RandomisationStep:
    """Likeness of the maps to those of the trained network after a layer and all layers above it were randomised.

    ``spearman`` is the rank correlation and ``structure`` the structural similarity (Wang et al. 2004), both in
    [-1, 1], 1 for maps that did not change, both the mean over the films.
    """

    layer: str
    spearman: float
    structure: float


def randomise(
    network: Any, maps_of: Callable[[], Maps], rng: np.random.Generator, at: Collection[float] = ()
) -> list[RandomisationStep]:
    """Randomise a network layer by layer, from the top, and compare its maps.

    Each of a layer's arrays of weights is shuffled, which keeps their values and destroys their pattern. The weights
    are restored at the end.

    Parameters
    ----------
    network : keras.Model
        The network that ``maps_of`` uses.
    maps_of : callable
        Gives the maps of some films, each of shape (rows, columns), by the network in its current state.
    rng : numpy.random.Generator
        Source of the shuffles.
    at : collection of float, optional
        Shares of the layers, in (0, 1], after which the maps are compared; by default after each layer.

    Returns
    -------
    list of RandomisationStep
        One for each layer with weights, or for each share; the top first.
    """
    trained, learnt = maps_of(), network.get_weights()
    layers = [layer for layer in reversed(network.layers) if layer.weights]
    wanted = [max(round(share * len(layers)), 1) for share in at] or list(range(1, len(layers) + 1))
    steps: dict[int, RandomisationStep] = {}
    try:
        for number, layer in enumerate(layers, start=1):
            layer.set_weights([rng.permutation(array.ravel()).reshape(array.shape) for array in layer.get_weights()])
            if number not in wanted:
                continue
            pairs = list(zip(trained, maps_of(), strict=True))
            steps[number] = RandomisationStep(
                layer.name,
                float(np.mean([spearman(before, after) for before, after in pairs])),
                float(np.mean([structure(before, after) for before, after in pairs])),
            )
    finally:
        network.set_weights(learnt)
    return [steps[number] for number in wanted]


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Rank correlation of two maps of one shape, in [-1, 1]; 0 where one of them is flat."""
    ranks = [_ranks(each.ravel()) for each in (first, second)]
    spread = ranks[0].std() * ranks[1].std()
    return float(((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).mean() / spread) if spread else 0.0


def structure(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Structural similarity of two maps of one shape, in [-1, 1].

    As Adebayo et al. do it: each map scaled to [0, 1] and resized, then the mean of the index of Wang et al. 2004
    ("Image quality assessment", equation 13) over all windows.
    """
    x, y = (_windows(_unit(each)) for each in (first, second))
    mean_x, mean_y = x.mean(axis=(2, 3)), y.mean(axis=(2, 3))
    var_x, var_y = x.var(axis=(2, 3)), y.var(axis=(2, 3))
    covariance = (x * y).mean(axis=(2, 3)) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Fall:
    """Fall of the logits, each of shape (n,), with the most telling places covered, and with random ones."""

    telling: NDArray[np.float64]
    random: NDArray[np.float64]


def delete(
    logits_of: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    inputs: NDArray[np.float32],
    evidence: NDArray[np.floating],
    share: float,
    rng: np.random.Generator,
) -> Fall:
    """Cover the places of films that speak most for pneumonia, and, to compare, places of the same shape elsewhere.

    Parameters
    ----------
    logits_of : callable
        The network: inputs to logits.
    inputs : ndarray of float32, shape (n, size, size, 1)
        Network inputs in [0, 1]. What is covered gets the film's mean grey.
    evidence : ndarray, shape (n, size, size)
        In logits, positive towards pneumonia.
    share : float
        How much of the film to cover, in (0, 1).
    rng : numpy.random.Generator
        Source of the distances by which the patches are rolled over the film for comparison, eight times per film.

    Returns
    -------
    Fall
        Logit of the whole film less that of the covered one; for random places the mean of the eight.
    """
    size = inputs.shape[1]
    least = np.quantile(evidence.reshape(len(evidence), -1), 1 - share, axis=1)
    patches = (evidence >= least[:, np.newaxis, np.newaxis])[..., np.newaxis]
    grey = inputs.mean(axis=(1, 2), keepdims=True)
    whole = logits_of(inputs)

    def fall(covered: NDArray[np.bool_]) -> NDArray[np.float64]:
        return whole - logits_of(np.where(covered, grey, inputs))

    rolls = [fall(np.roll(patches, tuple(rng.integers(size // 4, 3 * size // 4, 2)), axis=(1, 2))) for _ in range(8)]
    return Fall(fall(patches), np.mean(rolls, axis=0))


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _unit(grid: NDArray[np.floating]) -> NDArray[np.float64]:
    picture = stretched(np.asarray(grid, np.float64), (SIDE_PX, SIDE_PX)).astype(np.float64)
    spread = float(np.ptp(picture))
    return (picture - picture.min()) / spread if spread else np.zeros_like(picture)


def _windows(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(picture, (WINDOW_PX, WINDOW_PX))
