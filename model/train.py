"""Train a network: films in, a run folder with checkpoints, history and the best epoch's weights out.

Reads from top to bottom. Only the Keras 3 API is used. A run that is killed goes on after its last
whole epoch when it is started again with the same films and configuration.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from model.augment import augmented
from model.dataset import Films, load_films, scan_folder, split_by_patient
from model.errors import TrainingError
from model.evaluate import auc
from model.network import build_network
from model.plateau import Plateau
from model.preprocess import scale
from model.run import EpochRecord, RunState, read_state, write_state
from model.statistics import settle_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from model.config import TrainingConfig

    Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

log = logging.getLogger(__name__)

AHEAD = 8
"""Batches that are made while the network learns from another."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: batches of the current epoch (counted from 1) and its mean loss so far."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a whole run came to."""

    run: Path
    best_epoch: int
    history: tuple[EpochRecord, ...]

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights were kept."""
        return self.history[self.best_epoch - 1]


def train(
    config: TrainingConfig, data: Path, out: Path, progress: Callable[[Progress], None] | None = None
) -> TrainingResult:
    """Train a network, or go on with a run that was interrupted.

    Parameters
    ----------
    config : TrainingConfig
        What to train and how.
    data : Path
        Folder with ``NORMAL/`` and ``PNEUMONIA/``.
    out : Path
        The run's folder; made if missing. A run of the same configuration and films is continued.
    progress : callable, optional
        Called after every batch.

    Returns
    -------
    TrainingResult
        The best epoch is the one that ``config.keep_best`` names, on the validation films.

    Raises
    ------
    DataError
        If the films cannot be used.
    TrainingError
        If ``out`` holds a run of another configuration or of other films.
    """
    split = split_by_patient(scan_folder(data), config.validation_share, config.split_seed)
    out.mkdir(parents=True, exist_ok=True)
    state = _continued(out, config, split.digest)
    films = load_films(split.train, config.input_size)
    validation = load_films(split.validation, config.input_size)
    log.info("training on %d films, validating with %d", len(films), len(validation), extra={"action": "train_started"})
    keras.utils.set_random_seed(config.seed)
    network = _network(config) if state is None else keras.saving.load_model(out / state.checkpoint)
    epoch = 0 if state is None else state.epochs_done
    while epoch < config.epochs:
        epoch += 1
        record = _epoch(network, config, films, validation, epoch, progress)
        state = _recorded(out, network, config, split.digest, state, record)
        network.optimizer.learning_rate = state.learning_rate
    if state is None:  # config.epochs is at least 1
        raise TrainingError("no epoch was trained")
    return TrainingResult(out, state.best_epoch, state.history)


def _continued(out: Path, config: TrainingConfig, split_digest: str) -> RunState | None:
    state = read_state(out)
    if state is None:
        return None
    if (state.config_digest, state.split_digest) != (config.digest, split_digest):
        raise TrainingError(f"{out} holds a run of another configuration or of other films: name another folder")
    log.info("going on after epoch %d", state.epochs_done, extra={"action": "train_continued"})
    return state


