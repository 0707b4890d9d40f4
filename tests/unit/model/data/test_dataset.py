from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Picture, load_films, read_picture, scan_folder, split_by_patient
from model.errors import DataError
from model.labels import Label
from model.preprocess import prepare
from tests.support.helpers_bundle import drawn_folder

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, label: str, name: str, content: bytes | None = None) -> None:
    (folder / label).mkdir(parents=True, exist_ok=True)
    (folder / label / name).write_bytes(content or name.encode())


def public_like(folder: Path) -> Path:
    """Files named as the public ones, two or three to a child, the same numbers in every numbering."""
    for child in range(1, 41):
        for film in range(1, 3 + child % 2):
            write(folder, "NORMAL", f"IM-{child:04d}-{film:04d}.jpeg")
            write(folder, "NORMAL", f"NORMAL2-IM-{child:04d}-{film:04d}.jpeg")
            write(folder, "NORMAL", f"NORMAL2-IM-{child:04d}-0001-{film:04d}.jpeg")
            write(folder, "PNEUMONIA", f"person{child}_bacteria_{film}.jpeg")
            write(folder, "PNEUMONIA", f"person{child}_virus_{film}.jpeg")
            write(folder, "PNEUMONIA", f"person{child}_virus_{film}_1.jpeg")
    return folder


def children(pictures: tuple[Picture, ...]) -> set[tuple[str, str]]:
    return {(picture.kind, picture.patient) for picture in pictures}


@pytest.mark.parametrize(
    ("name", "label", "kind", "patient"),
    [
        ("person447_virus_921_1.jpeg", "PNEUMONIA", "virus", "447"),
        ("person1_bacteria_2.jpeg", "PNEUMONIA", "bacteria", "1"),
        ("IM-0115-0001.jpeg", "NORMAL", "IM", "0115"),
        ("IM-0429-0001-0002.jpeg", "NORMAL", "IM", "0429"),
        ("NORMAL2-IM-0516-0001.jpeg", "NORMAL", "NORMAL2-IM", "0516"),
        ("chest.png", "NORMAL", "NORMAL", "chest.png"),
    ],
)
def test_the_child_is_read_from_the_file_name(tmp_path, name, label, kind, patient):
    write(tmp_path, "NORMAL", "other.png")
    write(tmp_path, "PNEUMONIA", "other.png")
    write(tmp_path, label, name)
    found = {picture.path.name: picture for picture in scan_folder(tmp_path)}[name]
    assert (found.label, found.kind, found.patient) == (Label(label), kind, patient)


def test_other_files_are_passed_over(tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        write(tmp_path, label, "a.JPG")
        write(tmp_path, label, ".DS_Store")
        write(tmp_path, label, "notes.txt")
    assert [picture.path.name for picture in scan_folder(tmp_path)] == ["a.JPG", "a.JPG"]


@pytest.mark.parametrize("missing", ["NORMAL", "PNEUMONIA"])
def test_a_folder_without_films_of_one_label_is_refused(tmp_path, missing):
    write(tmp_path, "PNEUMONIA" if missing == "NORMAL" else "NORMAL", "a.png")
    with pytest.raises(DataError, match=f"{missing}/ has none"):
        scan_folder(tmp_path)


def test_no_child_is_on_both_sides_of_a_split(tmp_path):
    split = split_by_patient(scan_folder(public_like(tmp_path)), 0.2, seed=5)
    assert not children(split.train) & children(split.validation)
    assert len(split.train) + len(split.validation) == len(scan_folder(tmp_path))


def test_every_kind_has_its_share_in_validation(tmp_path):
    pictures = scan_folder(public_like(tmp_path))
    split = split_by_patient(pictures, 0.2, seed=5)
    whole, held = (Counter(picture.kind for picture in side) for side in (pictures, split.validation))
    assert set(whole) == {"IM", "NORMAL2-IM", "bacteria", "virus"}
    for kind, films in whole.items():
        assert held[kind] / films == pytest.approx(0.2, abs=0.05)


def test_the_seed_alone_decides_the_split(tmp_path):
    pictures = scan_folder(public_like(tmp_path))
    again = split_by_patient(pictures[::-1], 0.2, seed=5)
    assert split_by_patient(pictures, 0.2, seed=5) == again
    other = split_by_patient(pictures, 0.2, seed=6)
    assert other.validation != again.validation
    assert other.digest != again.digest


def test_films_with_the_same_bytes_stay_together_whichever_child_they_show(tmp_path):
    public_like(tmp_path)
    for child in range(100, 130):
        write(tmp_path, "PNEUMONIA", f"person{child}_virus_1.jpeg", b"one film under many names")
    for seed in range(5):
        split = split_by_patient(scan_folder(tmp_path), 0.3, seed)
        sides = {
            side
            for side, pictures in (("train", split.train), ("validation", split.validation))
            for picture in pictures
            if picture.path.read_bytes() == b"one film under many names"
        }
        assert len(sides) == 1


def test_too_few_children_are_refused(tmp_path):
    write(tmp_path, "NORMAL", "IM-0001-0001.jpeg")
    write(tmp_path, "PNEUMONIA", "person1_virus_1.jpeg")
    with pytest.raises(DataError, match="too few patients"):
        split_by_patient(scan_folder(tmp_path), 0.2, seed=1)


def test_films_are_read_as_serving_reads_them(tmp_path):
    pictures = scan_folder(drawn_folder(tmp_path, patients=2))
    films = load_films(pictures, 32)
    assert films.pixels.shape == (8, 32, 32)
    assert films.pixels.dtype == np.uint8
    assert films.targets.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert np.array_equal(films.pixels[0], prepare(read_picture(pictures[0].path), 32))


def test_colour_becomes_grey_by_luma(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    assert read_picture(tmp_path / "red.png").tolist() == [[76] * 4] * 4


def test_a_file_that_is_not_a_picture_is_named(tmp_path):
    (tmp_path / "broken.jpeg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpeg cannot be read"):
        read_picture(tmp_path / "broken.jpeg")


@pytest.mark.data
def test_the_public_training_films_split_without_a_shared_child(test_data):
    pictures = scan_folder(test_data / "chest_xray" / "train")
    split = split_by_patient(pictures, 0.15, seed=20)
    assert (len(split.train), len(split.validation)) == (4432, 784)
    assert not children(split.train) & children(split.validation)


@pytest.mark.data
def test_training_and_serving_read_the_same_film(test_data):
    from dicom_io.film.film import film_of_picture

    for path in sorted((test_data / "chest_xray" / "val" / "NORMAL").iterdir())[:3]:
        served = film_of_picture(path).pixels
        assert np.array_equal(prepare(served, 150), prepare(read_picture(path), 150))
