"""The comparison of two networks as a page of HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.reports import charts
from model.reports.page import render
from model.reports.wording import FIGURES, interval, number, picture_of, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from model.evaluation.compare import Comparison, PairedAuc, PairedShare
    from model.evaluation.provenance import Provenance
    from model.reports.wording import Reader
    from model.statistics.intervals import Interval

MOST_APART = 24
"""How many films of each sort of disagreement a report shows."""


def render_comparison(found: Comparison, provenance: Provenance, reader: Reader) -> str:
    """Write the page of a comparison.

    Parameters
    ----------
    found : Comparison
        What was measured.
    provenance : Provenance
        Where it comes from.
    reader : callable
        Gives the grey film (uint8, MONOCHROME2) of a path; only films the networks disagree on are read.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    DataError
        If a film cannot be read.
    """
    (tn, fp), (fn, tp) = found.evaluations[0].confusion
    thresholds = " and ".join(f"{evaluation.threshold:g}" for evaluation in found.evaluations)
    return render(
        "comparison.html",
        found=found,
        provenance=provenance,
        counts=(
            f"{tn + fp + fn + tp}: {tn + fp} normal, {fn + tp} pneumonia, of {found.patients} patients; "
            f"called PNEUMONIA from {thresholds}"
        ),
        differences=_differences(found),
        films=_films(found),
        roc=_roc(found),
        first=f"{found.first.label}, AUC {found.auc.first:.3f}",
        second=f"{found.second.label}, AUC {found.auc.second:.3f}; n = {found.auc.n}. Dots are the thresholds.",
        disagreements=list(_disagreements(found, provenance, reader)),
    )


def _differences(found: Comparison) -> list[tuple[str, ...]]:
    measured: dict[str, PairedShare | PairedAuc] = {**found.shares, "auc": found.auc}
    widest = max(_reach(part.difference, part.by_patient, part.by_film) for part in measured.values())
    return [
        (
            name,
            number(measured[key].first, share=share),
            number(measured[key].second, share=share),
            under(_signed(measured[key].difference, share=share), interval(measured[key].by_patient, share=share)),
            charts.interval_bar(measured[key].difference, measured[key].by_patient, -widest, widest),
            interval(measured[key].by_film, share=share),
            _p(measured[key].p),
            str(measured[key].n),
        )
        for key, name, share in FIGURES[:4]
    ]


def _reach(difference: float, *intervals: Interval | None) -> float:
    return max(0.01, abs(difference), *(abs(bound) for bounds in intervals if bounds for bound in bounds))


def _signed(difference: float, *, share: bool) -> str:
    return ("+" if difference > 0 else "") + number(difference, share=share)


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _films(found: Comparison) -> list[tuple[str, ...]]:
    names = {"accuracy": "All films", "sensitivity": "Pneumonia", "specificity": "Normal"}
    return [
        (names[key], str(part.n), str(part.both), str(part.only_first), str(part.only_second), str(part.neither))
        for key, part in found.shares.items()
    ]


def _roc(found: Comparison) -> Markup:
    points = []
    for evaluation in found.evaluations:
        (tn, fp), (fn, tp) = evaluation.confusion
        points.append((fp / (tn + fp), tp / (fn + tp)))
    return charts.roc_chart(found.roc, points)


def _disagreements(found: Comparison, provenance: Provenance, reader: Reader) -> Iterator[tuple[str, int, list[Any]]]:
    """The network that alone is right, on how many films, and those that are shown."""
    for label, right in ((found.first.label, True), (found.second.label, False)):
        films = [film for film in found.disagreements if film.first.is_right is right]
        captions = [
            (
                film,
                f"{film.first.picture.label}: {film.first.score.probability:.3f}, then {film.second.score.probability:.3f}",
            )
            for film in films[:MOST_APART]
        ]
        yield label, len(films), [picture_of(film.first, caption, provenance, reader) for film, caption in captions]
