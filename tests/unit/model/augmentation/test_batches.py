from __future__ import annotations

import dataclasses
import itertools
import threading

import numpy as np
import pytest

from model.augmentation.batches import TrainingBatch, TrainingFilms, batch_count, batches, training_films
from model.config import Augment, Restyle, TrainingStage, config_path, load_config
from model.data.dataset import LoadedFilms
from model.data.spectrum import BANDS, log_spectrum

STILL = Augment(rotation_degrees=0, zoom=0, shift=0, horizontal_flip=False)
FULL = dataclasses.replace(load_config(config_path("auscult-1")), batch_size=4, stages=(TrainingStage(96, 1),))
PLAIN = dataclasses.replace(FULL, augment=STILL, restyle=None, mixup=0.0, balance=False)
SIDE = 32


def marked(n: int = 10, ill: int = 7) -> LoadedFilms:
    """LoadedFilms that can be told apart whatever they are mixed with: film number k is white in its own rows alone."""
    pixels = np.zeros((n, SIDE, SIDE), np.uint8)
    for number in range(n):
        pixels[number, 3 * number : 3 * number + 3] = 255
    return LoadedFilms(pixels, (np.arange(n) < ill).astype(np.float32))


def shares(batch: TrainingBatch, n: int = 10) -> np.ndarray:
    """How much of each film is in each input, (inputs, films)."""
    return np.asarray(batch.inputs[:, : 3 * n, :, 0].reshape(len(batch.inputs), n, -1).mean(axis=2), dtype=np.float64)


def films_of_style(n: int = 12, ill: int = 9, size: int = 96) -> LoadedFilms:
    rng = np.random.default_rng(2)
    coarse = np.kron(rng.integers(60, 196, (n, 8, 8)), np.ones((size // 8, size // 8)))
    pixels = np.clip(coarse + rng.normal(0, 20, (n, size, size)), 0, 255).astype(np.uint8)
    return LoadedFilms(pixels, (np.arange(n) < ill).astype(np.float32))


def same(one: list[TrainingBatch], other: list[TrainingBatch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first, second, strict=True)
    )


def test_every_film_is_shown_once_an_epoch_with_its_target_and_weight():
    weights = np.linspace(0.5, 2, 10)
    shown = training_films(marked(), weights, PLAIN)
    found = list(batches(shown, PLAIN, seed=1, epoch=1))
    assert [len(batch.inputs) for batch in found] == [4, 4, 2]
    assert batch_count(shown, PLAIN) == 3
    for batch in found:
        assert batch.inputs.dtype == batch.targets.dtype == batch.weights.dtype == np.float32
        assert batch.inputs.shape[1:] == (SIDE, SIDE, 1)
        assert batch.targets.shape == (len(batch.inputs), 1)
        films = shares(batch).argmax(axis=1)
        assert shares(batch) == pytest.approx(np.eye(10)[films])
        assert batch.targets[:, 0].tolist() == (films < 7).astype(float).tolist()
        assert batch.weights == pytest.approx(weights[films])
    assert sorted(np.concatenate([shares(batch).argmax(axis=1) for batch in found])) == list(range(10))


def test_the_order_is_another_in_each_epoch_and_for_each_seed():
    shown = training_films(marked(), np.ones(10), PLAIN)
    orders = {
        tuple(np.concatenate([shares(batch).argmax(axis=1) for batch in batches(shown, PLAIN, seed, epoch)]).tolist())
        for seed, epoch in itertools.product((1, 2), (1, 2, 3))
    }
    assert len(orders) == 6


def test_an_epoch_is_the_same_after_a_restart_and_unlike_any_other():
    shown = training_films(films_of_style(), np.ones(12), FULL)
    third = list(batches(shown, FULL, seed=1, epoch=3))
    assert same(third, list(batches(training_films(films_of_style(), np.ones(12), FULL), FULL, seed=1, epoch=3)))
    assert not same(third, list(batches(shown, FULL, seed=1, epoch=4)))
    assert not same(third, list(batches(shown, FULL, seed=2, epoch=3)))
    for batch in third:
        assert 0 <= batch.inputs.min() < batch.inputs.max() <= 1
        assert ((batch.targets >= 0) & (batch.targets <= 1)).all()


def test_stopping_early_leaves_no_thread():
    shown = training_films(marked(), np.ones(10), PLAIN)
    shower = batches(shown, PLAIN, seed=1, epoch=1)
    next(shower)
    del shower
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("augment")]


def test_mixing_blends_films_targets_and_weights_alike():
    config = dataclasses.replace(PLAIN, mixup=0.4, batch_size=5)
    weights = np.linspace(0.2, 3, 10)
    shown = training_films(marked(), weights, config)
    mixed = 0
    for epoch in range(1, 6):
        for batch in batches(shown, config, seed=1, epoch=epoch):
            share = shares(batch)
            assert share.sum(axis=1) == pytest.approx(1, abs=1e-5)
            assert (share.max(axis=1) >= 0.5 - 1e-6).all()
            assert ((share > 1e-6).sum(axis=1) <= 2).all()
            assert batch.weights == pytest.approx(share @ weights, rel=1e-5)
            wanted = share @ (weights * (np.arange(10) < 7)) / (share @ weights)
            assert batch.targets[:, 0] == pytest.approx(wanted, abs=1e-5)
            # Each film is the larger part of one input.
            mixed += ((share > 0.05).sum(axis=1) == 2).sum()
    assert 10 < mixed < 50


def test_both_labels_weigh_alike_where_that_is_wanted():
    weights = np.linspace(0.5, 1.5, 10)
    weights[:7] /= weights[:7].mean()
    weights[7:] /= weights[7:].mean()
    shown = training_films(marked(), weights, dataclasses.replace(PLAIN, balance=True))
    assert shown.weights[:7].sum() == pytest.approx(shown.weights[7:].sum())
    assert shown.weights.mean() == pytest.approx(1)
    assert np.ptp(shown.weights[:7]) > 0.1
    assert training_films(marked(), weights, PLAIN).weights == pytest.approx(weights)


def test_spectra_are_measured_only_where_they_are_exchanged():
    films = films_of_style()
    assert training_films(films, np.ones(12), FULL).spectra[3] == pytest.approx(log_spectrum(films.pixels[3]))
    assert not training_films(films, np.ones(12), PLAIN).spectra.any()


@pytest.mark.parametrize("ill", [6, 36])
def test_the_partner_whose_spectrum_is_taken_on_is_of_either_label_with_the_same_chance(ill):
    rule = Restyle(spectrum=1.0, border=0, patches=0, blur=0, sharpen=0, tone=0, noise=0)
    config = dataclasses.replace(PLAIN, restyle=rule, batch_size=40)
    films = films_of_style(40, ill)
    # All of a label have the same spectrum, one label that of the other turned round: only the other label's shows.
    slope = np.linspace(1, -1, BANDS)
    shown = TrainingFilms(films, np.where(films.targets[:, np.newaxis] == 1, slope, -slope), np.ones(40, np.float32))
    before = np.array([log_spectrum(pixels) @ slope for pixels in films.pixels])
    changed = []
    for epoch in range(1, 7):
        order = np.random.default_rng([1, epoch]).permutation(40)
        (batch,) = batches(shown, config, seed=1, epoch=epoch)
        after = np.array([log_spectrum((film[..., 0] * 255).round().astype(np.uint8)) @ slope for film in batch.inputs])
        changed.extend(np.abs(after - before[order]) > 1)
    assert len(changed) == 240
    assert 0.4 < np.mean(changed) < 0.6
