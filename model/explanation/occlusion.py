"""Where on a film a network's answer depends: how far it falls when a place is covered (Zeiler and Fergus 2014).

"Visualizing and understanding convolutional networks", ECCV 2014. Only the network's answers are needed, so this works
for any network, at a cost of 121 answers per film. Networks whose last maps gather the evidence of the whole film at
its rim, as those of ``auscult-2`` do, cannot be explained by those maps.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CELLS = 10
"""Places along each side of the map; two by two of them are covered at a time."""


def occlusion(
    logits_of: Callable[[NDArray[np.float32]], NDArray[np.float64]], inputs: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Cover each part of some films in turn with the film's mean grey, and see how far the logit falls.

    Parameters
    ----------
    logits_of : callable
        The network: inputs to logits.
    inputs : ndarray of float32, shape (n, size, size, 1)
        Network inputs in [0, 1].

    Returns
    -------
    ndarray of float64, shape (n, CELLS, CELLS)
        In logits: the mean fall over the four windows that cover a place; positive where it speaks for pneumonia.
    """
    edges = np.round(np.linspace(0, inputs.shape[1], CELLS + 1)).astype(int)
    grey, whole = inputs.mean(axis=(1, 2), keepdims=True), logits_of(inputs)
    falls = np.empty((CELLS + 1, CELLS + 1, len(inputs)))
    # Windows reach over the rim, so that a place at the rim is covered as often as any other.
    for row, column in product(range(CELLS + 1), repeat=2):
        covered = inputs.copy()
        rows, columns = (slice(edges[max(at - 1, 0)], edges[min(at + 1, CELLS)]) for at in (row, column))
        covered[:, rows, columns] = grey
        falls[row, column] = whole - logits_of(covered)
    mean = (falls[:-1, :-1] + falls[1:, :-1] + falls[:-1, 1:] + falls[1:, 1:]) / 4
    return np.moveaxis(mean, -1, 0)
