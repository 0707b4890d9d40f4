"""One pass over the films of a set: what later tells duplicates and shortcuts, without keeping the films."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.dataset import Picture, read_picture
from model.duplicates import THUMBNAIL_PX
from model.errors import DataError
from model.preprocess import squash
from model.probes import PROBES, Figures, look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Film = NDArray[np.uint8]

_THREADS = 2


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
class _Seen:
    """The same of one film."""

    picture: Picture
    file_sha256: str
    pixels_sha256: str
    thumbnail: NDArray[np.uint8]
    figures: tuple[Figures, ...]
    logit: float | None


def survey(
    pictures: Sequence[Picture],
    reader: Callable[[Path], Film] = read_picture,
    scorer: Callable[[Film], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Look at every film once.

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

    def see(picture: Picture) -> _Seen | Unreadable:
        try:
            return _see(picture, reader, scorer)
        except OSError:
            return Unreadable(picture, f"{picture.path} cannot be read")
        except DataError as error:
            return Unreadable(picture, str(error))

    seen: list[_Seen] = []
    unreadable: list[Unreadable] = []
    for done, answer in enumerate(_in_threads(see, pictures), start=1):
        if isinstance(answer, Unreadable):
            unreadable.append(answer)
        else:
            seen.append(answer)
        if progress is not None:
            progress(done, len(pictures))
    if not seen:
        raise DataError("no film can be read" + (f": {unreadable[0].reason}" if unreadable else ""))
    return _joined(seen, unreadable)


def _in_threads(
    see: Callable[[Picture], _Seen | Unreadable], pictures: Iterable[Picture]
) -> Iterator[_Seen | Unreadable]:
    pool = ThreadPoolExecutor(_THREADS, "survey")
    try:
        yield from pool.map(see, pictures)
    finally:
        # Whoever interrupts does not wait for the films that have not been begun.
        pool.shutdown(cancel_futures=True)


def _see(picture: Picture, reader: Callable[[Path], Film], scorer: Callable[[Film], float] | None) -> _Seen:
    content, film = picture.path.read_bytes(), reader(picture.path)
    look = look_at(film, len(content))
    return _Seen(
        picture=picture,
        file_sha256=hashlib.sha256(content).hexdigest(),
        pixels_sha256=hashlib.sha256(f"{film.shape}".encode() + film.tobytes()).hexdigest(),
        thumbnail=squash(film, THUMBNAIL_PX),
        figures=tuple(measure(look) for measure in PROBES.values()),
        logit=scorer(film) if scorer else None,
    )


def _joined(seen: Sequence[_Seen], unreadable: Sequence[Unreadable]) -> Survey:
    columns = zip(*(film.figures for film in seen), strict=True)
    logits = [film.logit for film in seen if film.logit is not None]
    return Survey(
        pictures=tuple(film.picture for film in seen),
        unreadable=tuple(unreadable),
        files_sha256=tuple(film.file_sha256 for film in seen),
        pixels_sha256=tuple(film.pixels_sha256 for film in seen),
        thumbnails=np.stack([film.thumbnail for film in seen]),
        figures={name: np.array(rows, dtype=np.float64) for name, rows in zip(PROBES, columns, strict=True)},
        logits=np.array(logits, dtype=np.float64) if logits else None,
    )
