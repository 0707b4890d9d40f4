"""The inspection of a data set as a page of HTML: what is in it, what is in it twice, and what gives its labels away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model import charts
from model.duplicates import Likeness
from model.labels import Label
from model.page import Markup, join, page, section, table, tag
from model.probes import SENTENCES
from model.wording import interval, number, origin, picture_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.assessment import Provenance
    from model.duplicates import Duplicates
    from model.inspection import Inspection
    from model.shortcuts import Shortcut
    from model.wording import Reader

SHOWN = 40
"""How many groups of duplicates, and how many unreadable films, a page shows."""


def render_inspection(found: Inspection, provenance: Provenance, reader: Reader) -> str:
    """Write the page of an inspection.

    Parameters
    ----------
    found : Inspection
        What was found.
    provenance : Provenance
        Where it comes from.
    reader : callable
        Gives the grey film (uint8, MONOCHROME2) of a path; only duplicates are read.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    DataError
        If a film cannot be read any more.
    """
    further = [("Model", found.model)] if found.model else []
    return page(
        "Inspection of labelled films",
        origin([], provenance, further),
        _counts(found),
        _unreadable(found, provenance),
        _shortcuts(found),
        _duplicates(found, provenance, reader),
        _method(found),
    )


def _counts(found: Inspection) -> Markup:
    rows = [
        (count.division, count.name, str(count.normal), str(count.pneumonia), str(count.patients))
        for count in found.counts
    ]
    return section("Films", table(("", "", "Normal", "Pneumonia", "Patients"), rows, words=2))


def _unreadable(found: Inspection, provenance: Provenance) -> Markup:
    if not found.unreadable:
        return Markup("")
    rows = [(provenance.below(film.picture.path), film.reason) for film in found.unreadable[:SHOWN]]
    words = f"{len(found.unreadable)} films cannot be read and are counted nowhere else{_first(found.unreadable)}."
    return section("Unreadable", tag("p", words), table(("Film", "Reason"), rows, words=2))


def _duplicates(found: Inspection, provenance: Provenance, reader: Reader) -> Markup:
    groups = sorted(found.duplicates, key=lambda group: _harm(group, found), reverse=True)
    if not groups:
        return section("Duplicates", tag("p", "No film is there twice."))
    two_labels, two_patients = (sum(_harm(group, found)[place] for group in groups) for place in (0, 2))
    straddling = sum(_harm(group, found)[1] for group in groups)
    words = (
        f"{len(groups)} groups of films are one film; {two_labels} of them carry both labels, {two_patients} more than "
        f"one patient, and {straddling} lie on both sides of the split{_first(groups)}."
    )
    return section(
        "Duplicates", tag("p", words), *(_group(group, found, provenance, reader) for group in groups[:SHOWN])
    )


def _harm(group: Duplicates, found: Inspection) -> tuple[bool, bool, bool]:
    """Both labels, both sides of the split, more than one patient: the worst first."""
    return len(group.labels) > 1, group.straddles(found.split), group.patients > 1


def _group(group: Duplicates, found: Inspection, provenance: Provenance, reader: Reader) -> Markup:
    names = ("both labels", "both sides of the split", "more than one patient")
    worries = [name for name, holds in zip(names, _harm(group, found), strict=True) if holds]
    alike = group.likeness.value
    if group.likeness is Likeness.NEAR:
        alike += f", correlation {group.correlation:.3f}" + (", mirrored" if group.mirrored else "")
    pictures = (
        tag(
            "figure",
            tag("div", tag("img", src=picture_uri(reader(picture.path)), alt=""), class_="film"),
            tag("figcaption", tag("b", picture.label.value), provenance.below(picture.path)),
        )
        for picture in group.pictures
    )
    return join((tag("h3", "; ".join([alike, *worries])), tag("div", *pictures, class_="films")))


def _first(things: Sequence[object]) -> str:
    return f" (the first {SHOWN} are shown)" if len(things) > SHOWN else ""


def _shortcuts(found: Inspection) -> Markup:
    words = (
        "How well each figure of a film alone, without a look at the chest, tells the labels apart. At an AUC of 0.5 it is "
        "worthless; far above, the films of the two labels were taken, processed or cut differently, and a network can be "
        "right for the wrong reason."
    )
    head = ["Probe", "What it measures", "AUC", "95 % interval", "0.5 to 1"]
    rows = [_row(shortcut) for shortcut in found.shortcuts]
    parts = [tag("p", words)]
    if found.model:
        head += [f"Correlation, {label.value.lower()}" for label in Label]
        parts.append(
            tag(
                "p",
                "Correlation: of the probe's answers with the network's, by rank, among films of one label. Far from 0 "
                "the network follows what the probe sees, or something that goes with it.",
            )
        )
    drawn = (
        tag(
            "figure",
            tag("figcaption", tag("b", shortcut.name), SENTENCES[shortcut.name]),
            charts.histogram_chart(shortcut.histogram, 0.5),
        )
        for shortcut in found.shortcuts
    )
    key = join((tag("span", class_="key normal"), "normal ", tag("span", class_="key pneumonia"), "pneumonia"))
    note = (
        ". Probability of pneumonia by the probe alone, if both labels were as common; bars are shares of each label."
    )
    return section(
        "Shortcuts",
        *parts,
        table(head, rows, words=2),
        tag("p", key, note, class_="soft"),
        tag("div", *drawn, class_="charts"),
    )


def _row(shortcut: Shortcut) -> list[str]:
    cells = [
        shortcut.name,
        SENTENCES[shortcut.name],
        number(shortcut.auc, share=False),
        interval(shortcut.interval, share=False),
        charts.interval_bar(shortcut.auc, shortcut.interval, 0.5, 1.0),
    ]
    if shortcut.correlations is not None:
        known = (shortcut.correlations[label] for label in Label)
        cells += ["-" if value is None else f"{value:+.2f}" for value in known]
    return cells


def _method(found: Inspection) -> Markup:
    lines = (
        (
            "Probes: logistic regression with balanced classes and an L2 penalty, each child judged by one that was fitted "
            "without it (5 folds). Intervals: percentile bootstrap by patient."
        ),
        (
            "Duplicates: SHA-256 of the file and of the decoded pixels; near copies by the correlation of what is left of "
            "64 x 64 thumbnails less their local mean, mirrored or not. Cropped and turned copies are not found."
        ),
        f"Split: by patient and kind, share {found.plan.share:g}, seed {found.plan.seed}.",
    )
    return section("How it was measured", tag("ul", *(tag("li", line) for line in lines)))
