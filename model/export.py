"""Make a bundle of a trained run: convert the network, measure it as it will serve, write it all down."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.bundle import Bundle, check_new, load_bundle
from model.calibrate import UNCALIBRATED, Calibration, fit_bands, fit_calibration, threshold_of
from model.card import render_card
from model.dataset import Split, load_films, read_picture
from model.engine import KerasEngine, LiteRtEngine
from model.errors import ExportError
from model.evaluate import evaluate_probabilities
from model.held_out import (
    HeldOut,
    Member,
    figures_by_fold,
    figures_by_kind,
    judge_held_out,
    perturbed_figures,
    served_network,
    style_figures,
)
from model.labels import Label
from model.manifest import (
    CARD_FILE,
    FORMAT,
    KERAS_FILE,
    LITERT_FILE,
    SCOPE_FILE,
    SEEN_FILE,
    VALIDATION_FILE,
    json_digest,
    write_manifest,
    write_validation,
)
from model.preprocess import PREPROCESS_VERSION, scale
from model.run import RunState, member_folder, read_state
from model.scope import FEWEST_FILMS, SIDE, Scope, fit_scope, write_scope
from model.seen import digests_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.dataset import Picture
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
    pictures: Sequence[Picture],
    run: Path,
    progress: Callable[[Progress], None] | None = None,
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    evidence: Sequence[dict[str, Any]] = (),
) -> Bundle:
    """Train a network, or go on with an interrupted run, and export it to ``run/<name>-<version>``.

    Parameters
    ----------
    config : TrainingConfig
        What to train and how.
    pictures : sequence of Picture
        All labelled films.
    run : Path
        The run's folder.
    progress : callable, optional
        Called after every batch.
    reader : callable, optional
        Gives the grey film of a path.
    evidence : sequence of dict, optional
        Tables for the model card that other programs measured, as ``stress.as_evidence`` gives.

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
    train(config, pictures, run, progress, reader)
    return export_run(config, pictures, run, out, reader, evidence)


def export_run(
    config: TrainingConfig,
    pictures: Sequence[Picture],
    run: Path,
    out: Path,
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    evidence: Sequence[dict[str, Any]] = (),
) -> Bundle:
    """Export the kept weights of a run as a bundle.

    Parameters
    ----------
    config : TrainingConfig
        The configuration of the run; names, texts and threshold may have changed since.
    pictures : sequence of Picture
        The films of the run.
    run : Path
        The run's folder, with at least one whole epoch of each member.
    out : Path
        The bundle's folder; it must not exist.
    reader : callable, optional
        Gives the grey film of a path.
    evidence : sequence of dict, optional
        Tables for the model card that other programs measured, as ``stress.as_evidence`` gives.

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
    from model.train import splits_of

    check_new(out, config.name, config.version)
    members = _members(config, run, splits_of(config, pictures))
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    draft = _Draft(f"{config.name}-{config.version}", config.input_size, part / KERAS_FILE, part / LITERT_FILE)
    _write_network(served_network([member.network for member in members], config), draft)
    held = judge_held_out(members, config, reader)
    write_validation(part / VALIDATION_FILE, held.targets, held.logits)
    scope = _scope(pictures, reader)
    if scope:
        write_scope(scope, part / SCOPE_FILE)
    np.save(part / SEEN_FILE, digests_of(pictures, reader))
    point = _operating_point(config, held)
    manifest = {
        **_manifest(config, members, held, point),
        "engine_difference": asdict(_engine_difference(draft, held.sample)),
        "folds": figures_by_fold(held, point.probabilities, point.threshold),
        "kinds": figures_by_kind(held, point.probabilities, point.threshold),
        "style": style_figures(held, point.probabilities, point.threshold),
        "perturbed": perturbed_figures(config, members, point.calibration, point.threshold, reader),
        "scope_refused_share": scope.refused_share if scope else None,
        "evidence": list(evidence),
    }
    write_manifest(part, manifest)
    (part / CARD_FILE).write_text(render_card(manifest), encoding="utf-8")
    part.rename(out)
    log.info("exported %s to a bundle", draft.label, extra={"action": "bundle_exported", "model": draft.label})
    return load_bundle(out)


def _members(config: TrainingConfig, run: Path, splits: Sequence[Split]) -> list[Member]:
    from model.network import build_network

    members = []
    for number, split in enumerate(splits, start=1):
        folder = member_folder(run, number, config.members)
        state = _state(config, folder, split)
        network = build_network(config.network, config.input_size)
        network.load_weights(folder / state.best_weights)
        members.append(Member(split, state, network))
    return members


def _state(config: TrainingConfig, run: Path, split: Split) -> RunState:
    state = read_state(run)
    if state is None:
        raise ExportError(f"{run} has no whole epoch yet: train first")
    if (state.config_digest, state.split_digest) != (config.digest, split.digest):
        raise ExportError(f"{run} was trained with another configuration or other films")
    return state


def _write_network(network: keras.Model, draft: _Draft) -> None:
    """Write the network for both engines, float32 and without the optimiser's state."""
    network.save(draft.keras_path)
    network.export(draft.litert_path, format="litert", verbose=False)


