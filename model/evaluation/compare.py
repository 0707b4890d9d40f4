"""Comparison of two networks on the same films, with tests of whether the differences may be chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError
from model.evaluation.figures import Sample, with_width
from model.evaluation.provenance import Network, Provenance, film_as_dict
from model.evaluation.scoring import ScoredFilm, evaluate_films
from model.notice import NOTICE
from model.statistics.curves import Curve, roc
from model.statistics.intervals import Interval, paired_difference_interval
from model.statistics.metrics import Ranking, mean_of
from model.statistics.paired import DeLong, delong, mcnemar
from model.statistics.patient_bootstrap import REPLICATES, SEED, PatientBootstrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.evaluation.figures import Mask
    from model.serving.bundle import Bundle
    from model.statistics.evaluation import Evaluation
    from model.statistics.metrics import Numbers, Statistic


@dataclass(frozen=True, slots=True)
class PairedShare:
    """A share of ``n`` films that both networks called rightly, only one of them, or neither.

    ``difference`` is second minus first, in [-1, 1]; ``by_film`` is its interval by Newcombe's method 10, ``by_patient``
    by bootstrap (where that has no width, the same), and ``p`` is McNemar's, exact and two-sided.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    by_film: Interval
    by_patient: Interval | None
    p: float

    @property
    def first(self) -> float:
        """The first network's share."""
        return (self.both + self.only_first) / self.n

    @property
    def second(self) -> float:
        """The second network's share."""
        return (self.both + self.only_second) / self.n


@dataclass(frozen=True, slots=True)
class PairedAuc:
    """Both AUCs. ``difference`` is second minus first; ``by_film`` and ``p`` are DeLong's (p None: undefined)."""

    n: int
    first: float
    second: float
    difference: float
    by_film: Interval
    by_patient: Interval | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A film that one network called rightly and the other did not."""

    first: ScoredFilm
    second: ScoredFilm

    @property
    def gap(self) -> float:
        """How far apart the probabilities are, in [0, 1]."""
        return abs(self.first.score.probability - self.second.score.probability)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a comparison report shows; ``disagreements`` begin with the widest gap."""

    first: Network
    second: Network
    evaluations: tuple[Evaluation, Evaluation]
    patients: int
    shares: dict[str, PairedShare]
    auc: PairedAuc
    roc: tuple[Curve, Curve]
    disagreements: tuple[Disagreement, ...]
    replicates: int
    seed: int

    def as_dict(self, provenance: Provenance) -> dict[str, Any]:
        """Everything in a form that JSON can hold.

        Parameters
        ----------
        provenance : Provenance
            Where the report comes from.

        Returns
        -------
        dict
            Differences are second minus first; films are named by their path below the source.
        """
        first, second = self.evaluations
        return {
            "report": "comparison",
            "notice": NOTICE,
            "n": first.n,
            "patients": self.patients,
            "first": {**asdict(self.first), "evaluation": first.as_dict()},
            "second": {**asdict(self.second), "evaluation": second.as_dict()},
            "provenance": provenance.as_dict(),
            "bootstrap": {"by": "patient", "replicates": self.replicates, "seed": self.seed},
            **{
                name: {**asdict(share), "first": share.first, "second": share.second}
                for name, share in self.shares.items()
            },
            "auc": asdict(self.auc),
            "roc": [asdict(curve) for curve in self.roc],
            "disagreements": [
                {"first": film_as_dict(film.first, provenance), "second": film_as_dict(film.second, provenance)}
                for film in self.disagreements
            ],
        }


def compare(
    bundles: tuple[Bundle, Bundle],
    answers: tuple[Sequence[ScoredFilm], Sequence[ScoredFilm]],
    *,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> Comparison:
    """Compare the scores of two networks for the same films.

    Parameters
    ----------
    bundles : tuple of Bundle
        First and second.
    answers : tuple of sequence of ScoredFilm
        Their scores, film by film.
    replicates : int, optional
        Samples of the bootstrap.
    seed : int, optional
        Of the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If the scores are not of the same films, or one of the labels has fewer than two films.
    """
    _check_same(*answers)
    first, second = Sample.of(answers[0]), Sample.of(answers[1])
    bootstrap = PatientBootstrap(first.patients.tolist(), first.targets, replicates=replicates, seed=seed)
    subsets = {"accuracy": first.everything, "sensitivity": first.ill, "specificity": ~first.ill}
    gain = second.right.astype(np.float64) - first.right
    statistics: dict[str, Statistic] = {name: mean_of(gain, among) for name, among in subsets.items()}
    statistics["auc"] = _auc_gain(first, second)
    by_patient = bootstrap.intervals(statistics)
    areas = delong(first.targets, second.probabilities, first.probabilities)
    disagreements = [
        Disagreement(one, other) for one, other in zip(*answers, strict=True) if one.is_right != other.is_right
    ]
    return Comparison(
        first=Network.of(bundles[0]),
        second=Network.of(bundles[1]),
        evaluations=(
            evaluate_films(answers[0], bundles[0].name, bundles[0].version),
            evaluate_films(answers[1], bundles[1].name, bundles[1].version),
        ),
        patients=bootstrap.patients,
        shares={
            name: paired_share(first.right[among], second.right[among], by_patient[name])
            for name, among in subsets.items()
        },
        auc=_paired_auc(areas, len(first.targets), by_patient["auc"]),
        roc=(roc(first.targets, first.probabilities), roc(second.targets, second.probabilities)),
        disagreements=tuple(sorted(disagreements, key=lambda film: -film.gap)),
        replicates=replicates,
        seed=seed,
    )


def _check_same(first: Sequence[ScoredFilm], second: Sequence[ScoredFilm]) -> None:
    """Raise DataError unless both score the same films: paired tests need them."""
    if [(film.picture, film.film_sha256) for film in first] != [(film.picture, film.film_sha256) for film in second]:
        raise DataError(
            "the two networks did not answer to the same films: score them on the same folder, in one order"
        )


def _auc_gain(first: Sample, second: Sample) -> Statistic:
    before = Ranking(first.targets, first.probabilities)
    after = Ranking(second.targets, second.probabilities)

    def gain(weights: Numbers) -> Numbers:
        return np.asarray(after.auc(weights) - before.auc(weights))

    return gain


def paired_share(first: Mask, second: Mask, by_patient: Interval | None) -> PairedShare:
    """Count in how many films both, one or neither was right, with the intervals of the difference.

    Parameters
    ----------
    first, second : ndarray of bool, shape (n,)
        Whether each was right, film by film.
    by_patient : tuple of float or None
        Of second minus first, by bootstrap.

    Returns
    -------
    PairedShare
    """
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    by_film = paired_difference_interval(both, only_second, only_first, neither)
    return PairedShare(
        n=len(first),
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_second - only_first) / len(first),
        by_film=by_film,
        by_patient=with_width(by_patient, by_film),
        p=mcnemar(only_first, only_second),
    )


def _paired_auc(areas: DeLong, n: int, by_patient: Interval | None) -> PairedAuc:
    return PairedAuc(n, areas.second, areas.first, areas.difference, areas.interval, by_patient, areas.p)
