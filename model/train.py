"""Train a network: films in, a run folder with checkpoints, history and the best epoch's weights out.

Reads from top to bottom. Only the Keras 3 API is used. A run that is killed goes on after its last
whole epoch when it is started again with the same films and configuration.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from model.config import Augment, TrainingConfig

log = logging.getLogger(__name__)


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


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Shuffled and augmented batches of one epoch, made in background threads.

    Every film's chances come from (seed, epoch, film), so the batches of an epoch are the same after
    a restart and whatever the number of threads.
    """

    def __init__(self, films: Films, rule: Augment, batch_size: int, seed: tuple[int, int]) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=8)
        self.films, self.rule, self.batch_size, self.seed = films, rule, batch_size, seed
        self.order = np.random.default_rng(seed).permutation(len(films))

    def __len__(self) -> int:
        return math.ceil(len(self.films) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        variants = np.stack([self._variant(int(film)) for film in chosen])
        return scale(variants)[..., np.newaxis], self.films.targets[chosen][:, np.newaxis]

    def _variant(self, film: int) -> NDArray[np.uint8]:
        return augmented(self.films.pixels[film], self.rule, np.random.default_rng([*self.seed, film]))


class ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells ``progress`` of every batch."""

    def __init__(self, progress: Callable[[Progress], None], epoch: int, epochs: int) -> None:
        super().__init__()
        self.progress, self.epoch, self.epochs = progress, epoch, epochs

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Report one batch."""
        batches = int(self.params["steps"])
        self.progress(Progress(self.epoch, self.epochs, batch + 1, batches, float((logs or {})["loss"])))


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
    split = split_by_patient(scan_folder(data), config.validation_share, config.seed)
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
    batches = TrainingBatches(films, config.augment, config.batch_size, (config.seed, epoch))
    callbacks = [] if progress is None else [ProgressCallback(progress, epoch, config.epochs)]
    fitted = network.fit(batches, epochs=1, verbose=0, callbacks=callbacks)
    logits = network.predict(scale(validation.pixels)[..., np.newaxis], batch_size=64, verbose=0)
    z, y = logits[:, 0].astype(np.float64), validation.targets.astype(np.float64)
    return EpochRecord(
        epoch=epoch,
        learning_rate=float(network.optimizer.learning_rate),
        loss=float(fitted.history["loss"][0]),
        validation_loss=float(np.mean(np.logaddexp(0.0, z) - y * z)),
        validation_accuracy=float(np.mean((z >= 0) == (y == 1))),
        validation_auc=auc(validation.targets, z),
        seconds=time.monotonic() - started,
    )


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
