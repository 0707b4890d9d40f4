"""Labelled films on disk: how they are found, whose they are, how they are split, and how they are read.

The file names of the public data tell the child; two films of one child on both sides of a split would let the network
recognise the child. Bacterial and viral films number their children separately.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from model.data.groups import joined
from model.errors import DataError
from model.labels import Label
from model.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".dcm", ".dicom"})
_PNEUMONIA_NAME = re.compile(r"person(\d+)_(bacteria|virus)_")
_NORMAL_NAME = re.compile(r"((?:NORMAL2-)?IM)-(\d+)-")


@dataclass(frozen=True, slots=True, order=True)
class Picture:
    """One labelled film on disk: ``kind`` and ``patient`` together name one child.

    ``subgroups`` are (column, value) of the further columns of a list of films.
    """

    path: Path
    label: Label
    kind: str
    patient: str
    subgroups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """The films to train on and those to validate with; no child is on both sides."""

    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) over the sorted file names of both sides."""
        lines = [
            f"{side} {picture.label}/{picture.path.name}\n"
            for side, pictures in (("train", self.train), ("validation", self.validation))
            for picture in pictures
        ]
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LoadedFilms:
    """Pixels and targets held in memory.

    ``pixels`` is uint8 (n, size, size), MONOCHROME2; ``targets`` is float32 (n,), 1 for pneumonia.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)


def scan_folder(folder: Path) -> tuple[Picture, ...]:
    """List the labelled films of a folder that holds ``NORMAL/`` and ``PNEUMONIA/``.

    Parameters
    ----------
    folder : Path
        JPEG, PNG and DICOM files below the two folders are taken, by their suffix; other files are skipped.

    Returns
    -------
    tuple of Picture
        Sorted by path.

    Raises
    ------
    DataError
        If one of the two folders is missing or has no film.
    """
    found: list[Picture] = []
    for label in Label:
        paths = [path for path in (folder / label).glob("*") if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(
                f"{folder} must hold NORMAL/ and PNEUMONIA/ with JPEG, PNG or DICOM files; {label}/ has none"
            )
        # A film whose name tells no child counts as a child of its own.
        found += [Picture(path, label, *(patient_of_name(path.name) or (label.value, path.name))) for path in paths]
    return tuple(sorted(found))


def patient_of_name(name: str) -> tuple[str, str] | None:
    """Kind and patient of a file that is named as the public films are; None for any other name."""
    if match := _PNEUMONIA_NAME.match(name):
        return match[2], match[1]
    if match := _NORMAL_NAME.match(name):
        return match[1], match[2]
    return None


def split_by_patient(pictures: Sequence[Picture], share: float, seed: int) -> Split:
    """Split films so that each child is on one side only, with the same share of every kind.

    Parameters
    ----------
    pictures : sequence of Picture
        All labelled films; files with the same bytes are kept on one side.
    share : float
        Share of the films to validate with, in (0, 1).
    seed : int
        The same seed and films give the same split.

    Returns
    -------
    Split
        Both sides sorted by path.

    Raises
    ------
    DataError
        If one side would have no film of one of the labels.
    """
    strata: dict[str, list[list[Picture]]] = defaultdict(list)
    for group in kept_together(pictures):
        strata[group[0].kind].append(group)
    validation: set[Picture] = set()
    for kind in sorted(strata):
        groups = strata[kind]
        wanted = share * sum(len(group) for group in groups)
        order = np.random.default_rng([seed, len(groups)]).permutation(len(groups))
        taken = 0
        for index in order:
            if taken >= wanted:
                break
            validation.update(groups[index])
            taken += len(groups[index])
    train = tuple(sorted(set(pictures) - validation))
    for side in (train, validation):
        if {picture.label for picture in side} != set(Label):
            raise DataError("there are too few patients to have both labels in training and in validation")
    return Split(train, tuple(sorted(validation)))


def kept_together(pictures: Iterable[Picture]) -> list[list[Picture]]:
    """Group the films that must stay on one side of a split.

    Parameters
    ----------
    pictures : iterable of Picture
        Their files are read.

    Returns
    -------
    list of list of Picture
        Each group has the films of one child, and of every other child of whom a file has the same bytes; sorted by
        path.
    """
    children: dict[tuple[str, str], list[Picture]] = defaultdict(list)
    first_with: dict[str, tuple[str, str]] = {}
    twins = []
    for picture in sorted(pictures):
        child = (picture.kind, picture.patient)
        children[child].append(picture)
        twins.append((first_with.setdefault(hashlib.sha256(picture.path.read_bytes()).hexdigest(), child), child))
    return [sorted(picture for child in group for picture in children[child]) for group in joined(children, twins)]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a JPEG or PNG film.

    Parameters
    ----------
    path : Path
        Grey or colour of 8 bits; colour becomes grey by ITU-R 601-2 luma (Pillow's ``convert("L")``), and the film is
        turned as its EXIF orientation says.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        MONOCHROME2, [0, 255].

    Raises
    ------
    DataError
        If the file cannot be read as a picture, or has 16 bits.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I"):
                raise DataError(f"{path} has more than 8 bits: its greys need a reader that windows them")
            return np.asarray(ImageOps.exif_transpose(picture).convert("L"), dtype=np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a JPEG or PNG picture") from error


def load_films(
    pictures: Iterable[Picture], size: int, reader: Callable[[Path], NDArray[np.uint8]] = read_picture
) -> LoadedFilms:
    """Read films and prepare each for the network as serving does.

    Parameters
    ----------
    pictures : iterable of Picture
        The films to read.
    size : int
        Side of the network's input in pixels.
    reader : callable, optional
        Gives the grey film of a path.

    Returns
    -------
    LoadedFilms

    Raises
    ------
    DataError
        If a film cannot be read or there is none.
    """
    chosen = list(pictures)
    if not chosen:
        raise DataError("there is no film to read")
    pixels = np.stack([prepare(reader(picture.path), size) for picture in chosen])
    return LoadedFilms(pixels, np.array([picture.label.target for picture in chosen], dtype=np.float32))
