"""Acceptance test of a bundle on a site's own films, as it ships and with an operating point of the site.

Films that choose an operating point never report on it: the figures "after" are cross-fitted by child (``site_point``).
The verdict depends on lower bounds alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model.acceptance.figures import changes, films_needed, plans, predictive_values, widest
from model.acceptance.site_point import CalibratedPoint, at_prevalence, cross_fit, fit_intercept, site_bands
from model.acceptance.targets import Decision, Targets
from model.evaluation.figures import Sample
from model.evaluation.provenance import Network
from model.labels import Band
from model.operating.operating_point import PREVALENCES
from model.statistics.curves import histogram, reliability, roc
from model.statistics.patient_bootstrap import REPLICATES, SEED, PatientBootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from model.acceptance.figures import Change, Needed, Predictive
    from model.acceptance.site_point import CrossFitted, LabelledLogits
    from model.evaluation.compare import PairedShare
    from model.evaluation.figures import Figure
    from model.operating.calibration import Bands
    from model.serving.bundle import Bundle
    from model.statistics.curves import Curve, HistogramBin, ReliabilityBin

FEWEST = 100
"""Films of each label that an acceptance asks for."""


@dataclass(frozen=True, slots=True)
class BandCounts:
    """How many normal and pneumonia films lie in a band, before and after."""

    band: Band
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Acceptance:
    """What was found on a site's films.

    ``before`` are the figures of the shipped operating point, ``after`` those of the site's, cross-fitted; ``point`` is
    the site's, fitted on all films. ``predictive`` and ``needed`` are about the figures that the verdict is about. The
    probabilities of ``reliability`` (before, after) are restated for the share of pneumonia among these films.
    """

    network: Network
    shipped: CalibratedPoint
    point: CalibratedPoint
    fitted: CrossFitted
    normal: int
    pneumonia: int
    children: int
    auc: Figure
    before: dict[str, Figure]
    after: dict[str, Figure]
    changes: dict[str, Change]
    shares: dict[str, PairedShare]
    targets: Targets
    prevalence: float | None
    predictive: tuple[Predictive, ...]
    needed: tuple[Needed, ...]
    bands: tuple[BandCounts, ...]
    roc: Curve
    histogram: tuple[HistogramBin, ...]
    reliability: tuple[tuple[ReliabilityBin, ...], tuple[ReliabilityBin, ...]]
    replicates: int
    seed: int

    @property
    def is_few(self) -> bool:
        """Whether there are fewer films of a label than an acceptance asks for."""
        return not is_enough(self.normal, self.pneumonia)

    @property
    def is_proven(self) -> bool:
        """Whether the site's operating point is better: both lower bounds of the gain in balanced accuracy are above 0."""
        gain = self.changes["balanced_accuracy"]
        return all(bounds is not None and bounds[0] > 0 for bounds in (gain.by_patient, gain.by_film))

    @property
    def judged(self) -> dict[str, Figure]:
        """The figures that the verdict is about: those after where the gain is proven, else those before."""
        return self.after if self.is_proven else self.before

    @property
    def verdict(self) -> Decision | None:
        """The verdict on ``judged``; None where no target is stated."""
        return verdict(self.judged, self.targets)

    def as_dict(self) -> dict[str, Any]:
        """Everything in a form that JSON can hold."""
        return {
            "normal": self.normal,
            "pneumonia": self.pneumonia,
            "children": self.children,
            "few": self.is_few,
            "network": asdict(self.network),
            "shipped": self.shipped.as_dict(),
            "site": self.point.as_dict(),
            "folds": [point.as_dict() for point in self.fitted.points],
            "auc": asdict(self.auc),
            "before": figures_as_dict(self.before),
            "after": figures_as_dict(self.after),
            "changes": {name: asdict(change) for name, change in self.changes.items()},
            "paired": {name: asdict(share) for name, share in self.shares.items()},
            "proven": self.is_proven,
            "targets": self.targets.stated(),
            "prevalence": self.prevalence,
            "judged": "after" if self.is_proven else "before",
            "verdict": self.verdict,
            "predictive_values": [asdict(each) for each in self.predictive],
            "films_needed": [
                {**asdict(each), "for_half_width": {f"{width:g}": n for width, n in each.for_half_width.items()}}
                for each in self.needed
            ],
            "bands": [asdict(band) for band in self.bands],
            "roc": asdict(self.roc),
            "histogram": [asdict(part) for part in self.histogram],
            "bootstrap": {"by": "patient", "replicates": self.replicates, "seed": self.seed},
        }


