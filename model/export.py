"""Make a bundle of a trained run: convert the network, measure it as it will serve, write it all down."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.bundle import Bundle, check_new, load_bundle
from model.card import render_card
from model.dataset import Films, Split, load_films, scan_folder, split_by_patient
from model.engine import Classifier, KerasEngine, LiteRtEngine
from model.errors import ExportError
from model.evaluate import Evaluation, evaluate_folder, evaluate_logits
from model.labels import Label
from model.manifest import (
    CARD_FILE,
    FORMAT,
    KERAS_FILE,
    LITERT_FILE,
    VALIDATION_FILE,
    write_manifest,
    write_validation,
)
from model.preprocess import PREPROCESS_VERSION, scale
from model.run import RunState, read_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.train import Progress

log = logging.getLogger(__name__)

MAX_LOGIT_DIFFERENCE = 1e-4
"""By how much two engines' logits may differ where the sigmoid is not flat; beyond, float32 itself is coarser."""

FLAT_FROM = 10.0
"""A logit of this size is a probability within 5e-5 of 0 or 1."""

MAX_PROBABILITY_DIFFERENCE = 1e-5
"""By how much two engines' probabilities may differ, everywhere."""


@dataclass(frozen=True, slots=True)
class EngineDifference:
    """The largest differences between LiteRT and Keras over some films.

    ``logit`` is over films whose logit is within ``FLAT_FROM``, ``probability`` over all of them.
    """

    logit: float
    probability: float


@dataclass(frozen=True, slots=True)
class _Draft:
    """The networks of a bundle that has no description yet."""

    label: str
    input_size: int
    keras_path: Path
    litert_path: Path


def train_bundle(
    config: TrainingConfig,
    data: Path,
    run: Path,
    progress: Callable[[Progress], None] | None = None,
    reported: Path | None = None,
) -> Bundle:
    """Train a network, or go on with an interrupted run, and export it to ``run/<name>-<version>``.

    Parameters
    ----------
    config : TrainingConfig
        What to train and how.
    data : Path
        Folder with ``NORMAL/`` and ``PNEUMONIA/``.
    run : Path
        The run's folder.
    progress : callable, optional
        Called after every batch.
    reported : Path, optional
        Another such folder, whose figures the card shall quote too.

    Returns
    -------
    Bundle

    Raises
    ------
    ModelError
        If the films, the run's folder or the network cannot be used.
    """
    from model.train import train

    out = run / f"{config.name}-{config.version}"
    check_new(out, config.name, config.version)
    train(config, data, run, progress)
    return export_run(config, data, run, out, reported)


def export_run(config: TrainingConfig, data: Path, run: Path, out: Path, reported: Path | None = None) -> Bundle:
    """Export the best weights of a run as a bundle.

    Parameters
    ----------
    config : TrainingConfig
        The configuration of the run; names, texts and threshold may have changed since.
    data : Path
        The films of the run.
    run : Path
        The run's folder, with at least one whole epoch.
    out : Path
        The bundle's folder; it must not exist.
    reported : Path, optional
        Another folder with ``NORMAL/`` and ``PNEUMONIA/``, whose figures the card shall quote too.

    Returns
    -------
    Bundle

    Raises
    ------
    ExportError
        If the run does not belong to the configuration and the films, or the engines disagree.
    BundleError
        If the folder exists.
    """
    check_new(out, config.name, config.version)
    split = split_by_patient(scan_folder(data), config.validation_share, config.split_seed)
    state = _state(config, run, split)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    draft = _Draft(f"{config.name}-{config.version}", config.input_size, part / KERAS_FILE, part / LITERT_FILE)
    _write_networks(config, run / state.best_weights, draft)
    validation = load_films(split.validation, config.input_size)
    logits, difference = _logits(draft, validation)
    targets = validation.targets.astype(np.float64)
    write_validation(part / VALIDATION_FILE, targets, logits)
    metrics = evaluate_logits(targets, logits, config.threshold, config.name, config.version)
    manifest = _manifest(config, split, state, metrics, difference)
    write_manifest(part, manifest)
    (part / CARD_FILE).write_text(render_card(manifest, _reports(part, reported)), encoding="utf-8")
    part.rename(out)
    log.info("exported %s to a bundle", draft.label, extra={"action": "bundle_exported", "model": draft.label})
    return load_bundle(out)


