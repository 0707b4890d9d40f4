"""Films that occur more than once: the same file, the same pixels, or an edited copy.

Chest films look alike, and so do their thumbnails; they differ in the detail. A thumbnail less its
own local mean keeps the detail and loses brightness, gradients and most of the contrast; the correlation of two such
details is near 1 for a copy that was resized, encoded again, mirrored, brightened or blurred a little, and no higher than
0.78 between the films of any two children of the public training films. Cropped or rotated copies are not found.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from model.data.groups import joined
from model.inspection.survey import THUMBNAIL_PX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Picture, Split
    from model.inspection.survey import Survey
    from model.labels import Label

NEAR = 0.9
"""Correlation of the details of two thumbnails at which one film is a copy of the other."""

_COARSE_PX, _COARSE_RADIUS, _COARSE_NEAR = 32, 2, 0.85
_FINE_RADIUS = 3
_BLOCK = 512


class Likeness(StrEnum):
    """What the films of a group have in common."""

    FILE = "same file"
    PIXELS = "same pixels"
    NEAR = "near copy"


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two films, by their places (``first`` < ``second``), of which one is a copy of the other, perhaps mirrored.

    ``correlation`` of their details is in [NEAR, 1].
    """

    first: int
    second: int
    correlation: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Films that are one film; ``correlation`` is the least of the pairs that join them, 1 where they are the same."""

    likeness: Likeness
    pictures: tuple[Picture, ...]
    correlation: float
    mirrored: bool

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of the films: two are a contradiction."""
        return tuple(sorted({picture.label for picture in self.pictures}))

    @property
    def patients(self) -> int:
        """How many children the films are said to be of: more than one is a mistake, or a leak between sides."""
        return len({(picture.kind, picture.patient) for picture in self.pictures})

    def straddles(self, split: Split) -> bool:
        """Whether a film of the group is on each side of a split."""
        held = len(set(self.pictures) & set(split.validation))
        return 0 < held < len(self.pictures)


def find_duplicates(survey: Survey) -> tuple[Duplicates, ...]:
    """Find the films that occur more than once.

    Parameters
    ----------
    survey : Survey
        What was read of the films.

    Returns
    -------
    tuple of Duplicates
        Groups of the same file first, then those of the same pixels in different files, then near copies, in which
        the same films of the first two are counted too.
    """
    files, films = _by(survey.files_sha256), _by(survey.pixels_sha256)
    found = [_group(survey, Likeness.FILE, places) for places in files.values() if len(places) > 1]
    found += [
        _group(survey, Likeness.PIXELS, places)
        for places in films.values()
        if len({survey.files_sha256[place] for place in places}) > 1
    ]
    different = list(films.values())
    pairs = near_pairs(survey.thumbnails[[places[0] for places in different]])
    for group in joined(range(len(different)), ((pair.first, pair.second) for pair in pairs)):
        if len(group) > 1:
            inside = [pair for pair in pairs if pair.first in group]
            places = [place for number in group for place in different[number]]
            found.append(_group(survey, Likeness.NEAR, places, inside))
    return tuple(found)


def _by(digests: Sequence[str]) -> Mapping[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, digest in enumerate(digests):
        places[digest].append(place)
    return places


def _group(survey: Survey, likeness: Likeness, places: Sequence[int], pairs: Sequence[NearPair] = ()) -> Duplicates:
    return Duplicates(
        likeness,
        tuple(sorted(survey.pictures[place] for place in places)),
        min((pair.correlation for pair in pairs), default=1.0),
        any(pair.mirrored for pair in pairs),
    )


def near_pairs(thumbnails: NDArray[np.uint8]) -> tuple[NearPair, ...]:
    """Find every two films of which one is a copy of the other.

    Candidates are found at 32 x 32 by products of whole blocks of films and then compared at 64 x 64: five thousand
    films take a few seconds.

    Parameters
    ----------
    thumbnails : ndarray of uint8, shape (n, THUMBNAIL_PX, THUMBNAIL_PX)
        Squashed films.

    Returns
    -------
    tuple of NearPair
        In the order of the places; two films of one grey are not a pair.
    """
    found = []
    for first, second, mirrored in _candidates(thumbnails):
        other = thumbnails[second][:, ::-1] if mirrored else thumbnails[second]
        one, two = _details(np.stack([thumbnails[first], other]).astype(np.float32), _FINE_RADIUS)
        correlation = float(one @ two)
        if correlation >= NEAR:
            found.append(NearPair(first, second, min(correlation, 1.0), mirrored))
    return tuple(found)


def _candidates(thumbnails: NDArray[np.uint8]) -> Iterator[tuple[int, int, bool]]:
    n, step = len(thumbnails), THUMBNAIL_PX // _COARSE_PX
    coarse = thumbnails.reshape(n, _COARSE_PX, step, _COARSE_PX, step).mean(axis=(2, 4), dtype=np.float32)
    details = _details(coarse, _COARSE_RADIUS)
    mirrored = details.reshape(coarse.shape)[:, :, ::-1].reshape(details.shape)
    for start in range(0, n, _BLOCK):
        block = details[start : start + _BLOCK]
        straight, turned = block @ details[start:].T, block @ mirrored[start:].T
        best = np.maximum(straight, turned)
        for row, column in np.argwhere(np.triu(best >= _COARSE_NEAR, k=1)):
            yield int(start + row), int(start + column), bool(turned[row, column] > straight[row, column])


def _details(pictures: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Pictures less the mean of (2 radius + 1)² pixels about each, each as one row of length 1."""
    width = 2 * radius + 1
    padded = np.pad(pictures, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    means = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).mean(axis=-1)
    means = np.lib.stride_tricks.sliding_window_view(means, width, axis=2).mean(axis=-1)
    rows = (pictures - means).reshape(len(pictures), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    # A picture of one grey has no detail: it correlates with no other and not with itself.
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-3), dtype=np.float32)
