"""Whether maps of evidence deserve trust: they depend on what was learnt, and the network follows them.

Two tests. Randomisation (Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292): when the layers
lose what they learnt, one after the other from the top, the maps must change; those of an edge detector would not.
Deletion (Petsiuk et al. 2018, "RISE", arXiv:1806.07421): when the places that speak most for pneumonia are covered, the
logit must fall further than when other places of the same shape and size are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.explain import stretched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Maps = Sequence[NDArray[np.float64]]

SIDE_PX, WINDOW_PX = 64, 11
"""Maps are compared at this size, in windows of this size."""


@dataclass(frozen=True, slots=True)
class Step:
    """How like the trained network's maps those are once a layer and all above it have lost what they learnt.

    ``spearman`` is the rank correlation and ``structure`` the structural similarity (Wang et al. 2004), both in
    [-1, 1], 1 for maps that did not change, both the mean over the films.
    """

    layer: str
    spearman: float
    structure: float


def randomise(network: Any, maps_of: Callable[[], Maps], rng: np.random.Generator) -> list[Step]:
    """Let a network forget layer by layer, from the top, and compare its maps.

    A layer forgets by shuffling each of its arrays of weights, so that their sizes stay and the pattern goes. The
    weights are put back in the end.

    Parameters
    ----------
    network : keras.Model
        The network that ``maps_of`` uses.
    maps_of : callable
        Gives the maps of some films, each of shape (rows, columns), by the network as it is then.
    rng : numpy.random.Generator
        Where the order comes from.

    Returns
    -------
    list of Step
        One for each layer with weights, the top first; the last is that of a network that knows nothing.
    """
    trained, learnt = maps_of(), network.get_weights()
    steps = []
    try:
        for layer in reversed([layer for layer in network.layers if layer.weights]):
            layer.set_weights([rng.permutation(array.ravel()).reshape(array.shape) for array in layer.get_weights()])
            pairs = list(zip(trained, maps_of(), strict=True))
            steps.append(
                Step(
                    layer.name,
                    float(np.mean([spearman(before, after) for before, after in pairs])),
                    float(np.mean([structure(before, after) for before, after in pairs])),
                )
            )
    finally:
        network.set_weights(learnt)
    return steps


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
    """How far the logits of films fell, each of shape (n,): what was covered spoke most for pneumonia, or was random."""

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
        How far the same patches are rolled over the film for comparison, eight times a film.

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
    """Ranks from 1, of equal values the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _unit(grid: NDArray[np.floating]) -> NDArray[np.float64]:
    picture = stretched(np.asarray(grid, np.float64), (SIDE_PX, SIDE_PX)).astype(np.float64)
    spread = float(np.ptp(picture))
    return (picture - picture.min()) / spread if spread else np.zeros_like(picture)


def _windows(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(picture, (WINDOW_PX, WINDOW_PX))
