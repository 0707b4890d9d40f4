"""Train a network: films in, a run folder with checkpoints, history and the best epoch's weights out.

Reads from top to bottom. Only the Keras 3 API is used. A run that was killed continues after its last whole epoch when
it is started again with the same films and configuration. A configuration with folds trains one member on each, which
see different films and together see all.
"""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import keras
import numpy as np

from model.augmentation.batches import batch_count, batches, training_films
from model.data.dataset import LoadedFilms, read_picture, split_by_patient
from model.data.folds import folds
from model.errors import TrainingError
from model.network.kinds import build_network
from model.network.lite0 import start_from
from model.network.start_weights import imagenet_lite0
from model.statistics.logistic import fit_logistic
from model.statistics.metrics import auc
from model.training.batch_norm import settle_statistics
from model.training.film_cache import FilmCache
from model.training.learning_curves import draw_curves
from model.training.plateau import Plateau
from model.training.predict import predict_logits, predicted
from model.training.run import EpochRecord, RunState, git_revision, member_folder, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.augmentation.batches import TrainingFilms
    from model.config import TrainingConfig
    from model.data.dataset import Picture, Split

log = logging.getLogger(__name__)

LAST_RATE = 0.01
"""Share of the learning rate that the cosine rule ends with."""


PROBE_PENALTY = 100.0
"""Penalty of the logistic regression that the last layer starts from; large, against overconfident logits."""

CURVES = "curves.png"
CONFIGURATION = "configuration.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: its member, batches of the current epoch and its mean loss so far; all counted from 1."""

    member: int
    members: int
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float

    @property
    def batches_done(self) -> int:
        """Batches of all members so far; members of about the same size are taken to have the same number."""
        return ((self.member - 1) * self.epochs + self.epoch - 1) * self.batches + self.batch

    @property
    def batches_in_all(self) -> int:
        """Batches of all members."""
        return self.members * self.epochs * self.batches


@dataclass(frozen=True, slots=True)
class _Member:
    """One network of a run: whose films it sees, how they count, where it is kept, the chances it draws from."""

    number: int
    count: int
    split: Split
    style_bound: float
    folder: Path
    seed: int


def splits_of(config: TrainingConfig, pictures: Sequence[Picture]) -> tuple[Split, ...]:
    """The films each member of a run is trained on and validated with.

    Raises
    ------
    DataError
        If there are too few patients.
    """
    if config.folds:
        return folds(pictures, config.folds, config.split_seed)
    return (split_by_patient(pictures, config.validation_share, config.split_seed),)


def train(
    config: TrainingConfig,
    pictures: Sequence[Picture],
    out: Path,
    progress: Callable[[Progress], None] | None = None,
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    splits: Sequence[Split] = (),
) -> tuple[RunState, ...]:
    """Train every member of a configuration, or continue a run that was interrupted.

    Parameters
    ----------
    config : TrainingConfig
        What to train and how.
    pictures : sequence of Picture
        All labelled films; they are split here.
    out : Path
        The run's folder; made if missing. A run of the same configuration and films is continued.
    progress : callable, optional
        Called after every batch.
    reader : callable, optional
        Gives the grey film of a path.
    splits : sequence of Split, optional
        One member is trained on each; by default those of the configuration.

    Returns
    -------
    tuple of RunState
        Where each member came to; its best epoch is the one that ``config.keep_best`` names, on the validation films.

    Raises
    ------
    DataError
        If the films cannot be used.
    TrainingError
        If ``out`` holds a run of another configuration or of other films.
    """
    splits = splits or splits_of(config, pictures)
    cache = FilmCache(pictures, config, reader)
    return tuple(
        _train_member(
            config,
            _Member(
                number, len(splits), split, bound, member_folder(out, number, len(splits)), config.seed + number - 1
            ),
            cache,
            progress or (lambda _: None),
        )
        for number, (split, bound) in enumerate(zip(splits, cycle(config.style_bounds), strict=False), start=1)
    )


