"""The inspection of a data set as a page of HTML: its films, its duplicates, and what reveals its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.inspection.duplicates import Likeness
from model.inspection.probes import SENTENCES
from model.labels import Label
from model.reports import charts
from model.reports.page import render
from model.reports.wording import interval, number, picture_uri

if TYPE_CHECKING:
    from model.evaluation.provenance import Provenance
    from model.inspection.duplicates import Duplicates
    from model.inspection.findings import Inspection
    from model.inspection.shortcuts import Shortcut
    from model.reports.wording import Reader

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
    groups = sorted(found.duplicates, key=lambda group: _harm(group, found), reverse=True)
    return render(
        "inspection.html",
        found=found,
        provenance=provenance,
        most=SHOWN,
        counts=[
            (count.division, count.name, str(count.normal), str(count.pneumonia), str(count.patients))
            for count in found.counts
        ],
        unreadable=[(provenance.below(film.picture.path), film.reason) for film in found.unreadable[:SHOWN]],
        correlations=[f"Correlation, {label.value.lower()}" for label in Label] if found.model else [],
        shortcuts=[_row(shortcut) for shortcut in found.shortcuts],
        drawn=[
            (shortcut.name, SENTENCES[shortcut.name], charts.histogram_chart(shortcut.histogram, 0.5))
            for shortcut in found.shortcuts
        ],
        groups=[(_title(group, found), _pictures(group, provenance, reader)) for group in groups[:SHOWN]],
        harm=[sum(_harm(group, found)[place] for group in groups) for place in range(3)],
        share=f"{found.plan.share:g}",
    )


def _harm(group: Duplicates, found: Inspection) -> tuple[bool, bool, bool]:
    """Both labels, both sides of the split, more than one patient: the worst first."""
    return len(group.labels) > 1, group.straddles(found.split), group.patients > 1


def _title(group: Duplicates, found: Inspection) -> str:
    names = ("both labels", "both sides of the split", "more than one patient")
    worries = [name for name, holds in zip(names, _harm(group, found), strict=True) if holds]
    alike = group.likeness.value
    if group.likeness is Likeness.NEAR:
        alike += f", correlation {group.correlation:.3f}" + (", mirrored" if group.mirrored else "")
    return "; ".join([alike, *worries])


def _pictures(group: Duplicates, provenance: Provenance, reader: Reader) -> list[Any]:
    return [
        (picture_uri(reader(picture.path)), picture.label.value, provenance.below(picture.path))
        for picture in group.pictures
    ]


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
