"""The films of a training run, held in memory for all of its members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.augmentation.film_weights import style_weights
from model.data.dataset import LoadedFilms, load_films
from model.data.style import style_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.data.dataset import Picture


class FilmCache:
    """All films of a run in memory, read once for each input size, and how much each counts.

    Parameters
    ----------
    pictures : sequence of Picture
        All films of the run.
    config : TrainingConfig
        Its input size is the one at which styles are measured; its split seed cross-fits them.
    reader : callable
        Gives the grey film of a path.
    """

    def __init__(
        self, pictures: Sequence[Picture], config: TrainingConfig, reader: Callable[[Path], NDArray[np.uint8]]
    ) -> None:
        self._place = {picture: number for number, picture in enumerate(pictures)}
        self._reader = reader
        self._films: dict[int, LoadedFilms] = {}
        self._config = config
        self._weights: dict[float, NDArray[np.float64]] = {0.0: np.ones(len(pictures))}

    def films(self, pictures: Sequence[Picture], size: int) -> LoadedFilms:
        """Films of some pictures of the run, with a side of ``size`` pixels.

        Raises
        ------
        DataError
            If a film cannot be read.
        """
        films, chosen = self._all(size), [self._place[picture] for picture in pictures]
        return LoadedFilms(films.pixels[chosen], films.targets[chosen])

    def weights(self, pictures: Sequence[Picture], bound: float) -> NDArray[np.float64]:
        """How much the films of some pictures count, float64 (n,).

        Parameters
        ----------
        pictures : sequence of Picture
            Films of the run.
        bound : float
            As for ``style_weights``; 0 gives each film the weight 1.

        Raises
        ------
        DataError
            If there are too few patients of one label.
        """
        if bound not in self._weights:
            films = self._all(self._config.input_size)
            style = style_features(films.pixels)
            self._weights[bound] = style_weights(
                list(self._place), films.targets, style, bound, self._config.split_seed
            )
        return np.asarray(self._weights[bound][[self._place[picture] for picture in pictures]])

    def _all(self, size: int) -> LoadedFilms:
        if size not in self._films:
            self._films[size] = load_films(self._place, size, self._reader)
        return self._films[size]
