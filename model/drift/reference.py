"""What the training films of a bundle look like, and what its network says of films whose label is known.

The scores are those of the bundle's validation films, which no member had seen. The films themselves are not in a bundle:
``training_inputs.json`` has the histograms of the public training films, which the bundles that ship with Auscult were
trained on, and of how unlike these are for the scopes of those bundles, which were fitted to the same films. A bundle that
was trained on other films has no reference for its films but the site's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from model.drift.measures import OF_INPUT, Measure, histogram
from model.serving.manifest import SCOPE_FILE, VALIDATION_FILE, read_manifest, read_validation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from model.input_statistics import InputStatistics

INPUTS_FILE = "training_inputs.json"
"""Made by ``python -m model.drift.training_inputs FOLDER``."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Histograms of films of both classes, by measure: int64 (bins,) of NORMAL and of PNEUMONIA."""

    classes: Mapping[Measure, tuple[NDArray[np.int64], NDArray[np.int64]]]

    def whole(self, measure: Measure) -> NDArray[np.int64] | None:
        """All films, with the share of pneumonia that the reference has; None where it lacks the measure."""
        found = self.classes.get(measure)
        return None if found is None else found[0] + found[1]


NO_REFERENCE = Reference({})


def training_reference(bundle: Path) -> Reference:
    """The reference of a bundle.

    Parameters
    ----------
    bundle : Path
        The folder of the bundle.

    Returns
    -------
    Reference
        With the measure SCORE, and those of the films where they are known.

    Raises
    ------
    BundleError
        If the folder is not a bundle.
    """
    manifest = read_manifest(bundle)
    targets, logits = read_validation(bundle / VALIDATION_FILE)
    scores = (histogram(Measure.SCORE, logits[targets == 0]), histogram(Measure.SCORE, logits[targets == 1]))
    data = manifest.get("training_data")
    known = _known_films()
    is_known = isinstance(data, dict) and [data.get("title"), data.get("films")] == [known["title"], known["films"]]
    classes = {Measure.SCORE: scores, **(_classes(known["classes"]) if is_known else {})}
    scope = known["scopes"].get(manifest["files"].get(SCOPE_FILE))
    return Reference(classes | ({} if scope is None else _classes({Measure.UNLIKENESS: scope})))


def _known_films() -> dict[str, Any]:
    return dict(json.loads((resources.files("model.drift") / INPUTS_FILE).read_text(encoding="utf-8")))


def _classes(written: Mapping[str, Any]) -> dict[Measure, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return {Measure(name): (np.array(two[0]), np.array(two[1])) for name, two in written.items()}


def count_inputs(films: Iterable[InputStatistics]) -> dict[Measure, NDArray[np.int64]]:
    """Histograms of the statistics of films."""
    measured = list(films)
    return {measure: histogram(measure, [getattr(film, measure.lower()) for film in measured]) for measure in OF_INPUT}
