"""Subgroups of films: by type, size of the original, scope, and the columns of a list."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.evaluation.figures import Figure, FigurePlan, Mask, Sample
    from model.evaluation.scoring import ScoredFilm

MAX_VALUES = 24
"""A column with more different values holds names or dates, not subgroups."""

_ASPECTS = (
    (0.9, "below 0.9 (upright)"),
    (1.1, "0.9 to 1.1 (about square)"),
    (1.3, "1.1 to 1.3"),
    (1.5, "1.3 to 1.5"),
    (float("inf"), "1.5 and more (broad)"),
)
_SIDES = (
    (256, "below 256"),
    (512, "256 to 511"),
    (768, "512 to 767"),
    (1024, "768 to 1023"),
    (1536, "1024 to 1535"),
    (float("inf"), "1536 and more"),
)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Figures of the network on some of the films.

    ``auc`` is of these films, pneumonia against normal; where all are of one label, against every film of the other.
    ``sensitivity`` and ``specificity`` are None without films of that label.
    """

    division: str
    name: str
    normal: int
    pneumonia: int
    patients: int
    accuracy: Figure
    sensitivity: Figure | None
    specificity: Figure | None
    auc: Figure | None

    @property
    def n(self) -> int:
        """How many films."""
        return self.normal + self.pneumonia


@dataclass(frozen=True, slots=True)
class Group:
    """The films of a subgroup, as a mask."""

    division: str
    name: str
    mask: Mask


def groups(films: Sequence[ScoredFilm]) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Divide films by everything that is known of them.

    Parameters
    ----------
    films : sequence of ScoredFilm
        All films of an evaluation.

    Returns
    -------
    tuple of Group
        Division by division.
    tuple of str
        Columns that were skipped because they have more than ``MAX_VALUES`` different values.
    """
    divisions = [_values(film) for film in films]
    names = list(dict.fromkeys(name for values in divisions for name in values))
    found: list[Group] = []
    passed: list[str] = []
    for division in names:
        members: dict[str, list[int]] = defaultdict(list)
        for number, values in enumerate(divisions):
            if division in values:
                members[values[division]].append(number)
        if len(members) > MAX_VALUES:
            passed.append(division)
            continue
        for name in sorted(members, key=lambda value: (_place(division, value), value)):
            mask = np.zeros(len(films), dtype=bool)
            mask[members[name]] = True
            found.append(Group(division, name, mask))
    return tuple(found), tuple(passed)


def _values(film: ScoredFilm) -> dict[str, str]:
    """Division and value of everything that is known of one film."""
    known = {
        "type": film.picture.kind,
        "width to height": _class_of(film.columns / max(film.rows, 1), _ASPECTS),
        "shortest side, pixels": _class_of(min(film.rows, film.columns), _SIDES),
    }
    if film.score.unlikeness is not None:
        known["scope"] = "out of scope" if film.is_out_of_scope else "in scope"
    # A column of a list may have the name of a built-in division.
    columns = {f"column {name}": value or "(empty)" for name, value in film.picture.subgroups}
    return {**known, **columns}


def _class_of(value: float, classes: Sequence[tuple[float, str]]) -> str:
    return next(name for limit, name in classes if value < limit)


def _place(division: str, value: str) -> int:
    """Order of a value within its division: by size for classes of numbers, else by name."""
    classes = {"width to height": _ASPECTS, "shortest side, pixels": _SIDES}.get(division, ())
    return next((number for number, (_, name) in enumerate(classes) if name == value), 0)


def plans_of(sample: Sample, group: Group) -> dict[str, FigurePlan]:
    """The figures of a subgroup.

    Parameters
    ----------
    sample : Sample
        All films of the evaluation.
    group : Group
        Some of them.

    Returns
    -------
    dict of str to FigurePlan
        accuracy; sensitivity and specificity where there are films of that label; auc where that is defined.
    """
    ill, well = group.mask & sample.ill, group.mask & ~sample.ill
    plans = {"accuracy": sample.share_right(group.mask)}
    if ill.any():
        plans["sensitivity"] = sample.share_right(ill)
    if well.any():
        plans["specificity"] = sample.share_right(well)
    against = (ill if ill.any() else sample.ill) | (well if well.any() else ~sample.ill)
    if (against & sample.ill).any() and (against & ~sample.ill).any():
        plans["auc"] = sample.area(against)
    return plans
