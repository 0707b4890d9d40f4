"""How unlike the training films a film is: one that is too unlike is out of the network's scope.

A network answers to a hand, a test pattern or a chest upside down as confidently as to a chest. So a film, squashed to
32 x 32, is compared with the training films in four ways: its distance from their mean within the space of their
principal components, its distance from that space (probabilistic principal components, Tipping and Bishop 1999),
whether it is upright (a linear discriminant between the films and the same films upside down), and whether it has any
detail. Each measure is scaled so that 1 is the limit that 0.16 % of held-out training films exceed. The largest of the
four counts, so that at most 1 % of films like the training films are called unlike, also among a few hundred that
arrive together.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError, InputError
from model.preprocess import prepare
from model.serving.sizes import arrays_fit
from model.statistics.group_folds import FOLDS, group_folds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 32
COMPONENTS = 64
FEWEST_FILMS = FOLDS * COMPONENTS
"""Fewer films are too few to learn what films look like."""

REFUSED_SHARE = 0.01
"""At most this share of films like the training films are called unlike."""

AIMED_SHARE = 0.0065
"""The share that the limits are set for. Limits that are set for ``REFUSED_SHARE`` hold it on
average, not in each fold: of the public training films, in 14 folds by child, 0.5 to 1.3 % were called unlike. With
this aim 0.4 to 0.9 % are; the price is that of films turned by a half at least 98.5 % are called unlike, and not 99.1 %."""

MEASURES = ("within", "beside", "upside_down", "smooth")
NEAR = 3
"""Radius, in pixels, of the neighbourhood of a pixel."""

_WIDTH = 2 * NEAR + 1
#: The rows or columns of a small film with those at its edges repeated, so that each has a whole neighbourhood.
_FRAMED = np.arange(-NEAR, SIDE + NEAR).clip(0, SIDE - 1)

RIDGE = 30.0
"""Penalty of the discriminant; what it weighs are some thousand strongly related pixels."""


@dataclass(frozen=True, eq=False)
class Scope:
    """What the training films look like.

    ``mean`` is float32 (1024,), grey in [0, 1]; ``components`` float32 (k, 1024) with ``variances`` (k,) and the mean
    variance ``noise`` beside them; ``upright`` float32 (1024,) with its ``offset``; ``limits`` float64 (4,), in the
    order of ``MEASURES``. ``refused_share`` is the share of held-out training films that were above a limit.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    variances: NDArray[np.float32]
    noise: float
    upright: NDArray[np.float32]
    offset: float
    limits: NDArray[np.float64]
    refused_share: float = 0.0

    def unlikeness(self, film: NDArray[np.uint8]) -> float:
        """How unlike the training films a film is.

        Parameters
        ----------
        film : ndarray of uint8, shape (rows, columns)
            Grey film, MONOCHROME2.

        Returns
        -------
        float
            0 or more; above 1 the film is out of scope.

        Raises
        ------
        InputError
            If the film is not a two-dimensional, non-empty uint8 array.
        """
        return float((self.measures(small(film)[np.newaxis]) / self.limits).max())

    def measures(self, pictures: NDArray[np.float32]) -> NDArray[np.float64]:
        """The four measures, float64 (n, 4), of small films (n, 32, 32) in [0, 1]; each is 0 or more."""
        flat = pictures.reshape(len(pictures), -1).astype(np.float64)
        centred = flat - self.mean
        scores = centred @ self._weights
        beside = np.maximum(np.square(centred).sum(axis=1) - np.square(scores).sum(axis=1), 0)
        return np.column_stack(
            [
                (np.square(scores) / self.variances).mean(axis=1),
                beside / (self.noise * (flat.shape[1] - len(self.variances))),
                np.maximum(1 - (flat @ self.upright + self.offset), 0),
                1 / np.maximum(_detail(pictures), 1e-3),
            ]
        )

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """The components as columns, (1024, k); made once, because this takes longer than the product."""
        return np.ascontiguousarray(self.components.T, dtype=np.float64)


def _detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of pixels from the mean of their neighbourhood; a gradient has little."""
    framed = pictures[:, _FRAMED][:, :, _FRAMED]
    across = reduce(np.add, (framed[:, :, place : place + SIDE] for place in range(_WIDTH)))
    around = reduce(np.add, (across[:, place : place + SIDE] for place in range(_WIDTH))) / np.float32(_WIDTH**2)
    return np.asarray((pictures - around).std(axis=(1, 2)))


def small(film: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Squash and stretch a film to (32, 32), float32 in [0, 1]."""
    return prepare(film, SIDE).astype(np.float32) / np.float32(255)


