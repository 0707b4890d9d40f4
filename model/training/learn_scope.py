"""The scope of a bundle that is being exported: learnt from all films, and counted again fold by fold."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import load_films
from model.preprocess import scale
from model.serving.scope import FEWEST_FILMS, REFUSED_SHARE, SIDE, Scope, fit_scope, refused_by_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.data.dataset import Picture, Split

log = logging.getLogger(__name__)


def learn_scope(
    pictures: Sequence[Picture], splits: Sequence[Split], reader: Callable[[Path], NDArray[np.uint8]]
) -> tuple[Scope | None, list[float]]:
    """Learn what films look like, and count how many of each fold a scope of the other films calls unlike them.

    A warning is logged where that is more than ``REFUSED_SHARE`` of all, because a site's films would be refused though
    they are like the training films.

    Parameters
    ----------
    pictures : sequence of Picture
        All labelled films, those of every split among them.
    splits : sequence of Split
        The folds; for the count of each fold the scope is learnt from all other films.
    reader : callable
        Gives the grey film of a path.

    Returns
    -------
    Scope or None
        None where there are too few films.
    list of float
        The share of each fold that was called unlike, in [0, 1]; empty where too few films are beside a fold.
    """
    if len(pictures) < FEWEST_FILMS:
        log.warning("no scope: it needs %d films", FEWEST_FILMS, extra={"action": "no_scope"})
        return None, []
    films = load_films(pictures, SIDE, reader)
    small, targets = scale(films.pixels), films.targets
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    place = {picture: number for number, picture in enumerate(pictures)}
    held = [np.array([place[picture] for picture in split.validation]) for split in splits]
    scope = fit_scope(small, targets, children)
    if len(pictures) - max(len(places) for places in held) < FEWEST_FILMS:
        return scope, []
    refused = refused_by_fold(small, targets, children, held)
    share = sum(refused) / sum(len(places) for places in held)
    if share > REFUSED_SHARE:
        log.warning(
            "%.2f %% of the films held out by fold are out of scope: more than the %.0f %% that may be",
            100 * share,
            100 * REFUSED_SHARE,
            extra={"action": "scope_too_narrow"},
        )
    return scope, [count / len(places) for count, places in zip(refused, held, strict=True)]
