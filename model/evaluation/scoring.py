"""Score labelled films with one or more networks, and the figures of those scores.

``assessment`` holds everything that a report shows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import Picture, read_picture
from model.data.film_digests import film_sha256, picture_digest
from model.statistics.evaluation import Evaluation, evaluate_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.serving.classifier import Classifier, Score


@dataclass(frozen=True, slots=True)
class ScoredFilm:
    """A labelled film and a network's score.

    ``rows`` and ``columns`` are the size of the original in pixels. ``film_sha256`` is the digest by which SQL knows the
    film; ``picture_digest`` the one by which bundles know it (both in ``film_digests``).
    """

    picture: Picture
    score: Score
    rows: int
    columns: int
    film_sha256: str
    picture_digest: str

    @property
    def is_right(self) -> bool:
        """Whether the label of the answer is the film's."""
        return self.score.label is self.picture.label

    @property
    def is_out_of_scope(self) -> bool:
        """Whether the film is too unlike the training films for the network to judge, as far as it can tell."""
        return self.score.unlikeness is not None and self.score.unlikeness > 1


def evaluate_films(films: Sequence[ScoredFilm], model: str, version: str) -> Evaluation:
    """All figures of scored films; see ``evaluate_probabilities``.

    Raises
    ------
    DataError
        If one of the labels has no film.
    """
    targets = np.array([film.picture.label.target for film in films], dtype=np.float64)
    probabilities = np.array([film.score.probability for film in films])
    threshold = films[0].score.threshold if films else 0.5
    return evaluate_probabilities(targets, probabilities, threshold, model, version)


def films_digest(films: Sequence[ScoredFilm]) -> str:
    """SHA-256 (hex) of a set of labelled films, whatever their order and names: it stands for the set in a record."""
    lines = sorted(f"{film.picture_digest} {film.picture.label}" for film in films)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def score_pictures(
    classifiers: Sequence[Classifier],
    pictures: Sequence[Picture],
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    size_of: Callable[[Path], tuple[int, int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[ScoredFilm, ...], ...]:
    """Score labelled films with networks, each film read once.

    Parameters
    ----------
    classifiers : sequence of Classifier
        The networks.
    pictures : sequence of Picture
        The films.
    reader : callable, optional
        Gives the grey film (uint8, MONOCHROME2) of a path.
    size_of : callable, optional
        Gives rows and columns of the original of a path; without it they are the film's.
    progress : callable, optional
        Called with films done and films in all.

    Returns
    -------
    tuple of tuple of ScoredFilm
        For each classifier its scores, in the order of the pictures.

    Raises
    ------
    DataError
        If a film cannot be read.
    """
    answers: list[list[ScoredFilm]] = [[] for _ in classifiers]
    for done, picture in enumerate(pictures, start=1):
        film = reader(picture.path)
        rows, columns = film.shape if size_of is None else size_of(picture.path)
        digests = film_sha256(film), picture_digest(film)
        for classifier, given in zip(classifiers, answers, strict=True):
            given.append(ScoredFilm(picture, classifier.score(film), rows, columns, *digests))
        if progress is not None:
            progress(done, len(pictures))
    return tuple(tuple(given) for given in answers)
