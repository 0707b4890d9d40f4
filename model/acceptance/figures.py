"""The figures of an acceptance: before and after, their differences, predictive values, films needed.

Where both labels weigh the same, each film weighs by how many films its label has, so that figures do not move with the
share of pneumonia among the films a site happens to list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.compare import paired_share
from model.evaluation.figures import FigurePlan, Sample
from model.statistics.metrics import calibration_error, mean_of
from model.statistics.sample_size import films_for_half_width, films_for_lower_bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluation.compare import PairedShare
    from model.evaluation.figures import Figure, Mask
    from model.statistics.intervals import Interval
    from model.statistics.metrics import Numbers, Statistic
    from model.statistics.patient_bootstrap import PatientBootstrap

HALF_WIDTHS = (0.05, 0.03, 0.02)
"""Half widths of intervals for which the number of films needed is computed."""

_SHARES = ("sensitivity", "specificity")
_CERTAIN = 1e-12
"""How far a probability is kept from 0 and 1 in the log loss."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure after minus before. ``by_film`` is None where there is no closed form."""

    difference: float
    by_patient: Interval | None
    by_film: Interval | None


@dataclass(frozen=True, slots=True)
class Predictive:
    """Predictive values, [0, 1], where a share ``prevalence`` of films shows pneumonia."""

    prevalence: float
    positive: Figure
    negative: Figure


@dataclass(frozen=True, slots=True)
class Needed:
    """How many films, each of another child, would tell the share ``figure`` better.

    ``for_half_width`` has a number for each of ``HALF_WIDTHS``. ``for_target`` is the number whose lower bound reaches the
    target if the share stays as it is; None where no target is stated or the share is not above it.
    """

    figure: str
    share: float
    half_width: float
    for_half_width: dict[float, int]
    target: float | None
    for_target: int | None


def widest(figure: Figure) -> Interval:
    """The outer ends of a figure's intervals, by patient and by film: the verdict depends on them.

    A bootstrap of a share near 1 is too narrow, and a closed form does not know that films of one child are alike.

    Parameters
    ----------
    figure : Figure
        With at least one of the two.

    Returns
    -------
    tuple of float
        The lower of the lower ends, the higher of the higher ones.
    """
    known = [bounds for bounds in (figure.by_patient, figure.by_film) if bounds]
    return min(low for low, _ in known), max(high for _, high in known)


def balanced_statistics(sample: Sample) -> dict[str, Statistic]:
    """Balanced accuracy, log loss and calibration error: both labels weigh the same.

    Parameters
    ----------
    sample : Sample
        Films of both labels.

    Returns
    -------
    dict to callable
        Figures of weights of shape (..., n).
    """
    kept = np.clip(sample.probabilities, _CERTAIN, 1 - _CERTAIN)
    loss = -np.log(np.where(sample.ill, kept, 1 - kept))
    balance = np.where(sample.ill, 0.5 / sample.ill.mean(), 0.5 / (~sample.ill).mean())
    error = calibration_error(sample.targets, sample.probabilities)
    return {
        "balanced_accuracy": _mean_of_labels(sample.right, sample),
        "log_loss": _mean_of_labels(loss, sample),
        "ece": lambda weights: error(weights * balance),
    }


def plans(sample: Sample) -> dict[str, FigurePlan]:
    """The figures of an operating point.

    Parameters
    ----------
    sample : Sample
        Films of both labels.

    Returns
    -------
    dict to FigurePlan
        ``sensitivity``, ``specificity``, ``accuracy`` and those of ``balanced_statistics``.
    """
    shares = {
        "sensitivity": sample.share_right(sample.ill),
        "specificity": sample.share_right(~sample.ill),
        "accuracy": sample.share_right(sample.everything),
    }
    return shares | {
        name: FigurePlan(figure, len(sample.targets)) for name, figure in balanced_statistics(sample).items()
    }


