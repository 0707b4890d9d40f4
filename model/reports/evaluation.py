"""The evaluation report as a page of HTML, for a radiology department that has to decide about a network."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from model.evaluation.assessment import MOST_WRONG
from model.reports import charts
from model.reports.page import render
from model.reports.wording import FIGURES, cell, interval, number, picture_of, stacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from model.evaluation.assessment import Assessment
    from model.evaluation.provenance import Provenance
    from model.evaluation.subgroups import Subgroup
    from model.reports.wording import Reader


def render_report(found: Assessment, provenance: Provenance, reader: Reader) -> str:
    """Write the page of an evaluation.

    Parameters
    ----------
    found : Assessment
        What was measured.
    provenance : Provenance
        Where it comes from.
    reader : callable
        Gives the grey film (uint8, MONOCHROME2) of a path; only films that were judged wrongly are read.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    DataError
        If a film cannot be read.
    """
    (tn, fp), (fn, tp) = found.evaluation.confusion
    threshold = f"{found.evaluation.threshold:g}"
    return render(
        "evaluation.html",
        found=found,
        provenance=provenance,
        counts=(
            f"{found.evaluation.n}: {tn + fp} normal, {fn + tp} pneumonia, of {found.patients} patients; "
            f"called PNEUMONIA from a probability of {threshold}"
        ),
        tiles=_tiles(found),
        figures=_figures(found),
        charts=_charts(found),
        auc=cell(found.figures["auc"], share=False),
        average_precision=cell(found.figures["average_precision"], share=False),
        ece=cell(found.figures["ece"], share=False),
        n=found.evaluation.n,
        ill=fn + tp,
        threshold=threshold,
        bands=_bands(found),
        divisions=_divisions(found),
        out_of_scope=_out_of_scope(found, provenance),
        wrong=list(_wrong(found, provenance, reader)),
    )


def _tiles(found: Assessment) -> list[dict[str, str]]:
    tiles = []
    for key, name, share in FIGURES[:4]:
        figure = found.figures[key]
        films = f"{round(figure.value * figure.n)} of {figure.n} films" if share else f"{figure.n} films"
        bounds = interval(figure.by_patient, share=share)
        tiles.append({"name": name, "value": number(figure.value, share=share), "interval": bounds, "films": films})
    return tiles


def _figures(found: Assessment) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, name, share in FIGURES:
        figure = found.figures[key]
        bounds = interval(figure.by_patient, share=share), interval(figure.by_film, share=share)
        rows.append((name, number(figure.value, share=share), *bounds, str(figure.n)))
    return rows


def _charts(found: Assessment) -> dict[str, Markup]:
    (tn, fp), (fn, tp) = found.evaluation.confusion
    false_alarms, sensitivity = fp / (tn + fp), tp / (fn + tp)
    point = (sensitivity, tp / (tp + fp)) if tp + fp else None
    return {
        "roc": charts.roc_chart([found.roc], [(false_alarms, sensitivity)]),
        "precision_recall": charts.precision_recall_chart(
            found.precision_recall, (fn + tp) / found.evaluation.n, point
        ),
        "reliability": charts.reliability_chart(found.reliability),
        "histogram": charts.histogram_chart(found.histogram, found.evaluation.threshold),
        "confusion": charts.confusion_chart(found.evaluation.confusion),
    }


def _bands(found: Assessment) -> list[tuple[str, ...]]:
    return [
        (
            band.band.value,
            str(band.n),
            str(band.pneumonia),
            number(band.pneumonia / band.n, share=True),
            interval(band.interval, share=True),
        )
        for band in found.bands
    ]


def _divisions(found: Assessment) -> list[tuple[str, list[tuple[str, ...]]]]:
    return [
        (division[:1].upper() + division[1:], [_row(group) for group in members])
        for division, members in groupby(found.subgroups, key=lambda group: group.division)
    ]


def _row(group: Subgroup) -> tuple[str, ...]:
    return (
        group.name,
        str(group.n),
        str(group.patients),
        stacked(group.accuracy, share=True),
        charts.interval_bar(group.accuracy.value, group.accuracy.by_patient, 0.5, 1.0),
        stacked(group.sensitivity, share=True),
        stacked(group.specificity, share=True),
        stacked(group.auc, share=False),
    )


def _out_of_scope(found: Assessment, provenance: Provenance) -> list[tuple[str, str, str]] | None:
    """Name, label and unlikeness of each film, the most unlike first; None where the network cannot tell."""
    if found.out_of_scope is None:
        return None
    return [
        (provenance.name_of(film), film.picture.label.value, f"{film.score.unlikeness:.2f}")
        for film in sorted(found.out_of_scope, key=lambda film: -(film.score.unlikeness or 0))
    ]


def _wrong(found: Assessment, provenance: Provenance, reader: Reader) -> Iterator[tuple[str, int, list[Any]]]:
    """Title, number of films, and those that are shown."""
    for title, films in (
        ("False alarms: normal films called PNEUMONIA", found.false_alarms),
        ("Missed: pneumonia films called NORMAL", found.missed),
    ):
        captions = [(film, f"{film.score.probability:.3f}, {film.picture.kind}") for film in films[:MOST_WRONG]]
        yield title, len(films), [picture_of(film, caption, provenance, reader) for film, caption in captions]
