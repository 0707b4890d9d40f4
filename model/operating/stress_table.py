"""The stress table: the same held-out films changed in every way of ``perturb``, and their figures at one threshold.

``stress.npz`` of a bundle holds the logits, so that another operating point can be fitted and measured without the films.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.augmentation.perturb import UNCHANGED, Role
from model.errors import BundleError, InputError
from model.labels import Band
from model.statistics.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.data.dataset import Picture
    from model.operating.calibration import Bands, Calibration

MAX_LOSS = 0.03
"""What a row may lose of sensitivity, and of specificity, against the unchanged films."""

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities at which each row's sensitivity and specificity are shown besides the bundle's own threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Stressed:
    """Logits of the same films under each perturbation, of which the first changes nothing.

    ``names`` and ``roles`` are those of the rows; ``targets`` float64 (films,) is 1 for pneumonia; ``children`` int64
    (films,) numbers them, so that no name is kept; ``logits`` is float64 (rows, films).
    """

    names: tuple[str, ...]
    roles: tuple[Role, ...]
    targets: NDArray[np.float64]
    children: NDArray[np.int64]
    logits: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.targets))
        if self.logits.shape != shape or len(self.roles) != shape[0] or self.children.shape != shape[1:]:
            raise InputError("a stress table needs a logit of each film in each row")
        if not self.names or self.names[0] != UNCHANGED or not np.isfinite(self.logits).all():
            raise InputError(f"a stress table begins with {UNCHANGED!r} and holds only finite logits")

    def of(self, *roles: Role) -> NDArray[np.float64]:
        """The logits of the rows of these roles, shape (rows, films)."""
        return self.logits[[role in roles for role in self.roles]]

    def pooled(self, *roles: Role) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Targets and logits, both (rows x films,), of the rows of these roles together."""
        logits = self.of(*roles)
        return np.tile(self.targets, len(logits)), logits.ravel()


def numbered(pictures: Sequence[Picture]) -> NDArray[np.int64]:
    """The number of each film's child, shape (n,), counted from 0 in the order of their names."""
    names = [f"{picture.kind} {picture.patient}" for picture in pictures]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def write_stressed(path: Path, stressed: Stressed) -> None:
    """Write the logits as float32, without the name of a film or a child."""
    np.savez_compressed(
        path,
        names=np.array(stressed.names),
        roles=np.array([role.value for role in stressed.roles]),
        targets=stressed.targets.astype(np.uint8),
        children=stressed.children.astype(np.int32),
        logits=stressed.logits.astype(np.float32),
    )


def read_stressed(path: Path) -> Stressed:
    """Read what ``write_stressed`` wrote.

    Raises
    ------
    BundleError
        If it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Stressed(
                names=tuple(str(name) for name in stored["names"]),
                roles=tuple(Role(str(role)) for role in stored["roles"]),
                targets=stored["targets"].astype(np.float64),
                children=stored["children"].astype(np.int64),
                logits=stored["logits"].astype(np.float64),
            )
    except (OSError, ValueError, KeyError, InputError) as error:
        raise BundleError(f"{path} cannot be read: copy or export the bundle again") from error


def stress_table(
    stressed: Stressed, calibration: Calibration, threshold: float, bands: Bands | None = None
) -> dict[str, Any]:
    """Measure every row at one threshold, and whether it holds there.

    Parameters
    ----------
    stressed : Stressed
        Of films the network was not trained on; otherwise the figures are too good.
    calibration : Calibration
        Makes probabilities of the logits.
    threshold : float
        Probability, in (0, 1), from which on a film is PNEUMONIA.
    bands : Bands, optional
        With them each row has their errors, by child, and their shares of the films.

    Returns
    -------
    dict
        In a form that JSON can hold. ``rows`` in the order of ``stressed``, each with its ``name``, ``role``, ``auc``,
        ``sensitivity`` and ``specificity``, what it loses of both against the first row, whether it ``holds`` (loses
        at most ``MAX_LOSS`` of each), and sensitivity and specificity at ``THRESHOLDS``; ``holds`` by role is
        whether all its rows hold; ``pooled_auc`` is over all films of a role's rows together, which predicts the AUC on
        films from elsewhere better than the AUC of unchanged films does.
    """
    probabilities = calibration.probabilities(stressed.logits)
    ill = stressed.targets == 1
    base = _shares(probabilities[0], ill, threshold)
    rows = []
    for name, role, row in zip(stressed.names, stressed.roles, probabilities, strict=True):
        found = _shares(row, ill, threshold)
        lost = [before - after for before, after in zip(base, found, strict=True)]
        rows.append(
            {
                "name": name,
                "role": role.value,
                "auc": auc(stressed.targets, row),
                "sensitivity": found[0],
                "specificity": found[1],
                "sensitivity_loss": lost[0],
                "specificity_loss": lost[1],
                "holds": max(lost) <= MAX_LOSS,
                "thresholds": [[at, *_shares(row, ill, at)] for at in THRESHOLDS],
                **(_banded(row, stressed, bands) if bands else {}),
            }
        )
    roles = {"fit": (Role.FIT,), "check": (Role.CHECK,), "all": tuple(Role)}
    kept = {name: among for name, among in roles.items() if any(role in among for role in stressed.roles)}
    return {
        "films": len(ill),
        "threshold": threshold,
        "max_loss": MAX_LOSS,
        "holds": {name: all(row["holds"] for row in rows if Role(row["role"]) in kept[name]) for name in kept},
        "pooled_auc": {name: auc(*stressed.pooled(*among)) for name, among in kept.items()},
        "rows": rows,
    }


def _shares(probabilities: NDArray[np.float64], ill: NDArray[np.bool_], threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity."""
    called = probabilities >= threshold
    return float(called[ill].mean()), float((~called[~ill]).mean())


def _banded(probabilities: NDArray[np.float64], stressed: Stressed, bands: Bands) -> dict[str, Any]:
    """Shares of films in each band, and of children with a film in the wrong outer band."""
    low, high = probabilities < bands.low, probabilities >= bands.high
    ill = stressed.targets == 1
    shares = {Band.LOW: low.mean(), Band.INTERMEDIATE: (~low & ~high).mean(), Band.HIGH: high.mean()}
    return {
        "low_given_pneumonia": _of_children(low[ill], stressed.children[ill]),
        "high_given_normal": _of_children(high[~ill], stressed.children[~ill]),
        "bands": {band.value: float(share) for band, share in shares.items()},
    }


def _of_children(wrong: NDArray[np.bool_], children: NDArray[np.int64]) -> float:
    return len(np.unique(children[wrong])) / len(np.unique(children))
