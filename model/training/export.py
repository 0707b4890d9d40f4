"""Export a trained run as a bundle: convert the network, measure it as it will serve, and write the files."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.card.card import render_card
from model.data.dataset import Split, read_picture
from model.errors import ExportError
from model.explanation.trust import measure_trust
from model.labels import Label
from model.network.outputs import with_terms
from model.network.start_weights import IMAGENET_LITE0
from model.operating.operating_point import FittedPoint, facts_at, fit_point
from model.operating.stress_table import write_stressed
from model.preprocess import PREPROCESS_VERSION
from model.serving.bundle import Bundle, check_new, load_bundle
from model.serving.difference import EngineDifference, engine_difference
from model.serving.engine import KerasEngine, LiteRtEngine
from model.serving.manifest import (
    CARD_FILE,
    FORMAT,
    KERAS_FILE,
    LITERT_FILE,
    SCOPE_FILE,
    SEEN_FILE,
    STRESSED_FILE,
    VALIDATION_FILE,
    json_digest,
    write_manifest,
    write_validation,
)
from model.serving.scope import write_scope
from model.serving.seen import digests_of
from model.training.held_out import HeldOut, TrainedMember, figures_by_film, judge_held_out, served_network
from model.training.learn_scope import learn_scope
from model.training.run import RunState, member_folder, read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.data.dataset import Picture
    from model.training.train import Progress

log = logging.getLogger(__name__)


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
    """Train a network, or continue an interrupted run, and export it to ``run/<name>-<version>``.

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
        Tables for the model card that other programs measured, as ``recipes.as_evidence`` gives.

    Returns
    -------
    Bundle

    Raises
    ------
    ModelError
        If the films, the run's folder or the network cannot be used.
    """
    from model.training.train import train  # loads TensorFlow

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
        Tables for the model card that other programs measured, as ``recipes.as_evidence`` gives.

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
    from model.training.train import splits_of  # loads TensorFlow

    check_new(out, config.name, config.version)
    members = _members(config, run, splits_of(config, pictures))
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    draft = _Draft(f"{config.name}-{config.version}", config.input_size, part / KERAS_FILE, part / LITERT_FILE)
    _write_network(served_network([member.network for member in members], config), draft)
    held = judge_held_out(members, config, reader)
    write_validation(part / VALIDATION_FILE, held.targets, held.logits)
    write_stressed(part / STRESSED_FILE, held.stressed)
    scope, scope_by_fold = learn_scope(pictures, [member.split for member in members], reader)
    if scope:
        write_scope(scope, part / SCOPE_FILE)
    np.save(part / SEEN_FILE, digests_of(pictures, reader))
    point = fit_point(config, held.stressed)
    manifest = {
        **_manifest(config, members, held, point),
        "engine_difference": asdict(_engine_difference(draft, held.sample)),
        **figures_by_film(held, point),
        "explanation": measure_trust(draft, held.pictures, reader),
        "scope_refused_share": scope.refused_share if scope else None,
        "scope_by_fold": scope_by_fold,
        "evidence": list(evidence),
    }
    write_manifest(part, manifest)
    (part / CARD_FILE).write_text(render_card(manifest), encoding="utf-8")
    part.rename(out)
    log.info("exported %s to a bundle", draft.label, extra={"action": "bundle_exported", "model": draft.label})
    return load_bundle(out)


def _members(config: TrainingConfig, run: Path, splits: Sequence[Split]) -> list[TrainedMember]:
    from model.network.kinds import build_network  # loads TensorFlow

    members = []
    for number, split in enumerate(splits, start=1):
        folder = member_folder(run, number, config.members)
        state = _state(config, folder, split)
        network = build_network(config.network, config.input_size)
        network.load_weights(folder / state.best_weights)
        members.append(TrainedMember(split, state, network))
    return members


def _state(config: TrainingConfig, run: Path, split: Split) -> RunState:
    state = read_state(run)
    if state is None:
        raise ExportError(f"{run} has no whole epoch yet: train first")
    if (state.config_digest, state.split_digest) != (config.digest, split.digest):
        raise ExportError(f"{run} was trained with another configuration or other films")
    return state


def _write_network(network: keras.Model, draft: _Draft) -> None:
    """Write the network for both engines, float32 and without the optimiser's state; for LiteRT with its terms."""
    network.save(draft.keras_path)
    with_terms(network).export(draft.litert_path, format="litert", verbose=False)


def _engine_difference(draft: _Draft, inputs: NDArray[np.float32]) -> EngineDifference:
    """The largest differences between the engines; raises ExportError where they are too large."""
    litert = LiteRtEngine(draft).logits(inputs)
    engine = KerasEngine(draft)
    keras = np.concatenate([engine.logits(film[np.newaxis]) for film in inputs])
    difference = engine_difference(litert, keras)
    if not difference.is_small:
        raise ExportError(
            f"LiteRT and Keras differ by {difference.logit:.1e} in a logit and {difference.probability:.1e} in a "
            "probability: this network cannot be served by both"
        )
    return difference


def _manifest(
    config: TrainingConfig, members: Sequence[TrainedMember], held: HeldOut, point: FittedPoint
) -> dict[str, Any]:
    digests = list(dict.fromkeys(member.split.digest for member in members))
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
        "start": asdict(IMAGENET_LITE0) if config.network.start else None,
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
        **facts_at(point, held.targets, held.logits, held.stressed, config.name, config.version),
    }
