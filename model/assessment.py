"""Everything an evaluation report shows, as numbers: the same content becomes a page and a JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model.bootstrap import REPLICATES, SEED, PatientBootstrap
from model.curves import Curve, HistogramBin, ReliabilityBin, histogram, precision_recall, reliability, roc
from model.evaluate import Evaluation, ScoredFilm, evaluate_films
from model.figures import Figure, Sample
from model.intervals import Interval, wilson
from model.labels import Band, Label
from model.page import NOTICE
from model.subgroups import Group, Subgroup, groups, plans_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.bundle import Bundle
    from model.figures import Plan

MOST_WRONG = 12
"""How many films of each sort of error a report shows."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a report comes from. ``made_at`` is a time in UTC, ISO 8601."""

    command: str
    source: Path
    made_at: str
    program: str

    def name_of(self, film: ScoredFilm) -> str:
        """How a film is called in a report: ``below``."""
        return self.below(film.picture.path)

    def below(self, path: Path) -> str:
        """A path below the source, be that the folder of the films or the list that lies beside them."""
        root = next((root for root in (self.source, self.source.parent) if path.is_relative_to(root)), None)
        return _shown(path if root is None else path.relative_to(root))

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {**asdict(self), "source": _shown(self.source)}


def _shown(name: Path | str) -> str:
    """A name in text that can be written: file names may hold bytes that are no UTF-8."""
    return str(name).encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Network:
    """Which network was measured, and the digests that prove it."""

    label: str
    digest: str
    weights_sha256: str

    @classmethod
    def of(cls, bundle: Bundle) -> Network:
        """That of a bundle."""
        return cls(bundle.label, bundle.digest, bundle.weights_sha256)


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

    ``figures`` and ``evaluation`` count every film, also those out of scope, as if none had been refused; how the
    network does on films in scope and out of it is in the division "scope" of ``subgroups``. ``out_of_scope`` is None
    where the network cannot tell. ``false_alarms`` and ``missed`` begin with the most wrong probability.
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


def film_as_dict(film: ScoredFilm, provenance: Provenance) -> dict[str, Any]:
    """A film and its answer in a form that JSON can hold.

    Parameters
    ----------
    film : ScoredFilm
        The film.
    provenance : Provenance
        Says how it is called.

    Returns
    -------
    dict
        Plain values.
    """
    picture, score = film.picture, film.score
    return {
        "file": provenance.name_of(film),
        "label": picture.label.value,
        "type": picture.kind,
        "patient": _shown(picture.patient),
        "subgroups": dict(picture.subgroups),
        "rows": film.rows,
        "columns": film.columns,
        "film_sha256": film.film_sha256,
        "called": score.label.value,
        "probability": score.probability,
        "logit": score.logit,
        "band": score.band.value if score.band else None,
        "unlikeness": score.unlikeness,
    }


def assess(
    bundle: Bundle, films: Sequence[ScoredFilm], *, replicates: int = REPLICATES, seed: int = SEED
) -> Assessment:
    """Compute everything an evaluation report shows.

    Parameters
    ----------
    bundle : Bundle
        Whose answers they are.
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
    sample = Sample(films)
    divided, passed = groups(films)
    plans: dict[tuple[int | None, str], Plan] = {(None, name): plan for name, plan in sample.plans().items()}
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
