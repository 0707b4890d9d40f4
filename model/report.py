"""The evaluation report as a page of HTML: what a radiology department reads before it trusts a network."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from model import charts
from model.assessment import MOST_WRONG
from model.page import Markup, join, page, section, table, tag
from model.wording import FIGURES, cell, gallery, interval, number, origin, stacked, tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.assessment import Assessment, Provenance
    from model.evaluate import ScoredFilm
    from model.subgroups import Subgroup
    from model.wording import Reader


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
    counts = (
        f"{found.evaluation.n}: {tn + fp} normal, {fn + tp} pneumonia, of {found.patients} patients; "
        f"called PNEUMONIA from a probability of {found.evaluation.threshold:g}"
    )
    return page(
        f"Evaluation of {found.network.label}",
        origin([("Model", found.network)], provenance, [("Films", counts)]),
        _tiles(found),
        _figures(found),
        _charts(found),
        _bands(found),
        _subgroups(found),
        _scope(found, provenance),
        _wrong(found, provenance, reader),
        _method(found),
    )


def _tiles(found: Assessment) -> Markup:
    return tag(
        "div", *(tile(name, found.figures[key], share=share) for key, name, share in FIGURES[:4]), class_="tiles"
    )


def _figures(found: Assessment) -> Markup:
    rows = []
    for key, name, share in FIGURES:
        figure = found.figures[key]
        bounds = interval(figure.by_patient, share=share), interval(figure.by_film, share=share)
        rows.append((name, number(figure.value, share=share), *bounds, str(figure.n)))
    head = ("Figure", "Value", "95 % interval, by patient", "95 % interval, by film", "Films")
    return section(
        "Figures",
        table(head, rows),
        tag(
            "p",
            "Quote the interval by patient: films of one child are alike, so it draws children anew, not films. The "
            "interval by film takes every film as independent and stands here for comparison with other reports.",
            class_="soft",
        ),
    )


def _charts(found: Assessment) -> Markup:
    (tn, fp), (fn, tp) = found.evaluation.confusion
    false_alarms, sensitivity = fp / (tn + fp), tp / (fn + tp)
    point = (sensitivity, tp / (tp + fp)) if tp + fp else None
    key = join((tag("span", class_="key normal"), "normal ", tag("span", class_="key pneumonia"), "pneumonia"))
    ill, n = fn + tp, found.evaluation.n
    drawn = (
        (
            charts.roc_chart([found.roc], [(false_alarms, sensitivity)]),
            "ROC curve",
            f"AUC {cell(found.figures['auc'], share=False)}, n = {n}. The dot is the threshold.",
        ),
        (
            charts.precision_recall_chart(found.precision_recall, ill / n, point),
            "Precision and recall",
            (
                f"Average precision {cell(found.figures['average_precision'], share=False)}, n = {n}. Dashed: calling every "
                f"film pneumonia. Precision depends on how common pneumonia is; here {ill} of {n} films."
            ),
        ),
        (
            charts.reliability_chart(found.reliability),
            "Reliability",
            (
                f"Calibration error {cell(found.figures['ece'], share=False)}, n = {n}. On the dashed line, of films called "
                "80 % ill 80 % are. Larger dots hold more films; whiskers are 95 % intervals."
            ),
        ),
        (
            charts.histogram_chart(found.histogram, found.evaluation.threshold),
            "Scores",
            join((key, f". n = {n}. Dashed: the threshold.")),
        ),
        (
            charts.confusion_chart(found.evaluation.confusion),
            "Confusion matrix",
            f"n = {n} films at the threshold {found.evaluation.threshold:g}; rows are the labels of the data set.",
        ),
    )
    figures = [tag("figure", tag("h3", name), chart, tag("figcaption", words)) for chart, name, words in drawn]
    return section("Curves", tag("div", *figures, class_="charts"))


def _bands(found: Assessment) -> Markup:
    if not found.bands:
        return Markup("")
    rows = [
        (
            band.band.value,
            str(band.n),
            str(band.pneumonia),
            number(band.pneumonia / band.n, share=True),
            interval(band.interval, share=True),
        )
        for band in found.bands
    ]
    head = ("Band of the probability", "Films", "Pneumonia", "Share", "95 % interval, by film")
    return section("Bands", table(head, rows))


def _subgroups(found: Assessment) -> Markup:
    parts: list[Markup] = []
    for division, members in groupby(found.subgroups, key=lambda group: group.division):
        parts += [tag("h3", division[:1].upper() + division[1:]), _division(list(members))]
    if found.passed_columns:
        named = ", ".join(found.passed_columns)
        parts.append(tag("p", f"Not divided by, for having too many different values: {named}.", class_="soft"))
    note = (
        "The AUC is of the subgroup's own films, pneumonia against normal; where it has films of one label only, "
        "against every film of the other. Intervals are 95 %, by patient. Subgroups are many: a single low one may be "
        "chance, and a small one says little."
    )
    return section("Subgroups", tag("p", note, class_="soft"), tag("div", *parts, class_="subgroups"))


def _division(members: Sequence[Subgroup]) -> Markup:
    rows = [
        (
            group.name,
            str(group.n),
            str(group.patients),
            stacked(group.accuracy, share=True),
            charts.interval_bar(group.accuracy.value, group.accuracy.by_patient, 0.5, 1.0),
            stacked(group.sensitivity, share=True),
            stacked(group.specificity, share=True),
            stacked(group.auc, share=False),
        )
        for group in members
    ]
    return table(
        ("", "Films", "Patients", "Accuracy", "50 to 100 %", "Sensitivity", "Specificity", "AUC"),
        rows,
    )


def _scope(found: Assessment, provenance: Provenance) -> Markup:
    out, n = found.out_of_scope, found.evaluation.n
    if out is None:
        return section("Out of scope", tag("p", "This network cannot tell how unlike its training films a film is."))
    words = (
        f"{len(out)} of {n} films are too unlike the training films for the network to judge; Auscult refuses or flags "
        "them, by the site's policy. All figures above count them as if they were judged; the subgroup table has both "
        "sorts apart."
    )
    rows = [
        (provenance.name_of(film), film.picture.label.value, f"{film.score.unlikeness:.2f}")
        for film in sorted(out, key=lambda film: -(film.score.unlikeness or 0))
    ]
    listed = [table(("Film", "Label", "Unlikeness (above 1 is out)"), rows, words=2)] if rows else []
    return section("Out of scope", tag("p", words), *listed)


def _wrong(found: Assessment, provenance: Provenance, reader: Reader) -> Markup:
    parts: list[Markup] = []
    for title, films in (
        ("False alarms: normal films called PNEUMONIA", found.false_alarms),
        ("Missed: pneumonia films called NORMAL", found.missed),
    ):
        shown = films[:MOST_WRONG]
        parts += [
            tag("h3", f"{title} ({len(films)})"),
            gallery(shown, [_caption(film) for film in shown], provenance, reader) if films else tag("p", "None."),
        ]
        if len(films) > len(shown):
            parts.append(tag("p", f"The {len(shown)} most wrong of {len(films)}.", class_="soft"))
    return section("The films it got most wrong", *parts)


def _caption(film: ScoredFilm) -> str:
    return f"{film.score.probability:.3f}, {film.picture.kind}"


def _method(found: Assessment) -> Markup:
    lines = (
        "Every film went through the same preprocessing and engine that serve.",
        "Labels are the data set's; they are not checked here.",
        (
            f"By patient: percentile bootstrap of {found.replicates} samples, seed {found.seed}, children with normal films, "
            "with pneumonia films and with both drawn apart. A film whose patient is unknown is a patient of its own. Where "
            "every sample gives the same figure, or half of them none, Wilson's or Newcombe's interval for as many trials as "
            "there are patients."
        ),
        "By film: Wilson's interval of proportions; of the AUC, Newcombe's method 5 (Stat Med 2006;25:559-573).",
        "The same content, with the score of every film, is in report.json.",
    )
    return section("How it was measured", tag("ul", *(tag("li", line) for line in lines)))
