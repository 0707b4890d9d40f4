"""What is known of the public training films is what an inspection finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.config import config_path, load_config
from model.data.dataset import read_picture, scan_folder, split_by_patient
from model.inspection.duplicates import Likeness, find_duplicates, near_pairs
from model.inspection.shortcuts import find_shortcuts
from model.inspection.survey import THUMBNAIL_PX, survey
from model.preprocess import squash
from model.serving.bundle import builtin_folder, read_manifest

if TYPE_CHECKING:
    from model.inspection.shortcuts import Shortcut
    from model.inspection.survey import Survey

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def seen(test_data) -> Survey:
    return survey(scan_folder(test_data / "chest_xray" / "train"))


@pytest.fixture(scope="module")
def shortcuts(seen: Survey) -> dict[str, Shortcut]:
    return {shortcut.name: shortcut for shortcut in find_shortcuts(seen, seed=20, replicates=100)}


def test_twenty_four_groups_are_there_twice_and_none_with_two_labels(seen):
    groups = find_duplicates(seen)
    assert len(seen.pictures) == 5216
    assert not seen.unreadable
    assert [group.likeness for group in groups] == [Likeness.FILE] * 24
    assert all(len(group.labels) == 1 for group in groups)


def test_copies_of_public_films_are_found_among_all_of_them(seen):
    chosen = np.random.default_rng(6).choice(len(seen.pictures), 60, replace=False)
    copies = []
    for number, place in enumerate(chosen):
        film = read_picture(seen.pictures[place].path)
        turned = film[:, ::-1] if number % 2 else film
        bright = np.clip(turned * 1.15 + 12, 0, 255).astype(np.uint8)
        copies.append(squash(np.asarray(Image.fromarray(bright).resize((180, 120))), THUMBNAIL_PX))
    pairs = near_pairs(np.concatenate([seen.thumbnails, np.stack(copies)]))
    found = {(pair.first, pair.second): pair for pair in pairs}
    n = len(seen.pictures)
    assert all((place, n + number) in found for number, place in enumerate(chosen))
    # One film each is meant: those of any other child are far off.
    assert len([pair for pair in pairs if pair.second >= n]) <= 62


def test_black_share_and_spectrum_give_the_labels_away(shortcuts):
    assert shortcuts["black share"].auc == pytest.approx(0.735, abs=0.005)
    assert shortcuts["spectrum"].auc == pytest.approx(0.965, abs=0.01)
    assert shortcuts["fine spectrum"].auc > 0.93
    assert shortcuts["film size"].auc == 0.5  # all are 224 x 224
    assert shortcuts["spectrum"].interval[0] > 0.95


def test_the_split_of_the_notebook_is_what_it_was(seen):
    described = read_manifest(builtin_folder() / "notebook-1")
    config = load_config(config_path("notebook-1"))
    split = split_by_patient(seen.pictures, config.validation_share, config.split_seed)
    assert split.digest == described["training_data"]["split_digest"]