def figures_as_dict(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures in a form that JSON can hold."""
    return {name: asdict(figure) for name, figure in figures.items()}


def verdict(figures: Mapping[str, Figure], targets: Targets) -> Decision | None:
    """Compare lower bounds with targets; None where none is stated."""
    stated = targets.stated()
    if not stated:
        return None
    is_met = all(widest(figures[name])[0] >= target for name, target in stated.items())
    return Decision.ACCEPTED if is_met else Decision.NOT_ACCEPTED


def is_enough(normal: int, pneumonia: int) -> bool:
    """Whether there are as many films of each label as an acceptance asks for."""
    return min(normal, pneumonia) >= FEWEST


def accept(
    bundle: Bundle,
    judged: LabelledLogits,
    targets: Targets,
    prevalence: float | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> Acceptance:
    """Measure a bundle on a site's films before and after a calibration on them.

    Parameters
    ----------
    bundle : Bundle
        The bundle that gave the logits.
    judged : LabelledLogits
        The films.
    targets : Targets
        What the site asks for.
    prevalence : float, optional
        Share of films with pneumonia at the site, in (0, 1), for a line among the predictive values.
    replicates : int, optional
        Samples of the bootstrap.
    seed : int, optional
        Of the bootstrap.

    Returns
    -------
    Acceptance

    Raises
    ------
    DataError
        If there are too few children of one label.
    InputError
        If a logit is not finite.
    """
    shipped = CalibratedPoint.of(bundle)
    slope = shipped.calibration.slope
    fitted = cross_fit(judged, slope)
    old = shipped.probabilities(judged.logits)
    first = _sample(judged, old, old >= shipped.threshold)
    second = _sample(judged, fitted.probabilities, fitted.called)
    bootstrap = PatientBootstrap(judged.children.tolist(), judged.targets, replicates=replicates, seed=seed)
    # Ranks are the same before and after: one AUC, of the logits.
    ranked = Sample(judged.children, judged.targets, judged.logits, first.right)
    before, after = (sample.measure(plans(sample), bootstrap) for sample in (first, second))
    shares, differences = changes(first, second, bootstrap)
    found = Acceptance(
        network=Network.of(bundle),
        shipped=shipped,
        point=fit_intercept(judged.targets, judged.logits, slope),
        fitted=fitted,
        normal=int((~first.ill).sum()),
        pneumonia=int(first.ill.sum()),
        children=bootstrap.patients,
        auc=ranked.measure({"auc": ranked.area(ranked.everything)}, bootstrap)["auc"],
        before=before,
        after=after,
        changes=differences,
        shares=shares,
        targets=targets,
        prevalence=prevalence,
        predictive=(),
        needed=(),
        bands=_bands(bundle.bands, first, second),
        roc=roc(judged.targets, judged.logits),
        histogram=histogram(judged.targets, old),
        reliability=(_reliability(first), _reliability(second)),
        replicates=replicates,
        seed=seed,
    )
    prevalences = sorted({*PREVALENCES, *(() if prevalence is None else (prevalence,))})
    which = second if found.is_proven else first
    return replace(
        found,
        predictive=predictive_values(which, found.judged, bootstrap, prevalences),
        needed=films_needed(found.judged, targets.stated()),
    )


def _sample(judged: LabelledLogits, probabilities: NDArray[np.float64], called: NDArray[np.bool_]) -> Sample:
    return Sample(judged.children, judged.targets, probabilities, np.asarray(called == (judged.targets == 1)))


def _reliability(sample: Sample) -> tuple[ReliabilityBin, ...]:
    return reliability(sample.targets, at_prevalence(sample.probabilities, float(sample.targets.mean())))


def _bands(bands: Bands | None, first: Sample, second: Sample) -> tuple[BandCounts, ...]:
    if bands is None:
        return ()

    def counts(sample: Sample, edges: Bands, band: Band) -> tuple[int, int]:
        inside = np.array([edges.band(float(probability)) is band for probability in sample.probabilities])
        return int((inside & ~sample.ill).sum()), int((inside & sample.ill).sum())

    return tuple(BandCounts(band, counts(first, bands, band), counts(second, site_bands(bands), band)) for band in Band)