def _train_member(
    config: TrainingConfig, member: _Member, cache: FilmCache, progress: Callable[[Progress], None]
) -> RunState:
    member.folder.mkdir(parents=True, exist_ok=True)
    state = _continued(member.folder, config, member.split.digest)
    described = {
        **asdict(config),
        "member_seed": member.seed,
        "member_style_bound": member.style_bound,
        "git_revision": git_revision(),
    }
    (member.folder / CONFIGURATION).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    if state is not None and _is_over(state, config):
        return state
    train, validation = member.split.train, member.split.validation
    log.info("training on %d films, validating with %d", len(train), len(validation), extra={"action": "train_started"})
    keras.utils.set_random_seed(member.seed)
    network = _network(config) if state is None else _resumed(member.folder / state.checkpoint)
    epoch, size = (0 if state is None else state.epochs_done), 0
    while state is None or not _is_over(state, config):
        epoch += 1
        if size != config.size_of(epoch):
            size = config.size_of(epoch)
            shown = training_films(cache.films(train, size), cache.weights(train, member.style_bound), config)
            held = cache.films(validation, size)
        if state is None and config.network.start:
            _start(network, shown.films)
        record = _epoch(network, config, member, (shown, held), epoch, progress)
        state = _recorded(network, config, member, state, record)
    return state


def _continued(folder: Path, config: TrainingConfig, split_digest: str) -> RunState | None:
    state = read_state(folder)
    if state is None:
        return None
    if (state.config_digest, state.split_digest) != (config.digest, split_digest):
        raise TrainingError(f"{folder} holds a run of another configuration or of other films: name another folder")
    log.info("going on after epoch %d", state.epochs_done, extra={"action": "train_continued"})
    return state


def _is_over(state: RunState, config: TrainingConfig) -> bool:
    """Whether all epochs are done, or the last stage has gone on for long enough without a better epoch."""
    waited = state.epochs_done - max(state.best_epoch, config.epochs - config.stages[-1].epochs)
    return state.epochs_done >= config.epochs or 0 < config.patience <= waited


def _resumed(checkpoint: Path) -> keras.Model:
    """The network of a checkpoint, with its optimiser; in safe mode, because a run's folder may come from elsewhere."""
    return keras.saving.load_model(checkpoint, safe_mode=True)


def _network(config: TrainingConfig) -> keras.Model:
    network = build_network(config.network, config.input_size)
    rule = config.optimiser
    options = {
        "learning_rate": rule.learning_rate,
        "clipnorm": rule.clip_norm or None,
        "use_ema": rule.averaging > 0,
        "ema_momentum": rule.averaging or 0.99,
    }
    if rule.kind == "adamw":
        optimiser = keras.optimizers.AdamW(weight_decay=rule.weight_decay, **options)
        # Only kernels decay; biases and gains just shift and scale what a filter gives.
        optimiser.exclude_from_weight_decay(var_names=["bias", "gain"])
    else:
        optimiser = keras.optimizers.RMSprop(weight_decay=rule.weight_decay or None, **options)
    network.compile(
        optimizer=optimiser,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        # XLA on a CPU is slower here than TensorFlow's own kernels (20 against 23 films a second).
        jit_compile=False,
    )
    return network


def _start(network: keras.Model, films: LoadedFilms) -> None:
    """Give a network ImageNet's weights, and its last layer a logistic regression on their features of the films."""
    start_from(network, imagenet_lite0())
    last = network.layers[-1]
    features = predicted(keras.Model(network.input, last.input), films.pixels)
    probe = fit_logistic(features, films.targets, PROBE_PENALTY)
    kernel = probe.coefficients / probe.deviation
    last.set_weights([kernel[:, np.newaxis], np.array([probe.intercept - kernel @ probe.mean])])


def _epoch(
    network: keras.Model,
    config: TrainingConfig,
    member: _Member,
    films: tuple[TrainingFilms, LoadedFilms],
    epoch: int,
    progress: Callable[[Progress], None],
) -> EpochRecord:
    started = time.monotonic()
    shown, held = films
    _seed_dropout(network, member.seed, epoch)
    loss = _fit(network, config, member, shown, epoch, progress)
    if config.settle_films:
        chosen = np.random.default_rng(member.seed).permutation(len(shown))[: config.settle_films]
        settle_statistics(network, shown.films.pixels[chosen])
    with _averaged(network):
        z = predict_logits(network, held.pixels)
    y = held.targets.astype(np.float64)
    return EpochRecord(
        epoch=epoch,
        learning_rate=float(network.optimizer.learning_rate),
        loss=loss,
        validation_loss=float(np.mean(np.logaddexp(0.0, z) - y * z)),
        validation_accuracy=float(np.mean((z >= 0) == (y == 1))),
        validation_auc=auc(held.targets, z),
        seconds=time.monotonic() - started,
    )


