"""A site's films and a calibration on them, made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.acceptance.site_point import LabelledLogits
from model.acceptance.site_version import Occasion
from model.acceptance.targets import Targets
from model.acceptance.verdict import Acceptance, accept

if TYPE_CHECKING:
    from model.serving.bundle import Bundle

OCCASION = Occasion(
    who="dr.second",
    made_at="2026-11-28T12:00Z",
    films_digest="ab" * 32,
    blinded="yes, stated by dr.second",
    seen_in_training=0,
    out_of_scope=None,
)


def site_films(shift: float, n: int = 120, *, per_child: int = 1, seed: int = 2) -> LabelledLogits:
    """``n`` films of each label whose logits tell pneumonia, but that all of them are moved by ``shift``."""
    rng = np.random.default_rng(seed)
    targets = np.repeat([0.0, 1.0], n)
    logits = np.repeat([-3.0, 3.0], n) + 1.5 * rng.normal(size=2 * n) + shift
    return LabelledLogits(targets, logits, np.array([str(number // per_child) for number in range(2 * n)]))


def accepted(
    bundle: Bundle,
    judged: LabelledLogits,
    targets: Targets | None = None,
    prevalence: float | None = None,
    replicates: int = 300,
) -> Acceptance:
    """A calibration with a small bootstrap."""
    return accept(bundle, judged, targets or Targets(), prevalence, replicates=replicates)
