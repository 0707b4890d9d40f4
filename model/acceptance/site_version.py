"""A new version of a bundle, with the operating point that was fitted on a site's films and proved better there.

The description keeps, under ``site``, who calibrated it, when, on what and with which result, and under ``site.network``
what the bundle of the network said before, so that the model card shows both and mixes up neither.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from model.acceptance.figures import widest
from model.acceptance.site_point import at_prevalence, site_bands
from model.acceptance.verdict import figures_as_dict
from model.card.card import render_card
from model.card.markdown import markdown_table
from model.errors import BundleError
from model.notice import NOTICE
from model.serving.bundle import check_new, write_derived
from model.serving.manifest import read_manifest
from model.statistics.evaluation import Evaluation, evaluate_probabilities

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from model.acceptance.site_point import LabelledLogits
    from model.acceptance.verdict import Acceptance
    from model.serving.bundle import Bundle

REPLACED = ("name", "version", "threshold", "calibration", "bands", "metrics", "derived_from")
"""What a site's version says instead of the bundle it was made of."""

MEASURED = ("folds", "kinds", "style", "perturbed", "stress", "calibration_check", "predictive_values", "external")
"""What was measured at the operating point of the bundle it was made of, and is not said of the site's version."""

SHOWN = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Probabilities that are restated for the prevalence of a site."""

_FIGURES = (
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("log_loss", "Log loss, both labels alike"),
    ("ece", "Calibration error, both labels alike"),
)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who calibrated, when, and on what.

    ``made_at`` is in UTC, ISO 8601; ``films_digest`` stands for the set of films (``evaluate.films_digest``); ``blinded``
    says who vouches that the labels were given without sight of the answer; ``seen_in_training`` counts films the network
    was trained on (None: cannot be told) and ``out_of_scope`` those it should not judge (None: likewise).
    """

    who: str
    made_at: str
    films_digest: str
    blinded: str
    seen_in_training: int | None
    out_of_scope: int | None


def next_version(source: Bundle, taken: Collection[str]) -> str:
    """The first of VERSION.1, VERSION.2 ... that no bundle has.

    Parameters
    ----------
    source : Bundle
        What is calibrated; a version of a site is followed by the next one of the same network.
    taken : collection of str
        Labels of known bundles.

    Returns
    -------
    str
    """
    base = str(source.site["network"]["version"]) if source.site else source.version
    number = 1
    while f"{source.name}-{base}.{number}" in taken:
        number += 1
    return f"{base}.{number}"


def metrics_of(found: Acceptance, judged: LabelledLogits, name: str, version: str) -> Evaluation:
    """The figures of a site's version: cross-fitted on the site's films, with the AUC of the logits.

    Parameters
    ----------
    found : Acceptance
        The calibration.
    judged : LabelledLogits
        Its films.
    name, version : str
        What the new bundle is called.

    Returns
    -------
    Evaluation
    """
    fitted = found.fitted.probabilities
    figures = evaluate_probabilities(judged.targets, fitted, found.point.threshold, name, version)
    area = found.auc.by_film
    return replace(figures, auc=found.auc.value, auc_ci=area or figures.auc_ci)


def write_site_version(
    source: Bundle, out: Path, version: str, found: Acceptance, judged: LabelledLogits, occasion: Occasion
) -> Bundle:
    """Write a bundle with the site's operating point.

    Parameters
    ----------
    source : Bundle
        What was calibrated.
    out : Path
        The new bundle's folder; it must not exist.
    version : str
        Of the new bundle, which has the source's name.
    found : Acceptance
        The calibration.
    judged : LabelledLogits
        Its films.
    occasion : Occasion
        Who, when, on what.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If the gain is not proven, the version cannot be, or the folder exists.
    """
    if not found.is_proven:
        raise BundleError("the site's operating point is not proven to be better: keep the bundle as it is")
    check_new(out, source.name, version)
    manifest = read_manifest(source.path)
    before = {name: manifest.pop(name) for name in (*REPLACED, *MEASURED) if name in manifest}
    network = source.site["network"] if source.site else before
    record = {
        **asdict(occasion),
        "n": len(judged.targets),
        "normal": found.normal,
        "pneumonia": found.pneumonia,
        "children": found.children,
        "few": found.is_few,
        "prevalence": found.prevalence,
        "targets": found.targets.stated(),
        "verdict": found.verdict,
        "before": figures_as_dict(found.before),
        "after": figures_as_dict(found.after),
        "gain": asdict(found.changes["balanced_accuracy"]),
        "network": network,
    }
    description = {
        **manifest,
        "name": source.name,
        "version": version,
        "threshold": found.point.threshold,
        "calibration": found.point.calibration.as_dict(),
        "bands": site_bands(source.bands).as_dict() if source.bands else None,
        "metrics": metrics_of(found, judged, source.name, version).as_dict(),
        "derived_from": source.label,
        "site": record,
    }
    return write_derived(source, out, description, _card(description, found))


