"""One pass over a set of films: figures and digests that reveal duplicates and shortcuts, without keeping the films."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import Picture, read_picture
from model.data.film_digests import film_sha256
from model.errors import DataError
from model.inspection.probes import PROBES, Figures, probe_input
from model.preprocess import squash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    GreyFilm = NDArray[np.uint8]

_THREADS = 2

THUMBNAIL_PX = 64
"""Side of the thumbnails by which near copies are found."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A film that could not be read, and why."""

    picture: Picture
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What was read of ``n`` films, in the order of ``pictures``.

    Attributes
    ----------
    pictures : tuple of Picture
        Those that could be read.
    unreadable : tuple of Unreadable
        The others.
    files_sha256, pixels_sha256 : tuple of str
        Digests (hex) of the file, and of the decoded film's size and pixels.
    thumbnails : ndarray of uint8, shape (n, THUMBNAIL_PX, THUMBNAIL_PX)
        Squashed films.
    figures : mapping of str to ndarray of float64, shape (n, f)
        The figures of each probe.
    logits : ndarray of float64, shape (n,), or None
        What a network says of each film.
    """

    pictures: tuple[Picture, ...]
    unreadable: tuple[Unreadable, ...]
    files_sha256: tuple[str, ...]
    pixels_sha256: tuple[str, ...]
    thumbnails: NDArray[np.uint8]
    figures: Mapping[str, NDArray[np.float64]]
    logits: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """What was read of one film; the fields of ``Survey``."""

    picture: Picture
    file_sha256: str
    pixels_sha256: str
    thumbnail: NDArray[np.uint8]
    figures: tuple[Figures, ...]
    logit: float | None


def survey(
    pictures: Sequence[Picture],
    reader: Callable[[Path], GreyFilm] = read_picture,
    scorer: Callable[[GreyFilm], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Read every film once and keep what the inspection needs of it.

    Parameters
    ----------
    pictures : sequence of Picture
        The films.
    reader : callable, optional
        Gives the grey film (uint8, MONOCHROME2) of a path, or raises DataError.
    scorer : callable, optional
        Gives a network's logit of a film.
    progress : callable, optional
        Called with films done and films in all.

    Returns
    -------
    Survey

    Raises
    ------
    DataError
        If no film can be read.
    """

    def read(picture: Picture) -> _Record | Unreadable:
        try:
            return _record(picture, reader, scorer)
        except OSError:
            return Unreadable(picture, f"{picture.path} cannot be read")
        except DataError as error:
            return Unreadable(picture, str(error))

    records: list[_Record] = []
    unreadable: list[Unreadable] = []
    for done, answer in enumerate(_in_threads(read, pictures), start=1):
        if isinstance(answer, Unreadable):
            unreadable.append(answer)
        else:
            records.append(answer)
        if progress is not None:
            progress(done, len(pictures))
    if not records:
        raise DataError("no film can be read" + (f": {unreadable[0].reason}" if unreadable else ""))
    return _joined(records, unreadable)


def _in_threads(
    read: Callable[[Picture], _Record | Unreadable], pictures: Iterable[Picture]
) -> Iterator[_Record | Unreadable]:
    pool = ThreadPoolExecutor(_THREADS, "survey")
    try:
        yield from pool.map(read, pictures)
    finally:
        # After an interrupt, films that have not been started are not waited for.
        pool.shutdown(cancel_futures=True)


def _record(
    picture: Picture, reader: Callable[[Path], GreyFilm], scorer: Callable[[GreyFilm], float] | None
) -> _Record:
    content, film = picture.path.read_bytes(), reader(picture.path)
    probed = probe_input(film, len(content))
    return _Record(
        picture=picture,
        file_sha256=hashlib.sha256(content).hexdigest(),
        pixels_sha256=film_sha256(film),
        thumbnail=squash(film, THUMBNAIL_PX),
        figures=tuple(measure(probed) for measure in PROBES.values()),
        logit=scorer(film) if scorer else None,
    )


def _joined(records: Sequence[_Record], unreadable: Sequence[Unreadable]) -> Survey:
    columns = zip(*(film.figures for film in records), strict=True)
    logits = [film.logit for film in records if film.logit is not None]
    return Survey(
        pictures=tuple(film.picture for film in records),
        unreadable=tuple(unreadable),
        files_sha256=tuple(film.file_sha256 for film in records),
        pixels_sha256=tuple(film.pixels_sha256 for film in records),
        thumbnails=np.stack([film.thumbnail for film in records]),
        figures={name: np.array(rows, dtype=np.float64) for name, rows in zip(PROBES, columns, strict=True)},
        logits=np.array(logits, dtype=np.float64) if logits else None,
    )