def fit_scope(pictures: NDArray[np.float32], targets: NDArray[np.floating[Any]], groups: NDArray[Any]) -> Scope:
    """Learn what films look like, and set the limits on films that were held out.

    Parameters
    ----------
    pictures : ndarray of float32, shape (n, 32, 32)
        ``small`` training films.
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal; both are dealt out evenly.
    groups : ndarray, shape (n,)
        The child of each film.

    Returns
    -------
    Scope

    Raises
    ------
    InputError
        If the films have another shape.
    DataError
        If there are too few films.
    """
    if pictures.ndim != 3 or pictures.shape[1:] != (SIDE, SIDE):
        raise InputError(f"films for a scope have the shape (n, {SIDE}, {SIDE})")
    if len(pictures) < FEWEST_FILMS:
        raise DataError(f"a scope needs at least {FEWEST_FILMS} films")
    fold = group_folds(targets, groups, 0)
    measures = np.empty((len(pictures), len(MEASURES)))
    for number in range(FOLDS):
        held = fold == number
        measures[held] = _fitted(pictures[~held]).measures(pictures[held])
    # The next higher of the films' own values, not one between: no more than that share lie above it, however few films.
    limits = np.quantile(measures, 1 - AIMED_SHARE / len(MEASURES), axis=0, method="higher")
    refused = float(((measures / limits).max(axis=1) > 1).mean())
    return replace(_fitted(pictures), limits=limits, refused_share=refused)


def refused_by_fold(
    pictures: NDArray[np.float32],
    targets: NDArray[np.floating[Any]],
    groups: NDArray[Any],
    held: Sequence[NDArray[np.int64]],
) -> list[int]:
    """Count the films of each fold that a scope of all other films calls unlike them.

    Unlike ``Scope.refused_share``, for which the limits were set on the very films that it counts.

    Parameters
    ----------
    pictures, targets, groups
        As for ``fit_scope``.
    held : sequence of ndarray of int64
        Indices of each fold's films in ``pictures``.

    Returns
    -------
    list of int
        One for each fold.

    Raises
    ------
    DataError
        If there are too few films beside a fold.
    """
    counts = []
    for places in held:
        others = np.delete(np.arange(len(pictures)), places)
        scope = fit_scope(pictures[others], targets[others], groups[others])
        counts.append(int(((scope.measures(pictures[places]) / scope.limits).max(axis=1) > 1).sum()))
    return counts


def _fitted(pictures: NDArray[np.float32]) -> Scope:
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov(flat.T))
    upright, offset = _discriminant(pictures)
    return Scope(
        mean=mean.astype(np.float32),
        components=vectors[:, ::-1][:, :COMPONENTS].T.astype(np.float32),
        variances=variances[::-1][:COMPONENTS].astype(np.float32),
        noise=float(variances[:-COMPONENTS].mean()),
        upright=upright.astype(np.float32),
        offset=offset,
        limits=np.ones(len(MEASURES)),
    )


def _discriminant(pictures: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Ridge regression to 1 for films as they are and -1 for the same films upside down: weights and offset."""
    both = np.concatenate([pictures, pictures[:, ::-1]]).reshape(2 * len(pictures), -1).astype(np.float64)
    target = np.repeat([1.0, -1.0], len(pictures))
    mean = both.mean(axis=0)
    centred = both - mean
    weights = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(centred.shape[1]), centred.T @ target)
    return weights, -float(mean @ weights)


def write_scope(scope: Scope, path: Path) -> None:
    """Write a scope as a NumPy archive without pickled objects."""
    arrays: dict[str, Any] = {field.name: np.asarray(getattr(scope, field.name)) for field in fields(Scope)}
    np.savez(path, names=np.array(MEASURES), **arrays)


def read_scope(path: Path) -> Scope:
    """Read what ``write_scope`` wrote.

    Raises
    ------
    InputError
        If the file is not a whole scope.
    """
    try:
        # Opened here: NumPy leaves the file of a broken archive open, and allocates what the header of an array claims.
        with path.open("rb") as stream:
            if not arrays_fit(stream):
                raise InputError(f"{path} asks for more memory than a scope needs: it is damaged or made to do harm")
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            names = tuple(arrays["names"].tolist())
            scope = Scope(
                **{name: arrays[name] for name in ("mean", "components", "variances", "upright", "limits")},
                noise=float(arrays["noise"]),
                offset=float(arrays["offset"]),
                refused_share=float(arrays["refused_share"]),
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a scope: copy or export the bundle again") from error
    if names != MEASURES:
        raise InputError(f"{path} was written for other measures: use the Auscult it came with, or train it again")
    pixels = (SIDE * SIDE,)
    wanted = (pixels, pixels, (len(scope.variances), *pixels), (len(MEASURES),))
    if (scope.mean.shape, scope.upright.shape, scope.components.shape, scope.limits.shape) != wanted:
        raise InputError(f"{path} is not a scope: copy or export the bundle again")
    return scope
