from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from model.data.dataset import Picture, Split, scan_folder
from model.data.groups import joined
from model.inspection.duplicates import Likeness, find_duplicates, near_pairs
from model.inspection.survey import THUMBNAIL_PX, survey
from model.labels import Label
from model.preprocess import squash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Film = np.ndarray


def film(seed: int, size: int = 224) -> Film:
    """A film that looks like every other from afar, as chests do, and has detail of its own."""
    drawn = np.zeros((size, size))
    for side, strength in ((7, 90), (14, 12), (28, 12), (56, 12)):
        rng = np.random.default_rng([side, 0 if side == 7 else seed])
        coarse = Image.fromarray(rng.normal(0, strength, (side, side)).astype(np.float32))
        drawn += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(drawn + 128, 0, 255).astype(np.uint8)


def coded(pixels: Film, quality: int) -> Film:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels: Film, width: int, height: int) -> Film:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC))


def brighter(pixels: Film) -> Film:
    return np.clip(pixels * 1.1 + 8, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Film], Film]] = {
    "resized": lambda pixels: resized(pixels, 100, 140),
    "coded anew": lambda pixels: coded(pixels, 30),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "brightened": brighter,
    "other gamma": lambda pixels: (255 * (pixels / 255) ** 0.8).astype(np.uint8),
    "blurred": lambda pixels: np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))),
    "everything at once": lambda pixels: coded(resized(brighter(pixels)[:, ::-1], 160, 120), 60),
}


def thumbnails(films: list[Film]) -> Film:
    return np.stack([squash(np.ascontiguousarray(pixels), THUMBNAIL_PX) for pixels in films])


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_was_worked_on_is_found_and_nothing_else(name):
    films = [film(seed) for seed in range(12)]
    (pair,) = near_pairs(thumbnails([*films, COPIES[name](films[4])]))
    assert (pair.first, pair.second) == (4, 12)
    assert pair.mirrored == (name in ("mirrored", "everything at once"))
    assert pair.correlation > 0.9


def test_films_that_are_alike_only_from_afar_are_no_copies():
    rows = thumbnails([film(seed) for seed in range(12)]).reshape(12, -1).astype(float)
    assert np.corrcoef(rows)[np.triu_indices(12, 1)].min() > 0.9
    assert near_pairs(thumbnails([film(seed) for seed in range(12)])) == ()


def test_films_of_one_grey_are_no_copies_of_each_other():
    assert near_pairs(np.full((3, THUMBNAIL_PX, THUMBNAIL_PX), 7, np.uint8)) == ()


def test_pairs_are_found_across_blocks_of_films():
    many = np.random.default_rng(2).integers(0, 256, (1100, THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8)
    many[1090], many[700] = many[3], many[650][:, ::-1]
    found = [(pair.first, pair.second, pair.mirrored) for pair in near_pairs(many)]
    assert found == [(3, 1090, False), (650, 700, True)]


def written(folder: Path, label: Label, name: str, pixels: Film, compress_level: int = 6) -> Path:
    (folder / label).mkdir(parents=True, exist_ok=True)
    path = folder / label / name
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=compress_level)
    return path


@pytest.fixture
def films(tmp_path: Path) -> tuple[Picture, ...]:
    normal, ill = Label.NORMAL, Label.PNEUMONIA
    written(tmp_path, normal, "IM-0001-0001.png", film(1))
    written(tmp_path, normal, "IM-0001-0002.png", film(1))
    written(tmp_path, normal, "IM-0002-0001.png", film(2))
    written(tmp_path, ill, "person1_virus_1.png", film(2), compress_level=1)
    written(tmp_path, ill, "person2_virus_1.png", film(3))
    written(tmp_path, ill, "person3_virus_1.png", brighter(film(3)))
    written(tmp_path, ill, "person4_virus_1.png", film(4))
    return scan_folder(tmp_path)


def test_groups_say_in_what_they_are_alike_and_what_is_wrong_with_them(films):
    same_file, same_pixels, near = find_duplicates(survey(films))
    assert (same_file.likeness, same_file.labels, same_file.patients) == (Likeness.FILE, (Label.NORMAL,), 1)
    assert (same_pixels.likeness, same_pixels.labels) == (Likeness.PIXELS, (Label.NORMAL, Label.PNEUMONIA))
    assert (near.likeness, near.labels, near.patients) == (Likeness.NEAR, (Label.PNEUMONIA,), 2)
    assert same_file.correlation == same_pixels.correlation == 1
    assert 0.9 < near.correlation < 1
    names = [[picture.path.name for picture in group.pictures] for group in (same_file, same_pixels, near)]
    assert names == [
        ["IM-0001-0001.png", "IM-0001-0002.png"],
        ["IM-0002-0001.png", "person1_virus_1.png"],
        ["person2_virus_1.png", "person3_virus_1.png"],
    ]


def test_a_group_with_films_on_both_sides_straddles_the_split(films):
    near = find_duplicates(survey(films))[2]
    first = near.pictures[0]
    others = tuple(picture for picture in films if picture != first)
    assert near.straddles(Split(others, (first,)))
    assert not near.straddles(Split(films, ()))
    assert not near.straddles(Split(tuple(set(films) - set(near.pictures)), near.pictures))


def test_a_near_copy_of_one_of_two_equal_films_is_a_copy_of_both(tmp_path):
    for name in ("IM-0001-0001.png", "IM-0002-0001.png"):
        written(tmp_path, Label.NORMAL, name, film(1))
    written(tmp_path, Label.NORMAL, "IM-0003-0001.png", film(1)[:, ::-1])
    written(tmp_path, Label.PNEUMONIA, "person1_virus_1.png", film(5))
    same, near = find_duplicates(survey(scan_folder(tmp_path)))
    assert (same.likeness, len(same.pictures)) == (Likeness.FILE, 2)
    assert (near.likeness, len(near.pictures), near.mirrored) == (Likeness.NEAR, 3, True)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_joined_groups_are_whole_and_apart(links):
    groups = joined(range(21), links)
    of = {thing: number for number, group in enumerate(groups) for thing in group}
    assert sorted(of) == list(range(21))
    assert all(of[first] == of[second] for first, second in links)
    # No more is joined than the links ask for: a group of n needs n - 1 of them.
    for number, group in enumerate(groups):
        assert group == sorted(group)
        assert len(group) - 1 <= len(
            {frozenset(link) for link in links if of[link[0]] == number and link[0] != link[1]}
        )
