"""What a run's members say of the films they have not seen: all that a bundle's figures rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.dataset import Split, load_films
from model.intervals import wilson
from model.metrics import auc
from model.perturb import PERTURBATIONS
from model.preprocess import prepare, scale
from model.spectrum import SMALLEST_PX
from model.style import style_features
from model.weights import style_weights, weighted_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from model.calibrate import Calibration
    from model.config import TrainingConfig
    from model.dataset import Picture
    from model.run import RunState

ENGINE_FILMS = 400
"""Validation films on which the two engines are compared."""

STYLE_BOUND = 20.0
"""The most one film may weigh in the figures for films of any style."""


@dataclass(frozen=True, slots=True)
class Member:
    """One trained member of a run."""

    split: Split
    state: RunState
    network: keras.Model


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Targets and logits of every validation film, each by the member that had not seen it; and some of the inputs.

    ``folds`` is how many films each fold has; ``style`` is None where the input is too small to show it.
    """

    targets: NDArray[np.float64]
    logits: NDArray[np.float64]
    pictures: tuple[Picture, ...]
    folds: tuple[int, ...]
    style: NDArray[np.float64] | None
    sample: NDArray[np.float32]


def served_network(networks: Sequence[keras.Model], config: TrainingConfig) -> keras.Model:
    """The network of some members as it serves: float32, plain layers, one input size; the notebook's is that already."""
    from model.network import join_members

    return join_members(networks, config.input_size) if config.network.kind == "residual" else networks[0]


def judge_held_out(
    members: Sequence[Member],
    config: TrainingConfig,
    reader: Callable[[Path], NDArray[np.uint8]],
) -> HeldOut:
    """Let each member answer to its fold's validation films."""
    from model.train import predict_logits

    targets, logits, style, samples = [], [], [], []
    for member in members:
        films = load_films(member.split.validation, config.input_size, reader)
        logits.append(predict_logits(served_network([member.network], config), films.pixels))
        targets.append(films.targets.astype(np.float64))
        if config.input_size >= SMALLEST_PX:
            style.append(style_features(films.pixels))
        samples.append(scale(films.pixels[: ENGINE_FILMS // len(members)])[..., np.newaxis])
    held = tuple(picture for member in members for picture in member.split.validation)
    return HeldOut(
        targets=np.concatenate(targets),
        logits=np.concatenate(logits),
        pictures=held,
        folds=tuple(len(member.split.validation) for member in members),
        style=np.concatenate(style) if style else None,
        sample=np.concatenate(samples),
    )


def perturbed_figures(
    config: TrainingConfig,
    members: Sequence[Member],
    calibration: Calibration,
    threshold: float,
    reader: Callable[[Path], NDArray[np.uint8]],
) -> list[dict[str, Any]]:
    """The figures when every held-out film is darker, blurred, bordered and so on, by the member that had not seen it."""
    from model.train import predict_logits

    originals = [[reader(picture.path) for picture in member.split.validation] for member in members]
    targets = np.array([picture.label.target for member in members for picture in member.split.validation])
    networks = [served_network([member.network], config) for member in members]
    rows = []
    for name, change in PERTURBATIONS.items():
        logits = [
            predict_logits(network, np.stack([prepare(change(film), config.input_size) for film in films]))
            for network, films in zip(networks, originals, strict=True)
        ]
        probabilities = calibration.probabilities(np.concatenate(logits))
        called = probabilities >= threshold
        rows.append(
            {
                "name": name,
                "auc": auc(targets, probabilities),
                "sensitivity": float(called[targets == 1].mean()),
                "specificity": float((~called[targets == 0]).mean()),
            }
        )
    return rows


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
    """The figures on films weighted so that style says nothing of the label: what to expect where films differ."""
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
