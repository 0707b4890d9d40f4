"""Answers of a run's members to films they have not seen, from which the figures of a bundle are computed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from model.augmentation.changed_films import AT_ONCE, changed_films
from model.augmentation.film_weights import style_weights, weighted_auc
from model.augmentation.perturb import PERTURBATIONS
from model.data.spectrum import SMALLEST_PX
from model.data.style import style_features
from model.operating.stress_table import Stressed, numbered
from model.preprocess import scale
from model.statistics.intervals import wilson
from model.statistics.metrics import auc
from model.training.predict import predict_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.data.dataset import Picture, Split
    from model.operating.operating_point import FittedPoint
    from model.training.run import RunState

log = logging.getLogger(__name__)

LOG_EACH = 500
"""A line in the log each time that many films more are judged: it takes minutes."""

ENGINE_FILMS = 400
"""Validation films on which the two engines are compared."""

STYLE_BOUND = 20.0
"""The most one film may weigh in the figures for films of any style."""


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """One trained member of a run."""

    split: Split
    state: RunState
    network: keras.Model


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Logits of every validation film, changed in every way, each by the member that had not seen it; some inputs.

    ``folds`` is how many films each fold has; ``style`` is None where the input is too small to show it.
    """

    stressed: Stressed
    pictures: tuple[Picture, ...]
    folds: tuple[int, ...]
    style: NDArray[np.float64] | None
    sample: NDArray[np.float32]

    @property
    def targets(self) -> NDArray[np.float64]:
        """1 for pneumonia, 0 for normal, shape (n,)."""
        return self.stressed.targets

    @property
    def logits(self) -> NDArray[np.float64]:
        """Logits of the films as they are, shape (n,)."""
        return np.asarray(self.stressed.logits[0])


def served_network(networks: Sequence[keras.Model], config: TrainingConfig) -> keras.Model:
    """The network of some members as it serves: float32, plain layers, one input size; the notebook's is that already."""
    from model.network.kinds import join_members  # loads TensorFlow

    return networks[0] if config.network.kind == "notebook" else join_members(networks, config.input_size)


def judge_held_out(
    members: Sequence[TrainedMember],
    config: TrainingConfig,
    reader: Callable[[Path], NDArray[np.uint8]],
) -> HeldOut:
    """Let each member answer to its fold's validation films, as they are and changed in every way of ``perturb``.

    Parameters
    ----------
    members : sequence of TrainedMember
        One for each fold, or one.
    config : TrainingConfig
        Of their training.
    reader : callable
        Gives the grey film of a path; called once for each film, from two threads.

    Returns
    -------
    HeldOut
    """
    pictures = tuple(picture for member in members for picture in member.split.validation)
    logits = np.empty((len(PERTURBATIONS), len(pictures)))
    unchanged = np.empty((len(pictures), config.input_size, config.input_size), dtype=np.uint8)
    samples, done = [], 0
    for member in members:
        network, first = served_network([member.network], config), done
        changed = changed_films(member.split.validation, config.input_size, reader)
        while films := list(islice(changed, AT_ONCE)):
            rows = np.stack(films, axis=1)
            end = done + len(films)
            logits[:, done:end], unchanged[done:end] = _logits(network, rows), rows[0]
            done = end
            if done % LOG_EACH < len(films) or done == len(pictures):
                log.info("judged %d of %d held-out films", done, len(pictures), extra={"action": "judged"})
        # Of both labels: the films lie in the order of their paths.
        every = max(1, (done - first) * len(members) // ENGINE_FILMS)
        samples.append(scale(unchanged[first:done:every][: ENGINE_FILMS // len(members)])[..., np.newaxis])
    return HeldOut(
        stressed=Stressed(
            names=tuple(each.name for each in PERTURBATIONS),
            roles=tuple(each.role for each in PERTURBATIONS),
            targets=np.array([picture.label.target for picture in pictures], dtype=np.float64),
            children=numbered(pictures),
            logits=logits,
        ),
        pictures=pictures,
        folds=tuple(len(member.split.validation) for member in members),
        style=style_features(unchanged) if config.input_size >= SMALLEST_PX else None,
        sample=np.concatenate(samples),
    )


def _logits(network: keras.Model, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits, shape (rows, films), of prepared films (rows, films, size, size)."""
    return predict_logits(network, rows.reshape(-1, *rows.shape[2:])).reshape(rows.shape[:2])


def figures_by_film(held: HeldOut, point: FittedPoint) -> dict[str, Any]:
    """Figures that need more of each film than its logit: by fold, by type, and with the influence of style removed."""
    probabilities = point.probabilities(held.logits)
    return {
        "folds": figures_by_fold(held, probabilities, point.threshold),
        "kinds": figures_by_kind(held, probabilities, point.threshold),
        "style": style_figures(held, probabilities, point.threshold),
    }


def figures_by_fold(held: HeldOut, probabilities: NDArray[np.float64], threshold: float) -> list[dict[str, Any]]:
    """The figures of each fold's member on its own validation films, at the threshold of all."""
    rows, ends = [], np.cumsum(held.folds)
    for start, end in zip(ends - held.folds, ends, strict=True):
        targets, called = held.targets[start:end], probabilities[start:end] >= threshold
        rows.append(
            {
                "films": int(end - start),
                "auc": auc(targets, probabilities[start:end]),
                "accuracy": float((called == (targets == 1)).mean()),
                "sensitivity": float(called[targets == 1].mean()),
                "specificity": float((~called[targets == 0]).mean()),
            }
        )
    return rows


def figures_by_kind(held: HeldOut, probabilities: NDArray[np.float64], threshold: float) -> list[dict[str, Any]]:
    """How many films of each type were called rightly."""
    right = (probabilities >= threshold) == (held.targets == 1)
    rows = []
    for label, kind in sorted({(picture.label, picture.kind) for picture in held.pictures}):
        among = right[[picture.kind == kind and picture.label is label for picture in held.pictures]]
        interval = wilson(int(among.sum()), len(among))
        rows.append(
            {"kind": kind, "label": label, "films": len(among), "right": float(among.mean()), "right_ci": interval}
        )
    return rows


def style_figures(held: HeldOut, probabilities: NDArray[np.float64], threshold: float) -> dict[str, Any] | None:
    """Figures on films weighted so that style says nothing about the label: what to expect where films differ."""
    if held.style is None:
        return None
    weights = style_weights(held.pictures, held.targets, held.style, STYLE_BOUND, 0)
    ill, called = held.targets == 1, probabilities >= threshold
    return {
        "bound": STYLE_BOUND,
        "auc": weighted_auc(held.targets, probabilities, weights),
        "sensitivity": float(np.average(called[ill], weights=weights[ill])),
        "specificity": float(np.average(~called[~ill], weights=weights[~ill])),
    }