def _state(config: TrainingConfig, run: Path, split: Split) -> RunState:
    state = read_state(run)
    if state is None:
        raise ExportError(f"{run} has no whole epoch yet: train first")
    if (state.config_digest, state.split_digest) != (config.digest, split.digest):
        raise ExportError(f"{run} was trained with another configuration or other films")
    return state


def _write_networks(config: TrainingConfig, weights: Path, draft: _Draft) -> None:
    """Write the network for both engines, float32 and without the optimiser's state."""
    from model.network import build_network

    network = build_network(config.network, config.input_size)
    network.load_weights(weights)
    network.save(draft.keras_path)
    network.export(draft.litert_path, format="litert", verbose=False)


def _logits(draft: _Draft, films: Films) -> tuple[NDArray[np.float64], EngineDifference]:
    """Logits by LiteRT, and how far those of Keras lie from them at most."""
    inputs = scale(films.pixels)[..., np.newaxis]
    litert = LiteRtEngine(draft).logits(inputs)
    engine = KerasEngine(draft)
    keras = np.concatenate([engine.logits(film[np.newaxis]) for film in inputs])
    difference = engine_difference(litert, keras)
    if not (difference.logit <= MAX_LOGIT_DIFFERENCE and difference.probability <= MAX_PROBABILITY_DIFFERENCE):
        raise ExportError(
            f"LiteRT and Keras differ by {difference.logit:.1e} in a logit and {difference.probability:.1e} in a "
            "probability: this network cannot be served by both"
        )
    return litert, difference


def engine_difference(litert: NDArray[np.float64], keras: NDArray[np.float64]) -> EngineDifference:
    """Compare the logits of two engines on the same films.

    Parameters
    ----------
    litert, keras : ndarray of float64, shape (n,)
        Logits of pneumonia, film by film.

    Returns
    -------
    EngineDifference
    """
    steep = np.abs(litert) <= FLAT_FROM
    return EngineDifference(
        logit=float(np.abs(litert - keras)[steep].max(initial=0.0)),
        probability=float(np.abs(np.tanh(litert / 2) - np.tanh(keras / 2)).max() / 2),
    )


def _reports(part: Path, reported: Path | None) -> list[tuple[str, Evaluation]]:
    if reported is None:
        return []
    bundle = load_bundle(part)
    evaluation = evaluate_folder(Classifier(bundle, LiteRtEngine(bundle)), reported)
    return [(f"{reported.parent.name}/{reported.name}", evaluation)]


def _manifest(
    config: TrainingConfig, split: Split, state: RunState, metrics: Evaluation, difference: EngineDifference
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": config.name,
        "version": config.version,
        "network": config.network,
        "input_size": config.input_size,
        "preprocess_version": PREPROCESS_VERSION,
        "labels": [label.value for label in Label],
        "positive": Label.PNEUMONIA.value,
        "output": "logit",
        "threshold": config.threshold,
        "calibration": None,
        "bands": None,
        "derived_from": None,
        "intended_use": asdict(config.intended_use),
        "training_data": {
            **asdict(config.training_data),
            "train_films": len(split.train),
            "validation_films": len(split.validation),
            "split_digest": split.digest,
        },
        "training": {
            "config": f"{config.name}-{config.version}",
            "config_digest": config.digest,
            "split_seed": config.split_seed,
            "seed": config.seed,
            "epochs": state.epochs_done,
            "batch_size": config.batch_size,
            "learning_rate": config.learning_rate,
            "settle_films": config.settle_films,
            "augment": asdict(config.augment),
            "plateau": asdict(config.plateau),
            "keep_best": config.keep_best,
            "best_epoch": state.best_epoch,
            "engine_difference": asdict(difference),
            "history": [asdict(record) for record in state.history],
        },
        "metrics": metrics.as_dict(),
    }