def _engine_difference(draft: _Draft, inputs: NDArray[np.float32]) -> EngineDifference:
    """How far the logits of the two engines lie apart at most."""
    litert = LiteRtEngine(draft).logits(inputs)
    engine = KerasEngine(draft)
    keras = np.concatenate([engine.logits(film[np.newaxis]) for film in inputs])
    difference = engine_difference(litert, keras)
    if not (difference.logit <= MAX_LOGIT_DIFFERENCE and difference.probability <= MAX_PROBABILITY_DIFFERENCE):
        raise ExportError(
            f"LiteRT and Keras differ by {difference.logit:.1e} in a logit and {difference.probability:.1e} in a "
            "probability: this network cannot be served by both"
        )
    return difference


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


def _scope(pictures: Sequence[Picture], reader: Callable[[Path], NDArray[np.uint8]]) -> Scope | None:
    if len(pictures) < FEWEST_FILMS:
        log.warning("no scope: it needs %d films", FEWEST_FILMS, extra={"action": "no_scope"})
        return None
    films = load_films(pictures, SIDE, reader)
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    return fit_scope(scale(films.pixels), films.targets, children)


@dataclass(frozen=True, slots=True)
class _OperatingPoint:
    """How a logit becomes a probability and from where on it means PNEUMONIA; ``probabilities`` of the held-out films."""

    calibration: Calibration
    threshold: float
    probabilities: NDArray[np.float64]


def _operating_point(config: TrainingConfig, held: HeldOut) -> _OperatingPoint:
    if config.operating_point is None:
        threshold = config.threshold
        if threshold is None:
            raise ExportError(f"the configuration {config.name}-{config.version} names no threshold")
        return _OperatingPoint(UNCALIBRATED, threshold, UNCALIBRATED.probabilities(held.logits))
    calibration = fit_calibration(held.targets, held.logits)
    probabilities = calibration.probabilities(held.logits)
    threshold = threshold_of(held.targets, probabilities, config.operating_point.sensitivity)
    return _OperatingPoint(calibration, threshold, probabilities)


def _manifest(
    config: TrainingConfig, members: Sequence[Member], held: HeldOut, point: _OperatingPoint
) -> dict[str, Any]:
    metrics = evaluate_probabilities(held.targets, point.probabilities, point.threshold, config.name, config.version)
    digests = list(dict.fromkeys(member.split.digest for member in members))
    is_calibrated = config.operating_point is not None
    return {
        "format": FORMAT,
        "name": config.name,
        "version": config.version,
        "network": config.network.kind,
        "input_size": config.input_size,
        "preprocess_version": PREPROCESS_VERSION,
        "labels": [label.value for label in Label],
        "positive": Label.PNEUMONIA.value,
        "output": "logit",
        "threshold": point.threshold,
        "calibration": point.calibration.as_dict() if is_calibrated else None,
        "bands": fit_bands(held.targets, point.probabilities, point.threshold).as_dict() if is_calibrated else None,
        "derived_from": None,
        "intended_use": asdict(config.intended_use),
        "training_data": {
            **asdict(config.training_data),
            "films": len({*members[0].split.train, *members[0].split.validation}),
            "train_films": len(members[0].split.train),
            "validation_films": len(held.targets),
            "folds": config.folds,
            "split_digest": json_digest(digests) if config.folds else digests[0],
        },
        "training": {
            "config": f"{config.name}-{config.version}",
            "config_digest": config.digest,
            "settings": asdict(config),
            "members": [
                {
                    "epochs": member.state.epochs_done,
                    "best_epoch": member.state.best_epoch,
                    "git_revision": member.state.git_revision,
                    "history": [asdict(record) for record in member.state.history],
                }
                for member in members
            ],
        },
        "metrics": metrics.as_dict(),
    }