def _card(manifest: Mapping[str, Any], found: Acceptance) -> str:
    """The site's operating point, then the card of the network's own bundle one heading lower."""
    network = {**manifest, **manifest["site"]["network"], "site": None}
    below = "\n".join(f"#{line}" if line.startswith("#") else line for line in render_card(network).splitlines())
    label = f"{network['name']}-{network['version']}"
    parts = [
        _head(manifest, label),
        _films(manifest["site"]),
        _before_and_after(found),
        _bands(manifest, label),
        _prevalence(found.prevalence),
        (
            f"# The network: the card of {label}\n\nEverything below was measured at the operating point of {label}, not at "
            "that of this bundle."
        ),
        below,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: Mapping[str, Any], label: str) -> str:
    calibration, source = manifest["calibration"], manifest["derived_from"]
    lines = [
        f"# {manifest['name']}-{manifest['version']}: {label} with a site's operating point",
        "",
        (
            f"The network of {label}. A film whose probability, sigmoid({calibration['slope']:.4g} x logit "
            f"{calibration['intercept']:+.4g}), is at least {manifest['threshold']} is called PNEUMONIA, any other NORMAL."
        ),
        "",
        NOTICE,
        "",
        (
            "The probability is that for a place where half the films show pneumonia; where fewer do, it is lower. It holds for "
            "films like those of the site that calibrated it, and for no other site."
        ),
        "",
        f"Derived from {source}: the same weights, another calibration and threshold.",
    ]
    return "\n".join(lines)


def _films(site: Mapping[str, Any]) -> str:
    verdict = "no targets were stated" if site["verdict"] is None else f"{site['verdict']}, by lower bounds"
    asked = ", ".join(f"{name} at least {value:g}" for name, value in site["targets"].items())
    lines = [
        "## Calibrated on a site's films",
        "",
        f"- By {site['who']}, {site['made_at']}",
        f"- {site['n']} films: {site['normal']} normal, {site['pneumonia']} pneumonia, of {site['children']} children",
        f"- Labels given without sight of the network's answer: {site['blinded']}",
        (
            f"- Films the network was trained on: {_known(site['seen_in_training'])}; out of scope: "
            f"{_known(site['out_of_scope'])}"
        ),
        f"- Verdict: {verdict}{f' ({asked})' if asked else ''}",
        f"- Digest of the films and labels (SHA-256): `{site['films_digest']}`",
    ]
    if site["few"]:
        lines += ["", "**Fewer films than a calibration asks for: its figures are uncertain.**"]
    return "\n".join(lines)


def _known(count: int | None) -> str:
    return "cannot be told" if count is None else str(count)


def _before_and_after(found: Acceptance) -> str:
    rows = []
    for name, title in _FIGURES:
        before, after, change = found.before[name], found.after[name], found.changes[name]
        rows.append(
            [
                title,
                _with_bounds(before.value, widest(before)),
                _with_bounds(after.value, widest(after)),
                _with_bounds(change.difference, change.by_patient or change.by_film),
            ]
        )
    return "\n".join(
        [
            "## Before and after",
            "",
            (
                "The site's films, each judged by an operating point that was fitted without any film of its child. In brackets "
                "95 % intervals: the wider of by patient and by film; of differences, by patient."
            ),
            "",
            *markdown_table(["", "before", "after", "difference"], rows),
        ]
    )


def _with_bounds(value: float, bounds: tuple[float, float] | None) -> str:
    return f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")


def _bands(manifest: Mapping[str, Any], label: str) -> str:
    bands = manifest["bands"]
    if not bands:
        return ""
    return "\n".join(
        [
            "## Bands",
            "",
            (
                f"LOW below {bands['low']}, HIGH from {bands['high']}. The edges are those of {label}, in probability; what was "
                "observed in its bands below was not observed on this site's films, and promises nothing for them."
            ),
        ]
    )


def _prevalence(prevalence: float | None) -> str:
    if prevalence is None:
        return ""
    rows = [
        [f"{given:g}", f"{means:.3f}"] for given, means in zip(SHOWN, at_prevalence(SHOWN, prevalence), strict=True)
    ]
    return "\n".join(
        [
            "## What a probability means at the site",
            "",
            (
                f"The site states that {100 * prevalence:g} % of such films show pneumonia. Results keep the probability for one half, "
                "so that they can be compared; labels do not depend on this."
            ),
            "",
            *markdown_table(["probability in the result", "at this prevalence"], rows),
        ]
    )