def _fit(
    network: keras.Model,
    config: TrainingConfig,
    member: _Member,
    shown: TrainingFilms,
    epoch: int,
    progress: Callable[[Progress], None],
) -> float:
    """Show every film once; return the mean loss, as it was while the weights changed."""
    count, total = batch_count(shown, config), 0.0
    for number, batch in enumerate(batches(shown, config, member.seed, epoch), start=1):
        if config.cosine:
            network.optimizer.learning_rate = _cosine(config, epoch - 1 + (number - 1) / count)
        total += float(network.train_on_batch(batch.inputs, batch.targets, sample_weight=batch.weights))
        progress(Progress(member.number, member.count, epoch, config.epochs, number, count, total / number))
    return total / count


def _cosine(config: TrainingConfig, epochs_done: float) -> float:
    """The learning rate after so many epochs, by the cosine rule."""
    if config.cosine is None:
        raise TrainingError("this configuration has no cosine rule")
    peak, warm_up = config.optimiser.learning_rate, config.cosine.warm_up_epochs
    if epochs_done < warm_up:
        return peak * max(epochs_done / warm_up, LAST_RATE)
    done = (epochs_done - warm_up) / (config.epochs - warm_up)
    return peak * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


@contextmanager
def _averaged(network: keras.Model) -> Iterator[None]:
    """Use the averages of the weights within the block, where the optimiser keeps averages."""
    if not network.optimizer.use_ema:
        yield
        return
    own = [keras.ops.convert_to_numpy(variable) for variable in network.trainable_variables]
    network.optimizer.finalize_variable_values(network.trainable_variables)
    yield
    for variable, value in zip(network.trainable_variables, own, strict=True):
        variable.assign(value)


def _seed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    """Seed dropout for an epoch, so that a run that was interrupted before it draws the same numbers."""
    for number, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = layer.seed_generator.state
            state.assign(np.random.default_rng([seed, epoch, number]).integers(0, 2**31, state.shape))


def _recorded(
    network: keras.Model, config: TrainingConfig, member: _Member, before: RunState | None, record: EpochRecord
) -> RunState:
    """Write the epoch's checkpoint, and its weights if it is the best, then record both in the state of the run."""
    plateau = Plateau(config.optimiser.learning_rate)
    if before is not None:
        plateau = Plateau(before.learning_rate, before.plateau_best, before.plateau_wait)
    if config.plateau:
        plateau = plateau.after(record.validation_accuracy, config.plateau)
        network.optimizer.learning_rate = plateau.learning_rate
    history = (*(before.history if before else ()), record)
    checkpoint = f"epoch-{record.epoch:03d}.keras"
    network.save(member.folder / checkpoint)
    best_weights, best_epoch = (before.best_weights, before.best_epoch) if before else ("", 0)
    if not best_epoch or _is_better(record, history[best_epoch - 1], config):
        best_weights, best_epoch = f"best-{record.epoch:03d}.weights.h5", record.epoch
        with _averaged(network):
            network.save_weights(member.folder / best_weights)
    state = RunState(
        config_digest=config.digest,
        split_digest=member.split.digest,
        learning_rate=plateau.learning_rate,
        plateau_best=plateau.best,
        plateau_wait=plateau.wait,
        checkpoint=checkpoint,
        best_weights=best_weights,
        best_epoch=best_epoch,
        history=history,
        git_revision=git_revision(),
    )
    write_state(member.folder, state)
    draw_curves(history, config.epochs, member.folder / CURVES)
    log.info(
        "member %d, epoch %d of %d: loss %.4f, validation loss %.4f, accuracy %.4f, AUC %.4f, rate %.2g, %.0f s",
        member.number, record.epoch, config.epochs, record.loss, record.validation_loss, record.validation_accuracy,
        record.validation_auc, record.learning_rate, record.seconds,
        extra={"action": "train_epoch"},
    )  # fmt: skip
    return state


def _is_better(record: EpochRecord, best: EpochRecord, config: TrainingConfig) -> bool:
    """Whether an epoch replaces the best one so far, as every epoch at a new input size does."""
    if config.keep_best == "last" or config.size_of(record.epoch) != config.size_of(best.epoch):
        return True
    return _merit(record, config) > _merit(best, config)


def _merit(record: EpochRecord, config: TrainingConfig) -> float:
    return record.validation_auc if config.keep_best == "auc" else -record.validation_loss
