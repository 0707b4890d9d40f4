"""All numbers of an evaluation report; the page and the JSON document are made from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model.evaluation.figures import Figure, Sample
from model.evaluation.provenance import Network, Provenance, film_as_dict
from model.evaluation.scoring import ScoredFilm, evaluate_films
from model.evaluation.subgroups import Group, Subgroup, groups, plans_of
from model.labels import Band, Label
from model.notice import NOTICE
from model.statistics.curves import Curve, HistogramBin, ReliabilityBin, histogram, precision_recall, reliability, roc
from model.statistics.intervals import Interval, wilson
from model.statistics.patient_bootstrap import REPLICATES, SEED, PatientBootstrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.evaluation.figures import FigurePlan
    from model.serving.bundle import Bundle
    from model.statistics.evaluation import Evaluation

MOST_WRONG = 12
"""How many films of each kind of error a report shows."""


@dataclass(frozen=True, slots=True)
class BandRate:
    """Films of one band of probability, and how many of them are ill; Wilson's interval of that share."""

    band: Band
    n: int
    pneumonia: int
    interval: Interval


@dataclass(frozen=True, slots=True)
class Assessment:
    """An evaluation in full.

    ``figures`` and ``evaluation`` count every film, also those out of scope, as if none had been refused; films in scope and
    out of scope are separate in the division "scope" of ``subgroups``. ``out_of_scope`` is None
    where the network has no scope. ``false_alarms`` and ``missed`` begin with the most wrong probability.
    """

    network: Network
    evaluation: Evaluation
    patients: int
    figures: dict[str, Figure]
    roc: Curve
    precision_recall: Curve
    reliability: tuple[ReliabilityBin, ...]
    histogram: tuple[HistogramBin, ...]
    bands: tuple[BandRate, ...]
    subgroups: tuple[Subgroup, ...]
    passed_columns: tuple[str, ...]
    out_of_scope: tuple[ScoredFilm, ...] | None
    false_alarms: tuple[ScoredFilm, ...]
    missed: tuple[ScoredFilm, ...]
    films: tuple[ScoredFilm, ...]
    replicates: int
    seed: int

    def as_dict(self, provenance: Provenance) -> dict[str, Any]:
        """Everything in a form that JSON can hold; the figures of ``Evaluation`` stand at the top.

        Parameters
        ----------
        provenance : Provenance
            Where the report comes from.

        Returns
        -------
        dict
            Films are named by their path below the source.
        """

        def names(films: Sequence[ScoredFilm]) -> list[str]:
            return [provenance.name_of(film) for film in films]

        return {
            "report": "evaluation",
            "notice": NOTICE,
            **self.evaluation.as_dict(),
            "patients": self.patients,
            "network": asdict(self.network),
            "provenance": provenance.as_dict(),
            "bootstrap": {"by": "patient", "replicates": self.replicates, "seed": self.seed},
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "roc": asdict(self.roc),
            "precision_recall": asdict(self.precision_recall),
            "reliability": [asdict(part) for part in self.reliability],
            "histogram": [asdict(part) for part in self.histogram],
            "bands": [asdict(part) for part in self.bands],
            "subgroups": [{**asdict(group), "n": group.n} for group in self.subgroups],
            "passed_columns": list(self.passed_columns),
            "out_of_scope": None if self.out_of_scope is None else names(self.out_of_scope),
            "false_alarms": names(self.false_alarms),
            "missed": names(self.missed),
            "films": [film_as_dict(film, provenance) for film in self.films],
        }


def assess(
    bundle: Bundle, films: Sequence[ScoredFilm], *, replicates: int = REPLICATES, seed: int = SEED
) -> Assessment:
    """Compute everything an evaluation report shows.

    Parameters
    ----------
    bundle : Bundle
        The bundle that scored them.
    films : sequence of ScoredFilm
        At least one of each label.
    replicates : int, optional
        Samples of the bootstrap.
    seed : int, optional
        Of the bootstrap.

    Returns
    -------
    Assessment

    Raises
    ------
    DataError
        If one of the labels has no film.
    """
    sample = Sample.of(films)
    divided, passed = groups(films)
    plans: dict[tuple[int | None, str], FigurePlan] = {(None, name): plan for name, plan in sample.plans().items()}
    for number, group in enumerate(divided):
        plans |= {(number, name): plan for name, plan in plans_of(sample, group).items()}
    bootstrap = PatientBootstrap(sample.patients.tolist(), sample.targets, replicates=replicates, seed=seed)
    found = sample.measure(plans, bootstrap)
    wrong = [film for film in films if not film.is_right]
    by_probability = sorted(wrong, key=lambda film: film.score.probability)
    knows_scope = any(film.score.unlikeness is not None for film in films)
    return Assessment(
        network=Network.of(bundle),
        evaluation=evaluate_films(films, bundle.name, bundle.version),
        patients=bootstrap.patients,
        figures={name: figure for (owner, name), figure in found.items() if owner is None},
        roc=roc(sample.targets, sample.probabilities),
        precision_recall=precision_recall(sample.targets, sample.probabilities),
        reliability=reliability(sample.targets, sample.probabilities),
        histogram=histogram(sample.targets, sample.probabilities),
        bands=_band_rates(films),
        subgroups=tuple(
            _subgroup(sample, group, {name: figure for (owner, name), figure in found.items() if owner == number})
            for number, group in enumerate(divided)
        ),
        passed_columns=passed,
        out_of_scope=tuple(film for film in films if film.is_out_of_scope) if knows_scope else None,
        false_alarms=tuple(film for film in reversed(by_probability) if film.picture.label is Label.NORMAL),
        missed=tuple(film for film in by_probability if film.picture.label is Label.PNEUMONIA),
        films=tuple(films),
        replicates=replicates,
        seed=seed,
    )


def _subgroup(sample: Sample, group: Group, figures: dict[str, Figure]) -> Subgroup:
    return Subgroup(
        division=group.division,
        name=group.name,
        normal=int((group.mask & ~sample.ill).sum()),
        pneumonia=int((group.mask & sample.ill).sum()),
        patients=sample.count_patients(group.mask),
        accuracy=figures["accuracy"],
        sensitivity=figures.get("sensitivity"),
        specificity=figures.get("specificity"),
        auc=figures.get("auc"),
    )


def _band_rates(films: Sequence[ScoredFilm]) -> tuple[BandRate, ...]:
    rates = []
    for band in Band:
        inside = [film for film in films if film.score.band is band]
        if inside:
            ill = sum(film.picture.label is Label.PNEUMONIA for film in inside)
            rates.append(BandRate(band, len(inside), ill, wilson(ill, len(inside))))
    return tuple(rates)
