"""How good a network is on labelled films: its answers to them, and the figures that a bundle keeps.

``assessment`` holds all that a report shows; ``metrics`` and ``intervals`` how each figure is computed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.dataset import Picture, read_picture
from model.errors import DataError
from model.intervals import Interval, auc_interval, wilson
from model.metrics import auc, expected_calibration_error
from model.seen import film_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.engine import Classifier, Score


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network is worth on a set of films. All figures and intervals are in [0, 1].

    ``confusion`` is ((true negatives, false positives), (false negatives, true positives)), positive
    being PNEUMONIA; ``ece`` is the expected calibration error over ten equal bins of probability.
    """

    n: int
    accuracy: float
    accuracy_ci: Interval
    auc: float
    auc_ci: Interval
    sensitivity: float
    sensitivity_ci: Interval
    specificity: float
    specificity_ci: Interval
    threshold: float
    ece: float
    confusion: tuple[tuple[int, int], tuple[int, int]]
    model: str
    version: str

    def as_dict(self) -> dict[str, Any]:
        """Give the figures in a form that JSON can hold."""
        fields = asdict(self)
        for key in ("accuracy_ci", "auc_ci", "sensitivity_ci", "specificity_ci"):
            fields[key] = list(fields[key])
        fields["confusion"] = [list(row) for row in self.confusion]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Evaluation:
        """Take the figures back from that form.

        Raises
        ------
        DataError
            If a figure is missing or has another form.
        """
        try:
            (tn, fp), (fn, tp) = fields["confusion"]
            return cls(
                n=int(fields["n"]),
                accuracy=float(fields["accuracy"]),
                accuracy_ci=_interval(fields["accuracy_ci"]),
                auc=float(fields["auc"]),
                auc_ci=_interval(fields["auc_ci"]),
                sensitivity=float(fields["sensitivity"]),
                sensitivity_ci=_interval(fields["sensitivity_ci"]),
                specificity=float(fields["specificity"]),
                specificity_ci=_interval(fields["specificity_ci"]),
                threshold=float(fields["threshold"]),
                ece=float(fields["ece"]),
                confusion=((int(tn), int(fp)), (int(fn), int(tp))),
                model=str(fields["model"]),
                version=str(fields["version"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("the figures of an evaluation are incomplete") from error


def _interval(bounds: Sequence[float]) -> Interval:
    low, high = bounds
    return float(low), float(high)


def evaluate_probabilities(
    targets: NDArray[np.floating[Any]],
    probabilities: NDArray[np.floating[Any]],
    threshold: float,
    model: str,
    version: str,
) -> Evaluation:
    """All figures of a set of answers.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].
    threshold : float
        At or above it the answer is PNEUMONIA.
    model, version : str
        What answered.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    ill, called = np.asarray(targets) == 1, np.asarray(probabilities) >= threshold
    tp, fn = int((ill & called).sum()), int((ill & ~called).sum())
    fp, tn = int((~ill & called).sum()), int((~ill & ~called).sum())
    area, n = auc(targets, probabilities), len(ill)
    return Evaluation(
        n=n,
        accuracy=(tp + tn) / n,
        accuracy_ci=wilson(tp + tn, n),
        auc=area,
        auc_ci=auc_interval(area, tp + fn, tn + fp),
        sensitivity=tp / (tp + fn),
        sensitivity_ci=wilson(tp, tp + fn),
        specificity=tn / (tn + fp),
        specificity_ci=wilson(tn, tn + fp),
        threshold=threshold,
        ece=expected_calibration_error(targets, probabilities),
        confusion=((tn, fp), (fn, tp)),
        model=model,
        version=version,
    )


@dataclass(frozen=True, slots=True)
class ScoredFilm:
    """A labelled film and a network's answer.

    ``rows`` and ``columns`` are the size of the original in pixels; ``film_sha256`` (hex, over size and pixels) tells
    whether two networks were shown the same film.
    """

    picture: Picture
    score: Score
    rows: int
    columns: int
    film_sha256: str

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


def score_pictures(
    classifiers: Sequence[Classifier],
    pictures: Sequence[Picture],
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    size_of: Callable[[Path], tuple[int, int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[ScoredFilm, ...], ...]:
    """Show labelled films to networks, each film read once.

    Parameters
    ----------
    classifiers : sequence of Classifier
        Whom to ask.
    pictures : sequence of Picture
        What to show.
    reader : callable, optional
        Gives the grey film (uint8, MONOCHROME2) of a path.
    size_of : callable, optional
        Gives rows and columns of the original of a path; without it they are the film's.
    progress : callable, optional
        Called with films done and films in all.

    Returns
    -------
    tuple of tuple of ScoredFilm
        For each classifier its answers, in the order of the pictures.

    Raises
    ------
    DataError
        If a film cannot be read.
    """
    answers: list[list[ScoredFilm]] = [[] for _ in classifiers]
    for done, picture in enumerate(pictures, start=1):
        film = reader(picture.path)
        rows, columns = film.shape if size_of is None else size_of(picture.path)
        digest = film_digest(film)
        for classifier, given in zip(classifiers, answers, strict=True):
            given.append(ScoredFilm(picture, classifier.score(film), rows, columns, digest))
        if progress is not None:
            progress(done, len(pictures))
    return tuple(tuple(given) for given in answers)
