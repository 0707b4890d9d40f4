"""Write the description and the card of an existing bundle again; what decides a film's result stays.

Name, version, network, threshold, calibration, bands and scope do not change, so that results in SQL keep referring to
the same bundle. Figures that follow from its held-out logits are computed again, and external evidence may be replaced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.card.card import render_card
from model.errors import BundleError
from model.operating.operating_point import FittedPoint, facts_beside
from model.serving.bundle import load_bundle, stressed_of
from model.serving.manifest import CARD_FILE, MANIFEST, VALIDATION_FILE, read_manifest, read_validation, signed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.serving.bundle import Bundle

SHARES = ("auc", "accuracy", "sensitivity", "specificity", "ece", "threshold")


@dataclass(frozen=True, slots=True)
class External:
    """Figures of a bundle on films that had no part in making it, in [0, 1].

    ``title`` and ``note`` are for the card, ``date`` is ISO, ``model`` is the name of the bundle that was measured,
    ``elsewhere`` says whether the films are from another hospital than the training films.
    """

    title: str
    date: str
    films: int
    model: str
    threshold: float
    auc: float
    accuracy: float
    sensitivity: float
    specificity: float
    ece: float
    elsewhere: bool
    note: str = ""


def read_external(path: Path) -> list[dict[str, Any]]:
    """Read rows of external evidence: a JSON list of objects with the fields of ``External``.

    Raises
    ------
    BundleError
        If the file is not such a list.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        for row in rows:
            found = External(**row)
            if not all(0 <= float(getattr(found, key)) <= 1 for key in SHARES) or found.films < 1:
                raise ValueError("a figure is out of range")
    except (OSError, ValueError, TypeError) as error:
        fields = ", ".join(External.__dataclass_fields__)
        raise BundleError(
            f"{path} is not a list of external evidence: give a JSON list of objects with {fields}"
        ) from error
    return list(rows)


def restate(bundle: Bundle, external: Sequence[dict[str, Any]] | None = None) -> Bundle:
    """Compute a bundle's figures again, and write its description and card.

    Parameters
    ----------
    bundle : Bundle
        A loaded bundle; its folder is written to.
    external : sequence of dict, optional
        Rows of ``read_external``, which replace those of the bundle; without it they stay.

    Returns
    -------
    Bundle
        With the same digest and weights.

    Raises
    ------
    BundleError
        If its files cannot be read, its folder cannot be written to, or it has a site's operating point.
    """
    if bundle.site:
        raise BundleError(f"{bundle.label} has a site's operating point: its card stays as it was written")
    manifest = read_manifest(bundle.path)
    targets, logits = read_validation(bundle.path / VALIDATION_FILE)
    point = FittedPoint(bundle.calibration, bundle.threshold)
    changed = signed(
        {
            **manifest,
            **facts_beside(point, targets, logits, stressed_of(bundle)),
            "external": list(manifest.get("external", ()) if external is None else external),
        }
    )
    _replace(bundle.path / CARD_FILE, render_card(changed))
    _replace(bundle.path / MANIFEST, json.dumps(changed, indent=2) + "\n")
    again = load_bundle(bundle.path)
    if (again.digest, again.weights_sha256) != (bundle.digest, bundle.weights_sha256):
        raise BundleError(f"{bundle.path} was changed by another program meanwhile: copy the bundle again")
    return again


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, so that it is never half written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be written ({error.strerror})") from error
