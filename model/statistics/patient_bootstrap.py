"""Bootstrap intervals by patient: films of one child are alike, so children are resampled, not films.

Children with normal films, with pneumonia films and with both are drawn separately, so that every sample has about as many
films of each label as there are (Davison and Hinkley, Bootstrap Methods and Their Application, 1997, sections 2.4 and
5.3: percentile intervals).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from model.statistics.intervals import Interval
    from model.statistics.metrics import Numbers, Statistic

Key = TypeVar("Key")

REPLICATES = 2000
SEED = 1
_CHUNK = 250
"""Samples at a time: more would only cost memory."""


class PatientBootstrap:
    """Bootstrap samples of children; the seed determines them.

    Parameters
    ----------
    patients : sequence of hashable, length n
        The child of each film.
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    replicates : int, optional
        How many samples.
    seed : int, optional
        The same seed and films give the same samples.
    """

    def __init__(
        self, patients: Sequence[Hashable], targets: Numbers, *, replicates: int = REPLICATES, seed: int = SEED
    ) -> None:
        self.replicates = replicates
        self._seed = seed
        numbers: dict[Hashable, int] = {}
        self._patient: NDArray[np.intp] = np.array([numbers.setdefault(child, len(numbers)) for child in patients])
        self.patients = len(numbers)
        ill = np.bincount(self._patient, np.asarray(targets) == 1)
        films = np.bincount(self._patient)
        kinds = np.where(ill == 0, 0, np.where(ill == films, 1, 2))
        self._strata = [np.flatnonzero(kinds == kind) for kind in range(3) if (kinds == kind).any()]

    def intervals(self, statistics: Mapping[Key, Statistic]) -> dict[Key, Interval | None]:
        """95 % percentile interval of each figure.

        Parameters
        ----------
        statistics : mapping to Statistic
            Figures by any keys.

        Returns
        -------
        dict to (float, float) or None
            By the same keys; None where fewer than half of the samples have that figure.
        """
        values: dict[Key, list[Numbers]] = {name: [] for name in statistics}
        for weights in self._weights():
            for name, statistic in statistics.items():
                values[name].append(statistic(weights))
        return {name: _percentiles(np.concatenate(found)) for name, found in values.items()}

    def _weights(self) -> Iterator[Numbers]:
        """How often each film is in each sample, some samples at a time: shape (samples, n)."""
        rng = np.random.default_rng(self._seed)
        for start in range(0, self.replicates, _CHUNK):
            drawn = np.zeros((min(_CHUNK, self.replicates - start), self.patients))
            for members in self._strata:
                each = np.full(len(members), 1 / len(members))
                drawn[:, members] = rng.multinomial(len(members), each, size=len(drawn))
            yield drawn[:, self._patient]


def _percentiles(values: Numbers) -> Interval | None:
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
