"""The acceptance page: how a bundle does on a site's films, before and after a calibration on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from model.acceptance.figures import HALF_WIDTHS, widest
from model.acceptance.site_point import at_prevalence
from model.acceptance.site_version import SHOWN
from model.acceptance.verdict import FEWEST
from model.reports import charts
from model.reports.page import render
from model.reports.wording import interval, number, under
from model.reports.wording import stacked as by_patient

if TYPE_CHECKING:
    from model.acceptance.figures import Change, Needed
    from model.acceptance.site_version import Occasion
    from model.acceptance.verdict import Acceptance
    from model.evaluation.figures import Figure
    from model.evaluation.provenance import Provenance
    from model.statistics.intervals import Interval

#: Figures of the table: key, name, and whether they are shares, written in percent.
FIGURES = (
    ("sensitivity", "Sensitivity", True),
    ("specificity", "Specificity", True),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("accuracy", "Accuracy", True),
    ("log_loss", "Log loss, both labels alike", False),
    ("ece", "Calibration error (10 bins), both labels alike", False),
)


def render_acceptance(found: Acceptance, occasion: Occasion, provenance: Provenance, written: str | None) -> str:
    """Write the acceptance page.

    Parameters
    ----------
    found : Acceptance
        What was measured.
    occasion : Occasion
        Who calibrated, when, on what.
    provenance : Provenance
        Where the page comes from.
    written : str or None
        The bundle with the site's operating point; None where none was written.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    return render(
        "acceptance.html",
        found=found,
        provenance=provenance,
        facts=_facts(found, occasion),
        warnings=_warnings(found, occasion),
        which=f"with the site's operating point ({written})" if found.is_proven else "as it is",
        outcome=_outcome(found, written),
        targets=_targets(found),
        before_and_after=_before_and_after(found),
        points=_points(found),
        charts=_charts(found),
        predictive=_predictive(found),
        prevalence=None if found.prevalence is None else number(found.prevalence, share=True),
        given=[f"{given:g}" for given in SHOWN],
        meant=[] if found.prevalence is None else [f"{value:.3f}" for value in at_prevalence(SHOWN, found.prevalence)],
        needed=[_needed(each) for each in found.needed],
        half_widths=[f"Within {100 * width:g} points" for width in HALF_WIDTHS],
        bands=[(each.band.value, *(str(count) for count in (*each.before, *each.after))) for each in found.bands],
    )


def _facts(found: Acceptance, occasion: Occasion) -> list[tuple[str, str]]:
    films = f"{found.normal + found.pneumonia}: {found.normal} normal, {found.pneumonia} pneumonia, of {found.children} children"
    return [
        ("Films", films),
        ("Films and labels, SHA-256", Markup("<code>{}</code>").format(occasion.films_digest)),
        ("Calibrated by", f"{occasion.who}, {occasion.made_at}"),
        ("Labels given without sight of the answer", occasion.blinded),
        ("Films the network was trained on", _count(occasion.seen_in_training)),
        ("Films out of scope", _count(occasion.out_of_scope)),
    ]


def _count(count: int | None) -> str:
    return "cannot be told" if count is None else str(count)


def _outcome(found: Acceptance, written: str | None) -> str:
    change = found.changes["balanced_accuracy"]
    bounds = (
        f"{_signed(change.difference, share=True)} ({_bounds(change.by_patient, share=True)} by patient, "
        f"{_bounds(change.by_film, share=True)} by film)"
    )
    gain = f"The site's operating point changes balanced accuracy by {bounds}."
    if not found.is_proven:
        return (
            f"{gain} Both lower bounds would have to be above 0: the gain is not proven, no bundle was written, and this page "
            f"is about {found.network.label} as it is."
        )
    return (
        f"{gain} The gain is proven, so the verdict, predictive values and numbers of films below are about the site's "
        f"operating point, which is in the new bundle {written}. It changes nothing until it is activated."
    )


def _warnings(found: Acceptance, occasion: Occasion) -> list[str]:
    said = []
    if found.is_few:
        said.append(
            f"Too few films: {found.normal} normal and {found.pneumonia} pneumonia, where {FEWEST} of each are asked for. "
            "Do not rely on this as an acceptance test."
        )
    if occasion.seen_in_training:
        said.append(
            f"{occasion.seen_in_training} films were in the network's training data: all figures are better than they "
            "would be on films it has never seen."
        )
    return said


def _targets(found: Acceptance) -> list[tuple[str, ...]]:
    rows = []
    for name, target in found.targets.stated().items():
        figure = found.judged[name]
        low = widest(figure)[0]
        shares = (number(share, share=True) for share in (target, figure.value, low))
        rows.append((name.capitalize(), *shares, "yes" if low >= target else "no"))
    return rows


def _before_and_after(found: Acceptance) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, name, share in FIGURES:
        change = found.changes.get(key)
        rows.append(
            (
                name,
                _stacked(found.before[key], share=share),
                _stacked(found.after[key], share=share),
                _changed(change, share=share) if change else "-",
                str(found.before[key].n),
            )
        )
    auc = _stacked(found.auc, share=False)
    return [*rows, ("AUC (ranks do not change)", auc, auc, "-", str(found.normal + found.pneumonia))]


def _points(found: Acceptance) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{point.calibration.slope:.4g}",
            f"{point.calibration.intercept:+.4g}",
            f"{point.threshold:g}",
            f"{point.logit:+.3f}",
        )
        for name, point in (("before, as shipped", found.shipped), ("after, fitted on all films", found.point))
    ]


def _stacked(figure: Figure, *, share: bool) -> str:
    return under(number(figure.value, share=share), interval(widest(figure), share=share))


def _changed(change: Change, *, share: bool) -> str:
    return under(_signed(change.difference, share=share), _bounds(change.by_patient, share=share))


def _signed(value: float, *, share: bool) -> str:
    shown = number(value, share=share)
    return shown if shown.startswith("-") else f"+{shown}"


def _bounds(bounds: Interval | None, *, share: bool) -> str:
    return (
        "no interval" if bounds is None else f"{_signed(bounds[0], share=share)} to {_signed(bounds[1], share=share)}"
    )


def _charts(found: Acceptance) -> dict[str, Any]:
    dots = [(1 - figures["specificity"].value, figures["sensitivity"].value) for figures in (found.before, found.after)]
    moved = float(found.shipped.probabilities(np.array(found.point.logit)))
    return {
        "roc": charts.roc_chart([found.roc], dots),
        "histogram": charts.histogram_chart(found.histogram, found.shipped.threshold, moved),
        "reliability": [charts.reliability_chart(bins) for bins in found.reliability],
    }


def _predictive(found: Acceptance) -> list[tuple[str, ...]]:
    rows = []
    for each in found.predictive:
        stated = " (stated by the site)" if each.prevalence == found.prevalence else ""
        shares = (by_patient(figure, share=True) for figure in (each.positive, each.negative))
        rows.append((number(each.prevalence, share=True) + stated, *shares))
    return rows


def _needed(needed: Needed) -> tuple[str, ...]:
    if needed.target is None:
        target = "-"
    else:
        target = "more do not help: raise the figure" if needed.for_target is None else str(needed.for_target)
    return (
        f"{needed.figure.capitalize()} of {number(needed.share, share=True)}",
        f"{100 * needed.half_width:.1f} points",
        *(str(needed.for_half_width[width]) for width in HALF_WIDTHS),
        target,
    )