def changes(
    first: Sample, second: Sample, bootstrap: PatientBootstrap
) -> tuple[dict[str, PairedShare], dict[str, Change]]:
    """What the second operating point changes on the same films.

    Parameters
    ----------
    first, second : Sample
        The same films before and after.
    bootstrap : PatientBootstrap
        Of these very films.

    Returns
    -------
    tuple of dict
        Sensitivity and specificity film by film; and the differences of the figures, second minus first. By film,
        Newcombe's interval of both shares; of the balanced accuracy, which is the mean of two independent ones, their
        squares are added (Zou and Donner, Stat Med 2008;27:1693-1702).
    """
    gain = second.right.astype(np.float64) - first.right
    masks = {"sensitivity": first.ill, "specificity": ~first.ill}
    before, after = balanced_statistics(first), balanced_statistics(second)
    statistics: dict[str, Statistic] = {name: mean_of(gain, among) for name, among in masks.items()}
    statistics |= {name: _difference(before[name], after[name]) for name in before}
    by_patient = bootstrap.intervals(statistics)
    shares = {
        name: paired_share(first.right[mask], second.right[mask], by_patient[name]) for name, mask in masks.items()
    }
    found = {name: Change(share.difference, share.by_patient, share.by_film) for name, share in shares.items()}
    once = np.ones(len(first.targets))
    for name in before:
        by_film = _mean_of_two(list(shares.values())) if name == "balanced_accuracy" else None
        found[name] = Change(float(statistics[name](once)), by_patient[name], by_film)
    return shares, found


def predictive_values(
    sample: Sample, figures: Mapping[str, Figure], bootstrap: PatientBootstrap, prevalences: Sequence[float]
) -> tuple[Predictive, ...]:
    """Predictive values at stated prevalences, from sensitivity and specificity by Bayes' rule.

    Parameters
    ----------
    sample : Sample
        Films of both labels.
    figures : mapping to Figure
        Their sensitivity and specificity.
    bootstrap : PatientBootstrap
        Of these very films.
    prevalences : sequence of float
        Shares of films with pneumonia, in (0, 1).

    Returns
    -------
    tuple of Predictive
        In the order of the prevalences; nan is never one of the values: where no film is called so, the value is 0.
    """
    sensitivity, specificity = mean_of(sample.right, sample.ill), mean_of(sample.right, ~sample.ill)

    def plan(prevalence: float, *, positive: bool) -> FigurePlan:
        def value(found: Numbers, spared: Numbers) -> Numbers:
            if positive:
                return _quotient(prevalence * found, (1 - prevalence) * (1 - spared))
            return _quotient((1 - prevalence) * spared, prevalence * (1 - found))

        ends = [widest(figures[name]) for name in _SHARES]
        flat = tuple(float(value(np.array(ends[0][end]), np.array(ends[1][end]))) for end in (0, 1))
        return FigurePlan(
            lambda weights: value(sensitivity(weights), specificity(weights)),
            len(sample.targets),
            None,
            (flat[0], flat[1]),
        )

    wanted = {(share, side): plan(share, positive=side) for share in prevalences for side in (True, False)}
    found = sample.measure(wanted, bootstrap)
    return tuple(Predictive(share, found[share, True], found[share, False]) for share in prevalences)


def films_needed(figures: Mapping[str, Figure], targets: Mapping[str, float]) -> tuple[Needed, ...]:
    """How many films would tell sensitivity and specificity better.

    Parameters
    ----------
    figures : mapping to Figure
        With both.
    targets : mapping to float
        What is asked of them, in (0, 1), where it is stated.

    Returns
    -------
    tuple of Needed
    """
    rows = []
    for name in _SHARES:
        low, high = widest(figures[name])
        share, target = figures[name].value, targets.get(name)
        rows.append(
            Needed(
                figure=name,
                share=share,
                half_width=(high - low) / 2,
                for_half_width={width: films_for_half_width(share, width) for width in HALF_WIDTHS},
                target=target,
                for_target=None if target is None else films_for_lower_bound(share, target),
            )
        )
    return tuple(rows)


def _mean_of_labels(values: Numbers | Mask, sample: Sample) -> Statistic:
    ill, well = mean_of(values, sample.ill), mean_of(values, ~sample.ill)
    return lambda weights: (ill(weights) + well(weights)) / 2


def _difference(before: Statistic, after: Statistic) -> Statistic:
    return lambda weights: np.asarray(after(weights) - before(weights))


def _mean_of_two(shares: Sequence[PairedShare]) -> Interval:
    """The interval of the mean of two independent differences, from theirs by film."""
    middle = sum(share.difference for share in shares) / 2
    below = math.hypot(*(share.difference - share.by_film[0] for share in shares)) / 2
    above = math.hypot(*(share.by_film[1] - share.difference for share in shares)) / 2
    return middle - below, middle + above


def _quotient(part: Numbers, rest: Numbers) -> Numbers:
    """Share of ``part`` in both; 0 where there is nothing."""
    whole = part + rest
    return np.asarray(np.divide(part, whole, out=np.zeros_like(np.asarray(whole, dtype=np.float64)), where=whole > 0))
