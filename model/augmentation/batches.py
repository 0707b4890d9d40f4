"""Batches of training films: shuffled, varied at random, balanced and mixed, made ahead in background threads.

Inside the TensorFlow graph the same work halves the training speed; Pillow and NumPy let others run meanwhile.
A film's chances come from (seed, epoch, film), so an epoch's batches are the same after a restart.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model.augmentation.augment import augmented
from model.augmentation.film_weights import balanced
from model.augmentation.framing import framed
from model.augmentation.restyle import restyled, with_other_spectrum
from model.data.spectrum import BANDS, log_spectrum
from model.preprocess import scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from model.config import TrainingConfig
    from model.data.dataset import LoadedFilms

AHEAD = 8
"""Batches that are made while the network learns from another."""


class TrainingBatch(NamedTuple):
    """What the network is shown at once.

    ``inputs`` is float32 (n, size, size, 1) in [0, 1]; ``targets`` float32 (n, 1) in [0, 1], between the two where
    films are mixed; ``weights`` float32 (n,), by which a film's loss counts.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainingFilms:
    """Films to train on with what their variants need: their spectra, float64 (n, BANDS), and weights, float32 (n,)."""

    films: LoadedFilms
    spectra: NDArray[np.float64]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.films)


def training_films(films: LoadedFilms, weights: NDArray[np.float64], config: TrainingConfig) -> TrainingFilms:
    """Add the films' spectra, if their styles are to be varied, and weigh the two labels alike if wanted."""
    if config.restyle and config.restyle.spectrum:
        spectra = np.stack([log_spectrum(pixels) for pixels in films.pixels])
    else:
        spectra = np.zeros((len(films), BANDS))
    if config.balance:
        weights = weights * balanced(films.targets)
    return TrainingFilms(films, spectra, weights.astype(np.float32))


def batch_count(films: TrainingFilms, config: TrainingConfig) -> int:
    """How many batches an epoch has; the last one may be smaller."""
    return math.ceil(len(films) / config.batch_size)


def batches(films: TrainingFilms, config: TrainingConfig, seed: int, epoch: int) -> Iterator[TrainingBatch]:
    """Show every film once, in an order and in variants of its own for each epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(len(films))
    pending: deque[Future[TrainingBatch]] = deque()
    with ThreadPoolExecutor(2, "augment") as pool:
        for start in range(0, len(order), config.batch_size):
            chosen = order[start : start + config.batch_size]
            pending.append(pool.submit(_batch, films, config, (seed, epoch), chosen))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _batch(
    films: TrainingFilms, config: TrainingConfig, chance: tuple[int, int], chosen: NDArray[np.int64]
) -> TrainingBatch:
    variants = [_variant(films, config, film, np.random.default_rng([*chance, film])) for film in chosen]
    inputs = scale(np.stack(variants))[..., np.newaxis]
    batch = TrainingBatch(inputs, films.films.targets[chosen][:, np.newaxis], films.weights[chosen])
    return _mixed(batch, config.mixup, np.random.default_rng([*chance, int(chosen[0]), 1])) if config.mixup else batch


def _variant(films: TrainingFilms, config: TrainingConfig, film: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    pixels, rule = films.films.pixels[film], config.restyle
    if rule is None:
        return _moved(pixels, config, rng)
    if rng.random() < rule.spectrum:
        # Of either label with the same chance, or all styles would drift to that of the more frequent one.
        other = rng.choice(np.flatnonzero(films.films.targets == rng.integers(2)))
        pixels = with_other_spectrum(pixels, films.spectra[film], films.spectra[other], rng)
    return restyled(_moved(pixels, config, rng), rule, rng)


def _moved(pixels: NDArray[np.uint8], config: TrainingConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    if config.framing:
        return framed(pixels, config.framing, rng)
    return augmented(pixels, config.augment, rng) if config.augment else pixels


def _mixed(batch: TrainingBatch, alpha: float, rng: np.random.Generator) -> TrainingBatch:
    """Blend each film with another of the batch, and their targets alike (mixup, Zhang et al. 2018)."""
    inputs, targets, weights = batch
    share = rng.beta(alpha, alpha, len(targets)).astype(np.float32)
    share, other = np.maximum(share, 1 - share), rng.permutation(len(targets))
    mine, theirs = share * weights, (1 - share) * weights[other]
    blend = share[:, np.newaxis, np.newaxis, np.newaxis]
    return TrainingBatch(
        blend * inputs + (1 - blend) * inputs[other],
        ((mine * targets[:, 0] + theirs * targets[other, 0]) / (mine + theirs))[:, np.newaxis],
        mine + theirs,
    )
