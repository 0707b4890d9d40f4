"""k folds of labelled films: every film is validated with once, and no child is ever on both sides.

Films are dealt out child by child, kind by kind, so that bacterial, viral and both sorts of normal films are in each
fold in about the same share.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import Picture, Split, kept_together
from model.errors import DataError
from model.labels import Label

if TYPE_CHECKING:
    from collections.abc import Collection


def folds(pictures: Collection[Picture], k: int, seed: int) -> tuple[Split, ...]:
    """Divide films into ``k`` pairs of training and validation.

    Parameters
    ----------
    pictures : collection of Picture
        All labelled films; files with the same bytes are kept on one side.
    k : int
        How many folds, at least 2.
    seed : int
        The same seed and films give the same folds, in whatever order the films come.

    Returns
    -------
    tuple of Split
        Both sides of each sorted by path. Of every kind, the folds' shares of validation differ by no more films than
        the biggest child of that kind has (children who share a file counting as one).

    Raises
    ------
    DataError
        If ``k`` is below 2, or there are too few children to have both labels on both sides of every fold.
    """
    if k < 2:
        raise DataError("there must be at least 2 folds")
    strata: dict[str, list[list[Picture]]] = defaultdict(list)
    for group in kept_together(pictures):
        strata[group[0].kind].append(group)
    held: list[list[Picture]] = [[] for _ in range(k)]
    for kind in sorted(strata):
        _deal(strata[kind], held, np.random.default_rng([seed, k, len(strata[kind])]))
    splits = tuple(_split(pictures, validation) for validation in held)
    if any(
        {picture.label for picture in side} != set(Label)
        for split in splits
        for side in (split.train, split.validation)
    ):
        raise DataError(f"there are too few patients to have both labels on both sides of each of {k} folds")
    return splits


def _deal(groups: list[list[Picture]], held: list[list[Picture]], rng: np.random.Generator) -> None:
    """Give each group to the fold that has the fewest films of this kind, then in all; the big groups first."""
    shuffled = [groups[index] for index in rng.permutation(len(groups))]
    dealt = [0] * len(held)
    for group in sorted(shuffled, key=len, reverse=True):
        fold = min(range(len(held)), key=lambda number: (dealt[number], len(held[number])))
        held[fold].extend(group)
        dealt[fold] += len(group)


def _split(pictures: Collection[Picture], validation: list[Picture]) -> Split:
    return Split(tuple(sorted(set(pictures) - set(validation))), tuple(sorted(validation)))