def _network(config: TrainingConfig) -> keras.Model:
    network = build_network(config.network, config.input_size)
    network.compile(
        optimizer=keras.optimizers.RMSprop(config.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        # XLA on a CPU is slower here than TensorFlow's own kernels (20 against 23 films a second).
        jit_compile=False,
    )
    return network


def _epoch(
    network: keras.Model,
    config: TrainingConfig,
    films: Films,
    validation: Films,
    epoch: int,
    progress: Callable[[Progress], None] | None,
) -> EpochRecord:
    started = time.monotonic()
    _seed_dropout(network, config.seed, epoch)
    loss = _fit(network, config, films, epoch, progress)
    if config.settle_films:
        chosen = np.random.default_rng(config.seed).permutation(len(films))[: config.settle_films]
        settle_statistics(network, films.pixels[chosen])
    logits = network.predict(scale(validation.pixels)[..., np.newaxis], batch_size=64, verbose=0)
    z, y = logits[:, 0].astype(np.float64), validation.targets.astype(np.float64)
    return EpochRecord(
        epoch=epoch,
        learning_rate=float(network.optimizer.learning_rate),
        loss=loss,
        validation_loss=float(np.mean(np.logaddexp(0.0, z) - y * z)),
        validation_accuracy=float(np.mean((z >= 0) == (y == 1))),
        validation_auc=auc(validation.targets, z),
        seconds=time.monotonic() - started,
    )


def _fit(
    network: keras.Model,
    config: TrainingConfig,
    films: Films,
    epoch: int,
    progress: Callable[[Progress], None] | None,
) -> float:
    """Show every film once; return the mean loss, as it was while the weights changed."""
    batches, total = math.ceil(len(films) / config.batch_size), 0.0
    for number, (inputs, targets) in enumerate(_batches(films, config, epoch), start=1):
        total += float(network.train_on_batch(inputs, targets))
        if progress is not None:
            progress(Progress(epoch, config.epochs, number, batches, total / number))
    return total / batches


def _batches(films: Films, config: TrainingConfig, epoch: int) -> Iterator[Batch]:
    """Shuffled and augmented batches, made ahead in background threads: Pillow lets others run meanwhile.

    A film's chances come from (seed, epoch, film), so an epoch's batches are the same after a restart.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(films))
    pending: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(2, "augment") as pool:
        for start in range(0, len(order), config.batch_size):
            chosen = order[start : start + config.batch_size]
            pending.append(pool.submit(_batch, films, config, epoch, chosen))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _batch(films: Films, config: TrainingConfig, epoch: int, chosen: NDArray[np.int64]) -> Batch:
    variants = [
        augmented(films.pixels[film], config.augment, np.random.default_rng([config.seed, epoch, film]))
        for film in chosen
    ]
    return scale(np.stack(variants))[..., np.newaxis], films.targets[chosen][:, np.newaxis]


def _seed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    """Give dropout the same chances in an epoch whether the run was interrupted before it or not."""
    for number, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = layer.seed_generator.state
            state.assign(np.random.default_rng([seed, epoch, number]).integers(0, 2**31, state.shape))


def _recorded(
    out: Path,
    network: keras.Model,
    config: TrainingConfig,
    split_digest: str,
    before: RunState | None,
    record: EpochRecord,
) -> RunState:
    """Write the epoch's checkpoint, and its weights if it is the best, and then say so."""
    start = Plateau(config.learning_rate)
    plateau = start if before is None else Plateau(before.learning_rate, before.plateau_best, before.plateau_wait)
    plateau = plateau.after(record.validation_accuracy, config.plateau)
    history = (*(before.history if before else ()), record)
    checkpoint = f"epoch-{record.epoch:02d}.keras"
    network.save(out / checkpoint)
    best_weights, best_epoch = (before.best_weights, before.best_epoch) if before else ("", 0)
    if not best_epoch or _merit(record, config) > _merit(history[best_epoch - 1], config):
        best_weights, best_epoch = f"best-{record.epoch:02d}.weights.h5", record.epoch
        network.save_weights(out / best_weights)
    state = RunState(
        config_digest=config.digest,
        split_digest=split_digest,
        learning_rate=plateau.learning_rate,
        plateau_best=plateau.best,
        plateau_wait=plateau.wait,
        checkpoint=checkpoint,
        best_weights=best_weights,
        best_epoch=best_epoch,
        history=history,
    )
    write_state(out, state)
    log.info(
        "epoch %d of %d: loss %.4f, validation loss %.4f, accuracy %.4f, AUC %.4f, learning rate %.2g, %.0f s",
        record.epoch, config.epochs, record.loss, record.validation_loss, record.validation_accuracy,
        record.validation_auc, record.learning_rate, record.seconds,
        extra={"action": "train_epoch"},
    )  # fmt: skip
    return state


def _merit(record: EpochRecord, config: TrainingConfig) -> float:
    return record.validation_auc if config.keep_best == "auc" else -record.validation_loss
