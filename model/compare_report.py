"""The comparison of two networks as a page of HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model import charts
from model.page import Markup, join, page, section, table, tag
from model.wording import FIGURES, gallery, interval, number, origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.assessment import Provenance
    from model.compare import Comparison, Disagreement, PairedAuc, PairedShare
    from model.intervals import Interval
    from model.wording import Reader

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
    counts = (
        f"{tn + fp + fn + tp}: {tn + fp} normal, {fn + tp} pneumonia, of {found.patients} patients; "
        f"called PNEUMONIA from {thresholds}"
    )
    return page(
        f"{found.second.label} compared with {found.first.label}",
        origin([("First model", found.first), ("Second model", found.second)], provenance, [("Films", counts)]),
        _differences(found),
        _counts(found),
        _curves(found),
        _disagreements(found, provenance, reader),
        _method(found),
    )


def _differences(found: Comparison) -> Markup:
    measured: dict[str, PairedShare | PairedAuc] = {**found.shares, "auc": found.auc}
    widest = max(_reach(part.difference, part.by_patient, part.by_film) for part in measured.values())
    rows = [
        (
            name,
            number(measured[key].first, share=share),
            number(measured[key].second, share=share),
            join((_signed(measured[key].difference, share=share), _under(measured[key].by_patient, share=share))),
            charts.interval_bar(measured[key].difference, measured[key].by_patient, -widest, widest),
            interval(measured[key].by_film, share=share),
            _p(measured[key].p),
            str(measured[key].n),
        )
        for key, name, share in FIGURES[:4]
    ]
    head = (
        "Figure",
        found.first.label,
        found.second.label,
        "Difference, by patient",
        "0 in the middle",
        "95 % interval, by film",
        "p",
        "Films",
    )
    note = (
        "Differences are second minus first, those of shares in percentage points, with 95 % intervals. p is the exact "
        "McNemar test's, of the AUC DeLong's; both take every film as independent, so where films of one child abound, "
        "trust the interval by patient: a difference whose interval has 0 inside may be chance."
    )
    return section("Differences", table(head, rows), tag("p", note, class_="soft"))


def _reach(difference: float, *intervals: Interval | None) -> float:
    return max(0.01, abs(difference), *(abs(bound) for bounds in intervals if bounds for bound in bounds))


def _under(bounds: Interval | None, *, share: bool) -> Markup:
    return tag("span", interval(bounds, share=share), class_="under")


def _signed(difference: float, *, share: bool) -> str:
    return ("+" if difference > 0 else "") + number(difference, share=share)


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _counts(found: Comparison) -> Markup:
    names = {"accuracy": "All films", "sensitivity": "Pneumonia", "specificity": "Normal"}
    rows = [
        (names[key], str(part.n), str(part.both), str(part.only_first), str(part.only_second), str(part.neither))
        for key, part in found.shares.items()
    ]
    head = (
        "Called rightly by",
        "Films",
        "both",
        f"only {found.first.label}",
        f"only {found.second.label}",
        "neither",
    )
    return section("Film by film", table(head, rows))


def _curves(found: Comparison) -> Markup:
    points = []
    for evaluation in found.evaluations:
        (tn, fp), (fn, tp) = evaluation.confusion
        points.append((fp / (tn + fp), tp / (fn + tp)))
    words = join(
        (
            tag("span", class_="key normal"),
            f"{found.first.label}, AUC {found.auc.first:.3f} ",
            tag("span", class_="key pneumonia"),
            f"{found.second.label}, AUC {found.auc.second:.3f}; n = {found.auc.n}. Dots are the thresholds.",
        )
    )
    drawn = tag("figure", tag("h3", "ROC curves"), charts.roc_chart(found.roc, points), tag("figcaption", words))
    return section("Curves", tag("div", drawn, class_="charts"))


def _disagreements(found: Comparison, provenance: Provenance, reader: Reader) -> Markup:
    parts: list[Markup] = []
    for label, right in ((found.first.label, True), (found.second.label, False)):
        films = [film for film in found.disagreements if film.first.is_right is right]
        parts += [
            tag("h3", f"Only {label} is right ({len(films)})"),
            _films(films[:MOST_APART], provenance, reader) if films else tag("p", "None."),
        ]
        if len(films) > MOST_APART:
            parts.append(tag("p", f"The {MOST_APART} with the widest gap; all are in report.json.", class_="soft"))
    return section("Films on which they disagree", *parts)


def _films(films: Sequence[Disagreement], provenance: Provenance, reader: Reader) -> Markup:
    captions = [
        f"{film.first.picture.label}: {film.first.score.probability:.3f}, then {film.second.score.probability:.3f}"
        for film in films
    ]
    return gallery([film.first for film in films], captions, provenance, reader)


def _method(found: Comparison) -> Markup:
    by_patient = (
        f"By patient: percentile bootstrap of {found.replicates} samples, seed {found.seed}, children with normal films, "
        "with pneumonia films and with both drawn apart; both networks are measured on the same samples."
    )
    lines = (
        "Both networks saw the same films, each read once; every film went through the preprocessing that serves.",
        by_patient,
        "By film: Newcombe's method 10 (Stat Med 1998;17:2635-2650); of the AUC, DeLong's (Biometrics 1988;44:837-845).",
        "No correction is made for looking at four figures.",
        "The same content is in report.json.",
    )
    return section("How it was measured", tag("ul", *(tag("li", line) for line in lines)))
